//! Tokens to a tree. A problem does not end the parse: the parser goes on behind it, so that one look at a filter
//! finds all that is wrong with it.

use std::ops::Range;

use crate::filter::MAX_DEPTH;
use crate::filter::token::{Lexeme, Token, tokens};
use crate::filter::tree::{Call, Kind, Node};
use crate::model::problem::Problem;

/// Parses a text. Blank text has no tree.
pub(crate) fn parse(source: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let lexemes = tokens(source, problems);
    let broken_end = lexemes.last().is_some_and(|last| last.token == Token::Bad);
    let mut parser = Parser { lexemes, at: 0, end: source.len(), problems, ended: broken_end };
    parser.peek()?;
    let tree = parser.node(0);
    parser.leftover(&tree);
    Some(tree)
}

struct Parser<'p> {
    lexemes: Vec<Lexeme>,
    at: usize,
    end: usize,
    problems: &'p mut Vec<Problem>,
    /// Whether it was reported already that the text ends too early.
    ended: bool,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.lexemes.get(self.at).map(|lexeme| &lexeme.token)
    }

    fn next(&mut self) -> Option<Lexeme> {
        let lexeme = self.lexemes.get(self.at).cloned()?;
        self.at = self.at.saturating_add(1);
        Some(lexeme)
    }

    fn skip_if(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.at = self.at.saturating_add(1);
        }
        found
    }

    /// The bytes of the next token, or the end of the text.
    fn here(&self) -> Range<usize> {
        self.lexemes.get(self.at).map_or(self.end..self.end, |lexeme| lexeme.span.clone())
    }

    /// Where the token before ended.
    fn behind(&self) -> usize {
        self.at.checked_sub(1).and_then(|before| self.lexemes.get(before)).map_or(0, |lexeme| lexeme.span.end)
    }

    fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn node(&mut self, depth: usize) -> Node {
        let span = self.here();
        match self.peek() {
            None => {
                if !std::mem::replace(&mut self.ended, true) {
                    self.report(Problem::error("unexpected-end", span.clone(), "the filter ends too early"));
                }
                return Node { kind: Kind::Bad, span };
            }
            Some(Token::Close | Token::CloseList | Token::Comma) => {
                let problem = Problem::error("missing-value", span.clone(), "a value is missing here");
                self.report(problem);
                return Node { kind: Kind::Bad, span };
            }
            Some(_) => {}
        }
        let kind = match self.next().map(|lexeme| lexeme.token) {
            Some(Token::Word(word)) if self.peek() == Some(&Token::Open) => self.call(word, span.clone(), depth),
            Some(Token::Word(word)) => literal(word),
            Some(Token::Text(text)) => Kind::Text(text),
            Some(Token::Number(number, unit)) => Kind::Number(number, unit),
            Some(Token::OpenList) => self.list(&span, depth),
            Some(Token::Open) => {
                let problem = Problem::error("missing-name", span.clone(), "this parenthesis has no name before it");
                self.report(problem.hint("a condition is a call, such as eq(name, \"agent\")"));
                self.skip_balanced();
                Kind::Bad
            }
            _ => Kind::Bad,
        };
        Node { kind, span: span.start..self.behind().max(span.end) }
    }

    fn call(&mut self, name: String, name_span: Range<usize>, depth: usize) -> Kind {
        let open = self.here();
        self.at = self.at.saturating_add(1);
        if depth >= MAX_DEPTH {
            return self.too_deep(name_span);
        }
        let args = self.arguments(&open, &Token::Close, depth.saturating_add(1));
        Kind::Call(Call { name, name_span, args })
    }

    fn list(&mut self, open: &Range<usize>, depth: usize) -> Kind {
        // The list of the deepest call is still allowed.
        if depth > MAX_DEPTH {
            return self.too_deep(open.clone());
        }
        Kind::List(self.arguments(open, &Token::CloseList, depth.saturating_add(1)))
    }

    /// Skips what has just been opened.
    fn too_deep(&mut self, span: Range<usize>) -> Kind {
        let message = format!("calls are nested deeper than {MAX_DEPTH} here");
        self.report(Problem::error("too-deep", span, message).hint("`and` and `or` take any number of arguments"));
        self.skip_balanced();
        Kind::Bad
    }

    /// What stands between the opening token, already taken, and the closing one.
    fn arguments(&mut self, open: &Range<usize>, close: &Token, depth: usize) -> Vec<Node> {
        let mut found = Vec::new();
        if self.skip_if(close) {
            return found;
        }
        loop {
            let node = self.node(depth);
            let sound = node.kind != Kind::Bad;
            found.push(node);
            if self.skip_if(&Token::Comma) {
                continue;
            }
            if self.skip_if(close) {
                return found;
            }
            if self.peek().is_none() {
                self.unclosed(open, close);
                return found;
            }
            if sound {
                self.expected(close);
            }
            if !self.recover(close) {
                self.unclosed(open, close);
                return found;
            }
            if self.skip_if(close) {
                return found;
            }
            self.skip_if(&Token::Comma);
        }
    }

    fn unclosed(&mut self, open: &Range<usize>, close: &Token) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let (what, mark) = if *close == Token::Close { ("parenthesis", ")") } else { ("bracket", "]") };
        let problem = Problem::error("unclosed", open.clone(), format!("this {what} is not closed"));
        self.report(problem.hint(format!("add the missing `{mark}`")));
    }

    fn expected(&mut self, close: &Token) {
        if self.peek() == Some(&Token::Bad) {
            return;
        }
        let mark = if *close == Token::Close { ")" } else { "]" };
        let problem = Problem::error("missing-comma", self.here(), format!("expected `,` or `{mark}` before this"));
        self.report(problem);
    }

    /// Goes on to the next comma or closing token of this call. Whether there is one.
    fn recover(&mut self, close: &Token) -> bool {
        while let Some(token) = self.peek() {
            match token {
                Token::Comma => return true,
                token if token == close => return true,
                Token::Open | Token::OpenList => {
                    self.at = self.at.saturating_add(1);
                    self.skip_balanced();
                }
                _ => self.at = self.at.saturating_add(1),
            }
        }
        false
    }

    /// Goes behind the token that closes the one just taken.
    fn skip_balanced(&mut self) {
        let mut depth: usize = 1;
        while depth > 0 {
            let Some(lexeme) = self.next() else { return };
            match lexeme.token {
                Token::Open | Token::OpenList => depth = depth.saturating_add(1),
                Token::Close | Token::CloseList => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Reports what follows the filter.
    fn leftover(&mut self, tree: &Node) {
        if self.peek().is_none_or(|token| *token == Token::Bad) || tree.kind == Kind::Bad {
            return;
        }
        let infix = self.lexemes.iter().skip(self.at).any(|lexeme| lexeme.token == Token::Bad);
        if infix && !matches!(tree.kind, Kind::Call(_)) {
            return;
        }
        let problem = Problem::error("leftover", self.here().start..self.end, "the filter has ended before this");
        self.report(match tree.kind {
            Kind::Call(_) => problem.hint("join conditions with a call: and(first, second) or or(first, second)"),
            _ => problem.hint("a filter is one call, such as eq(name, \"agent\")"),
        });
    }
}

/// A word in its own right, unless it is one of the literal words.
fn literal(word: String) -> Kind {
    match word.to_ascii_lowercase().as_str() {
        "true" => Kind::Bool(true),
        "false" => Kind::Bool(false),
        "null" | "none" => Kind::Null,
        _ => Kind::Word(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(source: &str) -> Vec<(&'static str, &str)> {
        let mut found = Vec::new();
        parse(source, &mut found);
        found.into_iter().map(|problem| (problem.code, source.get(problem.span).unwrap())).collect()
    }

    #[test]
    fn white_space_is_free() {
        let tree = |source: &str| {
            let mut found = Vec::new();
            let tree = parse(source, &mut found);
            assert_eq!(found, []);
            match tree.unwrap().kind {
                Kind::Call(call) => (call.name, call.args.len()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(tree("and(eq(a,\"b\"),in(c,[1,2]))"), ("and".into(), 2));
        assert_eq!(tree("\n and (\n\teq( a , \"b\" ) ,\n in(c,[ ]) )\n"), ("and".into(), 2));
        assert_eq!(parse(" \n ", &mut Vec::new()), None);
    }

    #[test]
    fn the_parser_goes_on_behind_a_problem() {
        assert_eq!(
            problems("and(eq(a b), eq(, c), eq(d 1 2, 3)"),
            [("missing-comma", "b"), ("missing-value", ","), ("missing-comma", "1"), ("unclosed", "("),]
        );
        assert_eq!(problems("eq(name, \"a\") eq(name, \"b\")"), [("leftover", "eq(name, \"b\")")]);
        assert_eq!(problems("eq(name, \"a"), [("unclosed-text", "\"a")]);
        assert_eq!(problems("eq(a, b]"), [("missing-comma", "]"), ("unclosed", "(")]);
        assert_eq!(problems("status = error"), [("stray-text", "=")]);
        assert_eq!(problems("eq(a, b))"), [("leftover", ")")]);
        assert_eq!(problems("(eq(a, b))"), [("missing-name", "(")]);
        assert_eq!(problems("eq(a,"), [("unexpected-end", "")]);
    }

    #[test]
    fn depth_is_bounded_whatever_is_nested() {
        for (open, close) in [("not(", ")"), ("[", "]"), ("(", ")"), ("eq(a,[", "])")] {
            let source = format!("{}{}", open.repeat(5000), close.repeat(5000));
            let mut found = Vec::new();
            parse(&source, &mut found);
            assert!(!found.is_empty() && found.len() < 100, "{open}");
        }
        let deepest = format!("{}eq(a,b){}", "and(".repeat(MAX_DEPTH - 1), ")".repeat(MAX_DEPTH - 1));
        assert_eq!(problems(&deepest), []);
        assert_eq!(problems(&deepest.replace("eq(a,b)", "in(a,[b])")), []);
        assert_eq!(problems(&format!("and({deepest})"))[0].0, "too-deep");
    }
}
