//! stub
use crate::model::problem::Problem;
/// Style
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Plain
    Plain,
    /// Color
    Color,
}
/// render
#[must_use]
pub fn render(name: &str, source: &str, problems: &[Problem], _style: Style) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for p in problems {
        let line = source[..p.span.start].matches('\n').count() + 1;
        let text = source.lines().nth(line - 1).unwrap_or_default();
        let _ = writeln!(out, "{:?}[{}]: {}\n --> {name}:{line}\n   | {text}\n hint: {}", p.severity, p.code, p.message, p.hint.clone().unwrap_or_default());
    }
    out
}
