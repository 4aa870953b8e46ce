//! `${NAME}` in a value: what stays out of a file because the file is in a repository.
//!
//! Resolved once, after the YAML has been read, so that a value can hold anything and never becomes syntax. `$${` is a
//! literal `${`. What a variable holds is never part of a message.

use std::ops::Range;

/// A piece of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its bytes in the value.
    pub(super) at: Range<usize>,
    pub(super) kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Literal(String),
    Variable(String),
    /// It starts like a variable but is none; why, and what to do.
    Malformed(&'static str, &'static str),
}

/// A value with its variables put in; or why that cannot be done, without the value.
pub fn resolve(text: &str, variables: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let put_in = |piece: Piece| match piece.kind {
        Kind::Literal(literal) => Ok(literal),
        Kind::Variable(name) => variables(&name).ok_or_else(|| format!("the variable {name} is not set")),
        Kind::Malformed(why, hint) => Err(format!("{why}: {hint}")),
    };
    pieces(text).into_iter().map(put_in).collect()
}

/// Takes a value apart.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (length, kind) = piece(rest);
        found.push(Piece { at: at..at + length, kind });
        at += length;
    }
    found
}

fn piece(rest: &str) -> (usize, Kind) {
    if rest.starts_with("$${") {
        return (3, Kind::Literal("${".to_owned()));
    }
    let Some(inside) = rest.strip_prefix("${") else {
        let ends = [rest.find("${"), rest.find("$${")];
        let end = ends.into_iter().flatten().min().unwrap_or(rest.len());
        let (literal, _) = rest.split_at_checked(end).unwrap_or((rest, ""));
        return (literal.len(), Kind::Literal(literal.to_owned()));
    };
    let Some((name, _)) = inside.split_once('}') else {
        return (rest.len(), Kind::Malformed("`${` is not closed", "write ${NAME}, or $${ for a literal `${`"));
    };
    (name.len() + 3, named(name))
}

fn named(name: &str) -> Kind {
    if name.contains(":-") || name.contains(":?") || name.contains(":+") {
        return Kind::Malformed("a variable has no default here", "write ${NAME} and set the variable where you apply");
    }
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Kind::Variable(name.to_owned());
    }
    Kind::Malformed(
        "this is not the name of a variable",
        "a name is letters, digits and `_`; write $${ for a literal `${`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        pieces(text).into_iter().map(|piece| piece.kind).collect()
    }

    fn literal(text: &str) -> Kind {
        Kind::Literal(text.to_owned())
    }

    fn variable(name: &str) -> Kind {
        Kind::Variable(name.to_owned())
    }

    #[test]
    fn variables_are_found_between_literals() {
        assert_eq!(kinds("Bearer ${TOKEN}!"), [literal("Bearer "), variable("TOKEN"), literal("!")]);
        assert_eq!(kinds("${A}${_b2}"), [variable("A"), variable("_b2")]);
        assert_eq!(kinds("plain $5"), [literal("plain $5")]);
        assert_eq!(kinds(""), []);
    }

    #[test]
    fn a_value_has_its_variables_put_in_or_says_which_is_missing() {
        let known = |name: &str| (name == "A").then(|| "${B}".to_owned());
        assert_eq!(resolve("x ${A}$${A}", &known), Ok("x ${B}${A}".to_owned()));
        assert_eq!(resolve("hush ${B}", &known), Err("the variable B is not set".to_owned()));
        assert!(resolve("hush ${", &known).unwrap_err().starts_with("`${` is not closed"));
    }

    #[test]
    fn a_doubled_dollar_is_a_literal() {
        assert_eq!(kinds("a$${B}"), [literal("a"), literal("${"), literal("B}")]);
    }

    #[test]
    fn what_only_looks_like_a_variable_is_refused() {
        for text in ["${", "${A", "${}", "${A-B}", "${A:-x}", "${1}"] {
            assert!(matches!(kinds(text).as_slice(), [Kind::Malformed(..)]), "{text}");
        }
    }

    #[test]
    fn pieces_know_their_bytes() {
        let text = "é${A}$${";
        let at: Vec<_> = pieces(text).into_iter().map(|piece| piece.at).collect();
        assert_eq!(at, [0..2, 2..6, 6..9]);
    }
}
