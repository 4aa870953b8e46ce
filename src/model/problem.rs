//! What is wrong with a text someone wrote: where, why, and what to do. Filters, rule files and the config all speak it.

use std::ops::Range;

use serde::Serialize;

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The text is accepted, but its author would want to know.
    Warning,
    /// The text is refused.
    Error,
}

/// One problem, pointing into the text it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether it refuses the text.
    pub severity: Severity,
    /// A stable name, such as `unknown-field`.
    pub code: &'static str,
    /// What is wrong: a lowercase fragment, without a full stop, never holding a secret.
    pub message: String,
    /// The bytes it is about.
    pub span: Range<usize>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem that refuses the text.
    #[must_use]
    pub fn error(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), span, hint: None }
    }

    /// A problem that does not.
    #[must_use]
    pub fn warning(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, moved to where its text stands inside a larger one.
    #[must_use]
    pub fn shifted(mut self, by: usize) -> Self {
        self.span = self.span.start.saturating_add(by)..self.span.end.saturating_add(by);
        self
    }
}
