//! Where the bytes of a scalar's value stand in the file, so that a filter's own problems get a caret in the YAML.
//!
//! Exact for all five ways to write a scalar: quotes are decoded, and in the other styles folding and indentation only
//! ever change white space, so the other characters stand in the file in the same order.

use std::ops::Range;

/// The positions in `written` (the scalar's source) of each byte of `value`, and one more for its end.
pub(super) struct Offsets(Vec<usize>);

impl Offsets {
    /// Aligns a value with its source.
    pub(super) fn new(written: &str, value: &str) -> Self {
        let characters = match written.chars().next() {
            Some('"') => double_quoted(written),
            Some('\'') => single_quoted(written),
            _ => written.char_indices().map(|(at, c)| (c, at..at + c.len_utf8())).collect(),
        };
        let mut source = characters.into_iter().filter(|(c, _)| !c.is_whitespace());
        let mut offsets = Vec::with_capacity(value.len() + 1);
        let mut end = usize::from(written.starts_with(['"', '\'']));
        for c in value.chars() {
            let place = if c.is_whitespace() { None } else { source.next() };
            let start = place.as_ref().map_or(end, |(_, place)| place.start);
            offsets.extend(std::iter::repeat_n(start, c.len_utf8()));
            end = place.map_or(end + usize::from(c == ' '), |(_, place)| place.end);
        }
        offsets.push(end.min(written.len()));
        Self(offsets)
    }

    /// Where a piece of the value stands in the source.
    pub(super) fn of(&self, piece: &Range<usize>) -> Range<usize> {
        let at = |index: usize| self.0.get(index).or(self.0.last()).copied().unwrap_or(0);
        let start = at(piece.start);
        // A piece ends where its last character ends, not where the next one begins, which may be a line further.
        let last = piece.end.max(piece.start + 1).saturating_sub(1);
        let next = self.0.iter().skip(last).copied().find(|next| *next > at(last)).unwrap_or(at(last) + 1);
        let end = if piece.is_empty() { start } else { next.min(at(self.0.len())) };
        start..end.max(start)
    }
}

fn single_quoted(written: &str) -> Vec<(char, Range<usize>)> {
    let mut found = Vec::new();
    let mut rest = inside(written, '\'').peekable();
    while let Some((at, c)) = rest.next() {
        let doubled = c == '\'' && rest.next_if(|(_, next)| *next == '\'').is_some();
        found.push((c, at..at + c.len_utf8() + usize::from(doubled)));
    }
    found
}

fn double_quoted(written: &str) -> Vec<(char, Range<usize>)> {
    let mut found = Vec::new();
    let mut rest = inside(written, '"');
    while let Some((at, c)) = rest.next() {
        if c != '\\' {
            found.push((c, at..at + c.len_utf8()));
            continue;
        }
        let Some((escape_at, escape)) = rest.next() else { break };
        let digits = match escape {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        let code: String = rest.by_ref().take(digits).map(|(_, digit)| digit).collect();
        let decoded = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
        found.push((decoded.unwrap_or_else(|| named_escape(escape)), at..escape_at + escape.len_utf8() + code.len()));
    }
    found
}

fn named_escape(escape: char) -> char {
    match escape {
        'n' | 'r' | 't' | 'N' | 'L' | 'P' | '_' | 'v' => ' ',
        other => other,
    }
}

fn inside(written: &str, quote: char) -> impl Iterator<Item = (usize, char)> + '_ {
    let end = written.len() - usize::from(written.len() > 1 && written.ends_with(quote));
    written.char_indices().skip(1).take_while(move |(at, _)| *at < end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The source of each occurrence of `piece` in the value.
    fn found<'a>(written: &'a str, value: &str, piece: &str) -> &'a str {
        let start = value.find(piece).unwrap();
        written.get(Offsets::new(written, value).of(&(start..start + piece.len()))).unwrap()
    }

    #[test]
    fn a_piece_of_a_value_is_found_however_it_was_written() {
        assert_eq!(found("eq(nme, 1)", "eq(nme, 1)", "nme"), "nme");
        assert_eq!(found("'eq(a, ''x'', nme)'", "eq(a, 'x', nme)", "nme"), "nme");
        assert_eq!(found("'eq(a, ''x'', nme)'", "eq(a, 'x', nme)", "'x'"), "''x''");
        assert_eq!(found(r#""eq(\"x\\y\", \u00e9, nme)""#, r#"eq("x\y", é, nme)"#, "nme"), "nme");
        assert_eq!(found(r#""eq(\"x\\y\", \u00e9, nme)""#, r#"eq("x\y", é, nme)"#, "é"), r"\u00e9");
        assert_eq!(found("and(\n      eq(a, 1),\n      nme)", "and(\n  eq(a, 1),\n  nme)\n", "nme"), "nme");
        assert_eq!(found("and(eq(a,\n     1), nme)", "and(eq(a, 1), nme)", "eq(a, 1)"), "eq(a,\n     1)");
        assert_eq!(found("é and(", "é and(", "and("), "and(");
    }

    #[test]
    fn the_end_of_a_value_is_the_end_of_its_source() {
        assert_eq!(Offsets::new("\"eq(\"", "eq(").of(&(3..3)), 4..4);
        assert_eq!(Offsets::new("eq(", "eq(").of(&(3..3)), 3..3);
        assert_eq!(Offsets::new("\"\"", "").of(&(0..0)), 1..1);
        assert_eq!(Offsets::new("eq(", "eq(").of(&(1..99)), 1..3);
    }
}
