//! The filter language: text, to tree, to checked filter, to an answer about a run.
//!
//! One language for every place where a filter can be written, a superset of what LangSmith documents and of what its
//! hosted service accepts. What is wrong with a filter is said when it is parsed, all of it at once, each with its
//! place and a way out; a filter that parsed never fails, and none "silently matches nothing" because a name was
//! misspelt. Nothing here does I/O, reads a clock, or keeps state. `docs/filters.md` describes the language to those who
//! write it.

mod check;
mod checked;
pub(crate) mod demand;
mod eval;
pub mod facts;
mod field;
mod flatten;
mod made;
pub(crate) mod mark;
pub(crate) mod measure;
mod parse;
mod print;
pub mod report;
pub mod sql;
mod suggest;
mod token;
mod tree;
mod value;

use std::fmt;

use crate::model::problem::{Problem, Severity};
use checked::Condition;
use demand::Demands;
use field::{Field, Group, Plain};

pub use facts::Facts;
pub(crate) use suggest::nearest;

/// How deep calls and lists may nest.
pub const MAX_DEPTH: usize = 32;

/// How long a filter may be, in bytes.
pub const MAX_BYTES: usize = 16 * 1024;

/// How many problems of one filter are told.
const MAX_PROBLEMS: usize = 25;

/// A filter that has been parsed and checked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    /// Nothing, when everything passes.
    condition: Option<Condition>,
    needs: Needs,
    asks_pending: bool,
}

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
    pub fn parse(text: &str, mode: Mode) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        if text.len() > MAX_BYTES {
            let message = format!("the filter has {} bytes, and at most {MAX_BYTES} are allowed", text.len());
            return Err(vec![Problem::error("too-long", MAX_BYTES..text.len(), message)]);
        }
        let mut problems = Vec::new();
        let tree = parse::parse(text, &mut problems);
        let condition = tree.as_ref().and_then(|tree| check::check(tree, mode, &mut problems));
        let refused = problems.iter().any(|problem| problem.severity == Severity::Error);
        problems.sort_by_key(|problem| (std::cmp::Reverse(problem.severity), problem.span.start));
        problems.truncate(MAX_PROBLEMS);
        problems.sort_by_key(|problem| problem.span.start);
        if refused { Err(problems) } else { Ok((Self::of(condition), problems)) }
    }

    fn of(condition: Option<Condition>) -> Self {
        let (mut needs, mut asks_pending) = (Needs::default(), false);
        if let Some(condition) = &condition {
            condition.visit(false, &mut |part, negated| {
                needs.add(part);
                asks_pending |= part.asks_pending(negated);
            });
        }
        Self { condition, needs, asks_pending }
    }

    /// What it looks at.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// Whether it asks for unfinished runs: whether it names `pending` as a status that a run may have.
    #[must_use]
    pub fn asks_pending(&self) -> bool {
        self.asks_pending
    }

    /// What a run must have for the filter to hold.
    pub(crate) fn demands(&self) -> Demands {
        self.condition.as_ref().map(Demands::of).unwrap_or_default()
    }

    /// Whether a run passes.
    #[must_use]
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        self.condition.as_ref().is_none_or(|condition| eval::holds(condition, facts))
    }
}

impl fmt::Display for Filter {
    /// The canonical form, which parses to the same filter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.as_ref().map_or(Ok(()), |condition| condition.fmt(f))
    }
}

impl Needs {
    fn add(&mut self, part: &Condition) {
        match part {
            Condition::And(_) | Condition::Or(_) | Condition::Not(_) => {}
            Condition::Field(Field::Pair(Group::Feedback, _), _) => self.feedback = true,
            Condition::Words(_)
            | Condition::HasKey(..)
            | Condition::Contains(..)
            | Condition::Field(Field::Pair(..) | Field::Path(..) | Field::Whole(_), _) => self.body = true,
            Condition::Field(Field::Plain(plain), _) => {
                self.body |= *plain == Plain::ThreadId;
                self.usage |= plain.is_usage();
            }
        }
    }

    /// What two filters together look at.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            body: self.body || other.body,
            feedback: self.feedback || other.feedback,
            usage: self.usage || other.usage,
        }
    }
}
