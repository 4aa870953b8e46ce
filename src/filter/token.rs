//! Text to tokens. Whatever the text, every byte of it ends up in a token, in white space, or in a problem.

use std::iter::Peekable;
use std::ops::Range;
use std::str::CharIndices;

use crate::filter::value::{Number, Unit};
use crate::model::problem::Problem;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// `(`
    Open,
    /// `)`
    Close,
    /// `[`
    OpenList,
    /// `]`
    CloseList,
    /// `,`
    Comma,
    /// A name, a path, or text without quotes.
    Word(String),
    /// A number, perhaps with a unit.
    Number(Number, Option<Unit>),
    /// Quoted text.
    Text(String),
    /// Something wrong, already reported.
    Bad,
}

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lexeme {
    /// The token.
    pub(crate) token: Token,
    /// Its bytes.
    pub(crate) span: Range<usize>,
}

/// Whether a character may stand inside a word.
pub(crate) fn in_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn starts_word(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

/// Takes a text apart.
pub(crate) fn tokens(source: &str, problems: &mut Vec<Problem>) -> Vec<Lexeme> {
    let mut lexer = Lexer { source, chars: source.char_indices().peekable(), problems };
    let mut found = Vec::new();
    while let Some((start, c)) = lexer.chars.next() {
        if c.is_whitespace() {
            continue;
        }
        let token = lexer.token(start, c);
        found.push(Lexeme { token, span: start..lexer.here() });
    }
    found
}

struct Lexer<'s, 'p> {
    source: &'s str,
    chars: Peekable<CharIndices<'s>>,
    problems: &'p mut Vec<Problem>,
}

impl Lexer<'_, '_> {
    /// Where the next character stands.
    fn here(&mut self) -> usize {
        self.chars.peek().map_or(self.source.len(), |(at, _)| *at)
    }

    fn text(&mut self, start: usize) -> &str {
        let end = self.here();
        self.source.get(start..end).unwrap_or_default()
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.chars.next_if(|(_, c)| wanted(*c)).is_some() {}
    }

    fn token(&mut self, start: usize, c: char) -> Token {
        match c {
            '(' => Token::Open,
            ')' => Token::Close,
            '[' => Token::OpenList,
            ']' => Token::CloseList,
            ',' => Token::Comma,
            '"' | '\'' => self.quoted(start, c),
            c if c.is_ascii_digit() => self.numeric(start),
            '-' | '+' | '.' if self.chars.peek().is_some_and(|(_, next)| next.is_ascii_digit() || *next == '.') => {
                self.numeric(start)
            }
            c if starts_word(c) => {
                self.skip_while(in_word);
                Token::Word(self.text(start).to_owned())
            }
            c => self.stray(start, c),
        }
    }

    /// What begins with a digit: a number, or else an id or a date without quotes.
    fn numeric(&mut self, start: usize) -> Token {
        self.skip_while(|c| in_word(c) || matches!(c, ':' | '+'));
        let text = self.text(start).to_owned();
        if let Some(number) = Number::parse(&text) {
            return Token::Number(number, None);
        }
        let letters = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
        let (head, unit) = text.split_at_checked(letters).unwrap_or((&text, ""));
        match (Number::parse(head), Unit::parse(unit)) {
            (Some(number), Some(unit)) => Token::Number(number, Some(unit)),
            (Some(_), None) if unit.chars().all(char::is_alphabetic) => {
                let span = start..self.here();
                let message = format!("`{unit}` is not a unit of time");
                self.problems.push(
                    Problem::error("bad-unit", span, message)
                        .hint("the units are ms, s, m, h and d; text needs quotes"),
                );
                Token::Bad
            }
            _ if text.chars().any(char::is_alphabetic) || text.contains(['-', ':']) => Token::Word(text),
            _ => {
                let span = start..self.here();
                self.problems.push(
                    Problem::error("bad-number", span, format!("`{text}` is not a number")).hint("text needs quotes"),
                );
                Token::Bad
            }
        }
    }

    fn quoted(&mut self, start: usize, quote: char) -> Token {
        let mut text = String::new();
        let mut sound = true;
        while let Some((at, c)) = self.chars.next() {
            match c {
                '\\' => sound &= self.escape(at, quote, &mut text),
                c if c == quote => return if sound { Token::Text(text) } else { Token::Bad },
                c => text.push(c),
            }
        }
        let message = format!("this text has no closing `{quote}`");
        self.problems.push(Problem::error("unclosed-text", start..self.source.len(), message));
        Token::Bad
    }

    /// Reads what follows a backslash. Whether it made sense.
    ///
    /// Double quotes speak JSON. Single quotes know `\'` and `\\` only. A backslash before anything else stays, so
    /// that `\%` reaches a pattern as it is.
    fn escape(&mut self, at: usize, quote: char, text: &mut String) -> bool {
        let Some((_, c)) = self.chars.next() else { return true };
        let plain = match c {
            '\\' => '\\',
            c if c == quote => c,
            _ if quote == '\'' => return Self::keep(c, text),
            '/' | '\'' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(at, text),
            '%' | '_' => return Self::keep(c, text),
            _ => {
                let message = format!("`\\{}` is no escape, so the backslash is part of the text", c.escape_debug());
                let end = self.here();
                self.problems
                    .push(Problem::warning("unknown-escape", at..end, message).hint("write `\\\\` for a backslash"));
                return Self::keep(c, text);
            }
        };
        text.push(plain);
        true
    }

    fn keep(c: char, text: &mut String) -> bool {
        text.push('\\');
        text.push(c);
        true
    }

    /// Reads `XXXX` of `\uXXXX`, and the second half of a surrogate pair.
    fn unicode(&mut self, at: usize, text: &mut String) -> bool {
        let mut units = Vec::with_capacity(2);
        units.extend(self.hex4());
        if units.first().is_some_and(|unit| (0xD800..0xDC00).contains(unit))
            && self.chars.next_if(|(_, c)| *c == '\\').is_some()
            && self.chars.next_if(|(_, c)| *c == 'u').is_some()
        {
            units.extend(self.hex4());
        }
        if let (false, Ok(read)) = (units.is_empty(), String::from_utf16(&units)) {
            text.push_str(&read);
            return true;
        }
        let end = self.here();
        self.problems.push(
            Problem::error("bad-escape", at..end, "this escape is no character")
                .hint("write `\\u` and four hexadecimal digits; characters beyond them are two such escapes"),
        );
        false
    }

    fn hex4(&mut self) -> Option<u16> {
        let mut unit: u32 = 0;
        for _ in 0..4 {
            let (_, digit) = self.chars.next_if(|(_, c)| c.is_ascii_hexdigit())?;
            unit = unit.checked_mul(16)?.checked_add(digit.to_digit(16)?)?;
        }
        u16::try_from(unit).ok()
    }

    /// A character the language does not have, with those like it that follow.
    fn stray(&mut self, start: usize, first: char) -> Token {
        if first == '{' || (first == '$' && self.chars.peek().is_some_and(|(_, c)| *c == '{')) {
            self.skip_while(|c| c != '}' && c != ',' && c != ')');
            self.chars.next_if(|(_, c)| *c == '}');
        } else {
            self.skip_while(|c| {
                !c.is_whitespace()
                    && !c.is_alphanumeric()
                    && !matches!(c, '_' | '"' | '\'' | '(' | ')' | '[' | ']' | ',')
            });
        }
        let (text, span) = (self.text(start).to_owned(), start..self.here());
        let shown: String = text.escape_debug().take(40).collect();
        let problem = Problem::error("stray-text", span, format!("`{shown}` is not part of the language"));
        self.problems.push(match stray_hint(&text) {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
        Token::Bad
    }
}

fn stray_hint(text: &str) -> Option<&'static str> {
    match text {
        "=" | "==" | ":" | "===" => Some("compare with a call: eq(field, value)"),
        "!=" | "<>" => Some("compare with a call: neq(field, value)"),
        "<" | "<=" | ">" | ">=" => Some("compare with a call: lt, lte, gt or gte, as in gt(latency, 5)"),
        "&" | "&&" => Some("join with a call: and(first, second)"),
        "|" | "||" => Some("join with a call: or(first, second)"),
        "!" => Some("negate with a call: not(condition)"),
        "*" => Some("inside quotes, `%` is the wildcard of like(field, pattern)"),
        _ if text.starts_with(['{', '$']) => Some("this looks like a placeholder that was not filled in"),
        _ if text.starts_with(['“', '”', '‘', '’', '`']) => Some("text is quoted with \" or '"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> (Vec<Token>, Vec<Problem>) {
        let mut problems = Vec::new();
        let found = tokens(source, &mut problems).into_iter().map(|lexeme| lexeme.token).collect();
        (found, problems)
    }

    fn text(source: &str) -> String {
        match read(source).0.as_slice() {
            [Token::Text(text)] => text.clone(),
            other => panic!("{source} is {other:?}"),
        }
    }

    #[test]
    fn both_quotes_and_their_escapes_are_read() {
        assert_eq!(text(r#""a\"b\\c\ndA\ud83d\ude00""#), "a\"b\\c\ndA😀");
        assert_eq!(text(r"'it\'s'"), "it's");
        assert_eq!(text(r"'C:\new\\x'"), r"C:\new\x");
        assert_eq!(text(r#""50\%""#), r"50\%");
        assert_eq!(text("\"two\nlines\""), "two\nlines");
    }

    #[test]
    fn an_unknown_escape_is_kept_with_a_warning() {
        let (found, problems) = read(r#""\d+""#);
        assert_eq!(found, [Token::Text(r"\d+".into())]);
        assert_eq!(problems[0].code, "unknown-escape");
    }

    #[test]
    fn what_is_no_character_is_refused() {
        for source in [r#""\u12""#, r#""\ud83d""#, r#""\ude00""#, r#""\ud83dA""#, r#""\uzzzz""#] {
            let (found, problems) = read(source);
            assert_eq!(found, [Token::Bad], "{source}");
            assert_eq!(problems[0].code, "bad-escape", "{source}");
        }
    }

    #[test]
    fn numbers_units_dates_and_ids_go_without_quotes() {
        let number = |text: &str, unit| Token::Number(Number::parse(text).unwrap(), unit);
        assert_eq!(
            read("-1.5e3 +2 .5 10 5s 250MS").0,
            [
                number("-1500", None),
                number("2", None),
                number("0.5", None),
                number("10", None),
                number("5", Some(Unit::Second)),
                number("250", Some(Unit::Millisecond)),
            ]
        );
        for word in ["2024-01-01T10:00:00+02:00", "4070f233-f61e-44eb-bff1-da3c163895a3", "2aa1cf4", "10:30"] {
            assert_eq!(read(word).0, [Token::Word(word.into())]);
        }
        assert_eq!(read("5sec").1[0].code, "bad-unit");
        assert_eq!(read("1.2.3").1[0].code, "bad-number");
    }

    #[test]
    fn placeholders_and_operators_get_advice() {
        for (source, part) in [("{thread_id}", "placeholder"), ("==", "eq("), ("&&", "and("), ("“", "quoted with")] {
            let (found, problems) = read(source);
            assert_eq!(found, [Token::Bad]);
            assert!(problems[0].hint.as_deref().unwrap().contains(part), "{source}");
        }
    }
}
