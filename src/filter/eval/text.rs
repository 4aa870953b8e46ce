//! Text tests: patterns, words, and text inside text.

use crate::filter::sql::Piece;

/// A pattern of `like`: `%` stands for any text, also none, `_` for one character. A backslash before one of them, or
/// before itself, takes away its meaning. It covers the whole text, and case counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pattern {
    text: String,
    /// What stands between the `%`: one more than there are of them.
    segments: Vec<Segment>,
}

/// What stands between two `%`.
#[derive(Debug, Clone, PartialEq)]
enum Segment {
    /// Just text, searched for in linear time.
    Literal(String),
    /// Characters, where none stands for any.
    Shape(Vec<Option<char>>),
}

impl Pattern {
    /// Reads a pattern. Every text is one.
    pub(crate) fn parse(text: &str) -> Self {
        let mut segments = Vec::new();
        let mut shape: Vec<Option<char>> = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '%' => segments.push(Segment::of(std::mem::take(&mut shape))),
                '_' => shape.push(None),
                '\\' => shape.push(Some(chars.next_if(|c| matches!(c, '%' | '_' | '\\')).unwrap_or('\\'))),
                c => shape.push(Some(c)),
            }
        }
        segments.push(Segment::of(shape));
        Self { text: text.to_owned(), segments }
    }

    /// The pattern as written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What it is made of, from left to right.
    pub(crate) fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            if index > 0 {
                pieces.push(Piece::Any);
            }
            match segment {
                Segment::Literal(literal) if literal.is_empty() => {}
                Segment::Literal(literal) => pieces.push(Piece::Text(literal.clone())),
                Segment::Shape(shape) => {
                    pieces.extend(shape.iter().map(|c| c.map_or(Piece::One, |c| Piece::Text(c.to_string()))));
                }
            }
        }
        pieces
    }

    /// Whether a text has this shape.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.segments.split_first() else { return false };
        let Some(behind) = first.at_start(text) else { return false };
        let Some((last, middle)) = rest.split_last() else { return behind.is_empty() };
        let mut left = behind;
        for segment in middle {
            // The leftmost place leaves most text to the others, so there is nothing to try again.
            let Some(behind) = segment.find(left) else { return false };
            left = behind;
        }
        last.at_end(left)
    }
}

impl Segment {
    fn of(shape: Vec<Option<char>>) -> Self {
        shape.iter().copied().collect::<Option<String>>().map_or(Self::Shape(shape), Self::Literal)
    }

    /// What is behind it, when the text begins with it.
    fn at_start<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(literal) => text.strip_prefix(literal.as_str()),
            Self::Shape(shape) => {
                let mut chars = text.chars();
                shape.iter().all(|wanted| chars.next().is_some_and(|c| wanted.is_none_or(|w| w == c))).then_some(())?;
                Some(chars.as_str())
            }
        }
    }

    /// Whether the text ends with it.
    fn at_end(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => text.ends_with(literal.as_str()),
            Self::Shape(shape) => {
                let mut chars = text.chars();
                shape.iter().rev().all(|wanted| chars.next_back().is_some_and(|c| wanted.is_none_or(|w| w == c)))
            }
        }
    }

    /// What is behind its leftmost place in the text.
    fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(literal) => text.split_once(literal.as_str()).map(|(_, behind)| behind),
            Self::Shape(_) => {
                let mut chars = text.chars();
                loop {
                    if let Some(behind) = self.at_start(chars.as_str()) {
                        return Some(behind);
                    }
                    chars.next()?;
                }
            }
        }
    }
}

/// Text that must be inside another, whatever the case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Needle {
    text: String,
    lower: String,
}

impl Needle {
    /// Takes text.
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), lower: text.to_lowercase() }
    }

    /// The text as written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is inside.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        text.to_lowercase().contains(&self.lower)
    }
}

/// Words that must all be in a text, in any order, each perhaps inside a longer word, whatever the case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Words {
    text: String,
    lower: Vec<String>,
    /// Those that stand in JSON as they are, wherever they stand in a text of it.
    plain: Vec<String>,
}

impl Words {
    /// Takes text apart into words.
    pub(crate) fn new(text: &str) -> Self {
        let lower: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        let plain = lower.iter().filter(|word| is_plain(word)).cloned().collect();
        Self { text: text.to_owned(), lower, plain }
    }

    /// Whether all may be in a document, by its JSON and whatever else is looked through, in ASCII's small letters. If not,
    /// they are not in its texts either.
    pub(crate) fn may_be_in(&self, raw: &str) -> bool {
        self.plain.iter().all(|word| raw.contains(word.as_str()))
    }

    /// The words as written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether all are in this text, which is in lower case.
    pub(crate) fn are_in(&self, lower: &str) -> bool {
        self.lower.iter().all(|word| lower.contains(word.as_str()))
    }
}

/// Whether a word has no character that JSON writes in another way, and one that is in no number.
fn is_plain(word: &str) -> bool {
    let is_kept = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '/');
    word.chars().all(is_kept) && word.chars().any(|c| c.is_ascii_alphabetic() && c != 'e')
}

/// Whether small letters of ASCII are in a text's small letters just where ASCII's own are: two letters beyond ASCII have
/// small ones within, and JSON may write any by its number.
pub(crate) fn has_plain_case(json: &str) -> bool {
    !json.contains(['\u{130}', '\u{212a}']) && !json.contains("\\u")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_any_text_and_underscore_is_one_character() {
        let cases = [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            ("%%", "anything", true),
            ("a%", "abc", true),
            ("%c", "abc", true),
            ("%b%", "abc", true),
            ("a%a", "a", false),
            ("a%a", "aa", true),
            ("%ab%ab", "abab", true),
            ("%ab%ab", "ab", false),
            ("a_c", "abc", true),
            ("a_c", "ac", false),
            ("_", "é", true),
            ("%_b_%", "xxabcx", true),
            ("%_b_%", "bc", false),
            ("gpt-4_%", "gpt-4o-mini", true),
            ("ABC", "abc", false),
            (r"50\%", "50%", true),
            (r"50\%", "500", false),
            (r"a\_b", "a_b", true),
            (r"a\_b", "axb", false),
            (r"a\\%", r"a\b", true),
            (r"\d", r"\d", true),
            (r"trailing\", r"trailing\", true),
            ("%\n%", "two\nlines", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Pattern::parse(pattern).matches(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_text_without_a_plain_word_is_told_from_its_json() {
        let may = |words: &str, json: &str| Words::new(words).may_be_in(&json.to_ascii_lowercase());
        assert!(may("Fox jumps", r#"{"a":"the fox","b":["JUMPS"]}"#));
        assert!(!may("fox hides", r#"{"a":"the fox","b":["jumps"]}"#));
        // These may be written otherwise: what is not there in so many words may be there all the same.
        for hidden in ["100", "1e5", "a/b", "say\"so", "caf\u{e9}", "back\\slash"] {
            assert!(may(hidden, "{}"), "{hidden}");
        }
        assert!(!has_plain_case("\u{212a}elvin") && !has_plain_case(r#""\u0066ox""#) && has_plain_case("caf\u{c9}"));
        let within = |c: &char| !c.is_ascii() && c.to_lowercase().any(|small| small.is_ascii());
        assert_eq!(('\0'..=char::MAX).filter(within).collect::<String>(), "\u{130}\u{212a}");
    }

    #[test]
    fn words_are_found_in_any_order_and_inside_others() {
        let words = Words::new("Class  IMAGE");
        assert!(words.are_in("an image classification"));
        assert!(!words.are_in("an image"));
        assert!(Needle::new("É a").is_in("café au lait"));
    }
}
