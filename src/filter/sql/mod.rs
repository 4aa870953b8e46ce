//! What a database can decide of a filter: a description of conditions on columns, and nothing of SQL itself.
//!
//! A database knows a run's hot columns and the keys and scores of its feedback; the rest of a run is packed. So a filter becomes
//! two bounds. Every run that passes the filter passes the upper one, every run that passes the lower one passes the
//! filter, and where both are the same the database's word is final. What it cannot decide is "perhaps": true in the
//! upper bound, false in the lower one, and `not` exchanges the two.
//!
//! Nothing here is ever unknown: a test of a column that holds nothing is false, as it is for the evaluator, and whoever
//! writes it down for a database has to see to that.

mod feedback;
mod lower;

use uuid::Uuid;

use crate::filter::Filter;
pub use crate::filter::checked::Order;

/// A condition on the columns of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Clause {
    /// Every run passes.
    Always,
    /// No run passes.
    Never,
    /// All hold.
    All(Vec<Clause>),
    /// Some holds.
    Any(Vec<Clause>),
    /// It does not hold.
    Not(Box<Clause>),
    /// A column of the run passes a test.
    Column(Column, Test),
    /// There is feedback on the run of which one record passes all of these.
    Feedback(Vec<FeedbackTest>),
}

/// A hot column of a run, or what follows from two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Its id.
    Id,
    /// Its trace.
    Trace,
    /// Its project.
    Project,
    /// Its parent; a root has none.
    Parent,
    /// Its name.
    Name,
    /// Its type.
    RunType,
    /// Its status.
    Status,
    /// Whether it is a root.
    IsRoot,
    /// When it started, in microseconds.
    Start,
    /// When it ended, in microseconds; a pending run did not.
    End,
    /// How long it took, in microseconds; a pending run took no time yet.
    Latency,
}

/// A test of a column. Of a column that holds nothing only [`Test::Nothing`] is true.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// It is one of these ids.
    Ids(Vec<Uuid>),
    /// It is one of these words.
    Words(Vec<String>),
    /// It is true, or false.
    Flag(bool),
    /// It stands so to this number.
    Order(Order, i64),
    /// It is this number.
    Number(i64),
    /// It holds nothing.
    Nothing,
    /// It is text of this shape.
    Like(Shape),
}

/// What text looks like.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The shape, from left to right.
    pub pieces: Vec<Piece>,
    /// What the answer is for text that a database may see only in part, because of a character that ends text there.
    pub in_doubt: bool,
}

/// A part of a shape.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Just this text.
    Text(String),
    /// Any one character.
    One,
    /// Any text, also none.
    Any,
}

/// A test of a feedback record.
#[derive(Debug, Clone, PartialEq)]
pub enum FeedbackTest {
    /// A column is one of some words.
    Words {
        /// The column.
        column: FeedbackColumn,
        /// The words.
        words: Vec<String>,
        /// Whether it must be none of them instead.
        negated: bool,
    },
    /// There is a score, which stands so to this number.
    Score(Order, f64),
}

/// A column of a feedback record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedbackColumn {
    /// Its key.
    Key,
    /// The type of its source, if that says one.
    Source,
}

/// What a database can decide of a filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Narrowing {
    /// Every run that passes the filter passes this.
    pub clause: Clause,
    /// Whether every run that passes this passes the filter.
    pub exact: bool,
}

impl Default for Narrowing {
    fn default() -> Self {
        Self { clause: Clause::Always, exact: true }
    }
}

impl Filter {
    /// What a database can decide of it.
    #[must_use]
    pub fn narrowing(&self) -> Narrowing {
        self.condition.as_ref().map_or_else(Narrowing::default, |condition| {
            let bounds = lower::bounds(condition);
            Narrowing { clause: bounds.upper, exact: bounds.exact }
        })
    }
}

impl Clause {
    /// All of these hold. What always holds is left out.
    #[must_use]
    pub fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut kept = Vec::new();
        for part in parts {
            match part {
                Self::Always => {}
                Self::Never => return Self::Never,
                Self::All(inner) => kept.extend(inner),
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => Self::Always,
            1 => kept.remove(0),
            _ => Self::All(kept),
        }
    }

    /// Some of these holds. What never holds is left out.
    #[must_use]
    pub fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut kept = Vec::new();
        for part in parts {
            match part {
                Self::Never => {}
                Self::Always => return Self::Always,
                Self::Any(inner) => kept.extend(inner),
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => Self::Never,
            1 => kept.remove(0),
            _ => Self::Any(kept),
        }
    }

    /// This does not hold.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Always => Self::Never,
            Self::Never => Self::Always,
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// Those clauses of which each must hold.
    pub fn conjuncts(&self) -> impl Iterator<Item = &Self> {
        match self {
            Self::All(parts) => parts.as_slice(),
            other => std::slice::from_ref(other),
        }
        .iter()
    }
}
