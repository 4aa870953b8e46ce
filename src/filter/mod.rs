//! The filter language: text, to tree, to checked filter, to an answer about a run.

pub mod facts;

use crate::model::problem::Problem;

pub use facts::Facts;

/// A filter that has been parsed and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {}

/// How forgiving the language is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The superset of everything LangSmith documents or accepts.
    Lenient,
    /// The same, with a warning for what the hosted service refuses.
    Strict,
}

/// What a filter looks at beyond the hot fields of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Inputs, outputs, extra (metadata), events, or full text.
    pub body: bool,
    /// Feedback.
    pub feedback: bool,
    /// Tokens or costs, which are summed over a subtree.
    pub usage: bool,
}

impl Filter {
    /// Parses and checks a text. Blank text is the filter that everything passes. Warnings come with the filter,
    /// errors (all of them) instead of it.
    pub fn parse(_text: &str, _mode: Mode) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        unimplemented!()
    }

    /// What it looks at.
    #[must_use]
    pub fn needs(&self) -> Needs {
        unimplemented!()
    }

    /// Whether it asks for unfinished runs.
    #[must_use]
    pub fn asks_pending(&self) -> bool {
        unimplemented!()
    }

    /// Whether a run passes.
    #[must_use]
    pub fn matches(&self, _facts: &Facts<'_>) -> bool {
        unimplemented!()
    }
}
