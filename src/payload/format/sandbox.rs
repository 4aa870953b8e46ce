//! What a template may say. The engine bounds steps and depth, and has no files, no network and no code of its own; what it
//! does not bound is memory. So whatever could make a large value out of a small one is refused before a template is used:
//! operators that join texts or lists, literals of lists and objects, and tags that keep values. Texts are joined by
//! `text(…)`, which has a limit.

use crate::payload::format::FormatError;

/// Bytes of the longest template.
pub(super) const LONGEST: usize = 32 * 1024;

/// Tags a template may have.
const TAGS: &[&str] = &["if", "elif", "else", "endif", "for", "endfor"];

/// Looks for what is refused.
pub(super) fn vet(text: &str) -> Result<(), FormatError> {
    if text.len() > LONGEST {
        return Err(FormatError(format!("the template is longer than {LONGEST} bytes")));
    }
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let from = rest.get(at..).unwrap_or_default();
        let before = text.len().saturating_sub(from.len());
        let line = text.get(..before).unwrap_or_default().matches('\n').count().saturating_add(1);
        let at_line = |why: String| FormatError(format!("line {line} of the template: {why}"));
        rest = if let Some(comment) = from.strip_prefix("{#") {
            comment.split_once("#}").map_or("", |(_, after)| after)
        } else if let Some(inside) = from.strip_prefix("{{") {
            code(inside, "}}").map_err(at_line)?
        } else if let Some(inside) = from.strip_prefix("{%") {
            let word = inside.trim_start_matches(['-', '+']).trim_start();
            let word: String = word.chars().take_while(char::is_ascii_alphanumeric).collect();
            if !TAGS.contains(&word.as_str()) {
                return Err(at_line(format!("there is no tag `{word}` here; there are {}", TAGS.join(", "))));
            }
            code(inside.trim_start_matches(['-', '+']), "%}").map_err(at_line)?
        } else {
            from.get(1..).unwrap_or_default()
        };
    }
    Ok(())
}

/// Reads code to its end. What follows it.
fn code<'t>(inside: &'t str, end: &str) -> Result<&'t str, String> {
    let mut quote = None;
    let mut escaped = false;
    let mut before = ' ';
    for (at, c) in inside.char_indices() {
        if let Some(open) = quote {
            if !escaped && c == open {
                quote = None;
            }
            escaped = !escaped && c == '\\';
            before = c;
            continue;
        }
        let rest = inside.get(at..).unwrap_or_default();
        if rest.starts_with(end) {
            return Ok(rest.get(end.len()..).unwrap_or_default());
        }
        match c {
            '"' | '\'' => quote = Some(c),
            '~' | '+' | '*' => return Err(format!("`{c}` joins or repeats; join texts with text(a, b)")),
            '{' => return Err("objects cannot be made in code; write them around it".to_owned()),
            '[' if !(before.is_alphanumeric() || "_])\"'".contains(before)) => {
                return Err("lists cannot be made in code; write them around it".to_owned());
            }
            _ => {}
        }
        before = c;
    }
    // Without an end the engine says what is missing, and where.
    Ok("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_may_read_choose_and_repeat() {
        for text in [
            "{}",
            r#"{"a": {{ rule_name }}, "b": [{% for run in runs %}{{ run.name }}{% if not loop.last %},{% endif %}{% endfor %}]}"#,
            "{{ runs[0].extra['a+b'] }} {{ text(\"{ ~ *\", project) }} {# x ~ y {% set %} #} {%- if runs -%}{%- endif -%}",
        ] {
            assert_eq!(vet(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn nothing_can_be_made_larger_than_it_is() {
        for (text, why) in [
            ("{{ a ~ a }}", "`~` joins"),
            ("\n{{ a + a }}", "line 2"),
            ("{{ 'a' * 100000000 }}", "`*` joins"),
            ("{% set a = b %}", "no tag `set`"),
            ("{%- with a = b %}", "no tag `with`"),
            ("{% macro a() %}", "no tag `macro`"),
            ("{% for a in [b, b] %}", "lists cannot"),
            ("{{ {'a': 1} }}", "objects cannot"),
            ("{{ '\\'' ~ a }}", "`~` joins"),
        ] {
            let error = vet(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(vet(&"x".repeat(LONGEST + 1)).is_err());
    }
}
