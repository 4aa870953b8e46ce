//! Problems for people: the line, a caret under what is wrong, and what to do. Filters and rule files share it.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, normalize_untrusted_str};

use crate::model::problem::{Problem, Severity};

/// How a report looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Text alone.
    Plain,
    /// With the colours of a terminal.
    Color,
}

/// Shows problems of a text, in their order, a blank line between them. `name` is the file, or what else the text is. A
/// span that does not fit the text is moved to where it does.
#[must_use]
pub fn render(name: &str, source: &str, problems: &[Problem], style: Style) -> String {
    let renderer = match style {
        Style::Plain => Renderer::plain(),
        Style::Color => Renderer::styled(),
    };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let lines = Lines::of(source);
    let shown: Vec<String> = problems.iter().map(|problem| one(&renderer, name, &lines, problem)).collect();
    shown.join("\n\n")
}

/// A text and where its lines begin. Each problem is drawn over its own lines alone: over the whole text, a file with
/// thousands of problems would take minutes.
#[derive(Debug)]
pub struct Lines<'a> {
    source: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Of a text.
    #[must_use]
    pub fn of(source: &'a str) -> Self {
        let starts = std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { source, starts }
    }

    /// The line and column of a byte, both from 1; columns count characters.
    #[must_use]
    pub fn place(&self, byte: usize) -> (usize, usize) {
        let byte = self.source.floor_char_boundary(byte.min(self.source.len()));
        let number = self.starts.partition_point(|start| *start <= byte);
        let start = number.checked_sub(1).and_then(|line| self.starts.get(line)).copied().unwrap_or(0);
        let before = self.source.get(start..byte).unwrap_or_default();
        (number, before.trim_start_matches('\u{feff}').chars().count() + 1)
    }

    /// The lines of a span, the number of the first, and where they begin.
    fn around(&self, span: &Range<usize>) -> (&'a str, usize, usize) {
        let number = self.starts.partition_point(|start| *start <= span.start);
        let start = number.checked_sub(1).and_then(|line| self.starts.get(line)).copied().unwrap_or(0);
        // With the line after the last, so that a span that ends in a line break ends inside.
        let after = self.starts.partition_point(|start| *start <= span.end) + 1;
        let end = self.starts.get(after).copied().unwrap_or(self.source.len());
        (self.source.get(start..end).unwrap_or_default(), number, start)
    }
}

fn one(renderer: &Renderer, name: &str, lines: &Lines<'_>, problem: &Problem) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let span = fitted(&problem.span, lines.source);
    let (source, number, at) = lines.around(&span);
    let span = span.start.saturating_sub(at)..span.end.saturating_sub(at);
    let snippet = Snippet::source(source).line_start(number).path(name);
    let snippet = snippet.annotation(AnnotationKind::Primary.span(span));
    let mut report = level.primary_title(problem.message.as_str()).id(problem.code).element(snippet);
    if let Some(hint) = &problem.hint {
        report = report.element(Level::HELP.message(normalize_untrusted_str(hint)));
    }
    renderer.render(&[report])
}

/// The span, inside the text and at the edges of characters.
fn fitted(span: &Range<usize>, source: &str) -> Range<usize> {
    let start = source.floor_char_boundary(span.start.min(source.len()));
    let end = source.ceil_char_boundary(span.end.min(source.len()));
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_line_a_caret_and_what_to_do() {
        let source = "filter: >\n  and(eq(nmae, \"x\"),\n      gt(latency, 5))\n";
        let at = source.find("nmae").unwrap();
        let problem =
            Problem::error("unknown-field", at..at + 4, "there is no field `nmae`").hint("did you mean `name`?");
        assert_eq!(
            render("rules/a.yaml", source, &[problem], Style::Plain),
            "error[unknown-field]: there is no field `nmae`
 --> rules/a.yaml:2:10
  |
2 |   and(eq(nmae, \"x\"),
  |          ^^^^
  |
  = help: did you mean `name`?"
        );
    }

    #[test]
    fn any_span_can_be_shown() {
        let source = "é\nλx";
        for (start, end) in [(0, 0), (1, 1), (0, 1), (3, 4), (6, 6), (5, 2), (9, 40), (usize::MAX, usize::MAX), (0, 6)]
        {
            for source in [source, "", "\n", "one\n"] {
                let shown = render("f", source, &[Problem::warning("w", start..end, "m")], Style::Color);
                assert!(shown.contains("warning"), "{start}..{end}");
            }
        }
    }
}
