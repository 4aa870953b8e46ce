//! Filters that nobody wrote: parameters of a request that ask what a filter could ask. They are evaluated, and narrowed
//! for a database, like any other.

use uuid::Uuid;

use crate::filter::Filter;
use crate::filter::checked::{Condition, Order, Test};
use crate::filter::eval::text::Words;
use crate::filter::field::{Field, Plain};
use crate::filter::value::Value;
use crate::model::id::{ProjectId, RunId, TraceId};
use crate::model::time::Timestamp;

impl Filter {
    /// The run is a root, or is none.
    #[must_use]
    pub fn is_root(yes: bool) -> Self {
        Self::test(Plain::IsRoot, Test::Eq(Value::Bool(yes)))
    }

    /// The run has this type.
    #[must_use]
    pub fn run_type(word: &str) -> Self {
        Self::test(Plain::RunType, Test::Eq(Value::Text(word.into())))
    }

    /// The run has this status.
    #[must_use]
    pub fn status(word: &str) -> Self {
        Self::test(Plain::Status, Test::Eq(Value::Text(word.into())))
    }

    /// The run is a child of this one.
    #[must_use]
    pub fn child_of(parent: RunId) -> Self {
        Self::test(Plain::ParentRunId, Test::Eq(Value::Id(parent.0)))
    }

    /// The run is of this trace.
    #[must_use]
    pub fn in_trace(trace: TraceId) -> Self {
        Self::test(Plain::TraceId, Test::Eq(Value::Id(trace.0)))
    }

    /// The run is in one of these projects.
    #[must_use]
    pub fn in_projects(projects: &[ProjectId]) -> Self {
        Self::test(Plain::SessionId, Test::In(projects.iter().map(|project| Value::Id(project.0)).collect()))
    }

    /// The run is one of these.
    #[must_use]
    pub fn among(runs: &[Uuid]) -> Self {
        Self::test(Plain::Id, Test::In(runs.iter().copied().map(Value::Id).collect()))
    }

    /// The run answers one of these examples.
    #[must_use]
    pub fn answers(examples: &[Uuid]) -> Self {
        Self::test(Plain::ReferenceExampleId, Test::In(examples.iter().copied().map(Value::Id).collect()))
    }

    /// The run's start stands so to an instant.
    #[must_use]
    pub fn started(order: Order, at: Timestamp) -> Self {
        Self::test(Plain::StartTime, Test::Order(order, Value::Time(at)))
    }

    /// The run has a thread.
    #[must_use]
    pub fn in_a_thread() -> Self {
        Self::test(Plain::ThreadId, Test::Neq(Value::Null))
    }

    /// All words of a text are in the run's.
    #[must_use]
    pub fn text(words: &str) -> Self {
        Self::of(Some(Condition::Words(Box::new(Words::new(words)))))
    }

    /// Both hold, each by itself: what each says of one record is not about one record of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self.condition, other.condition) {
            (Some(one), Some(two)) => {
                let own = |condition| match condition {
                    scope @ (Condition::And(_) | Condition::Or(_) | Condition::Not(_)) => scope,
                    single => Condition::And(Box::new([single])),
                };
                Self::of(Some(Condition::And(Box::new([own(one), own(two)]))))
            }
            (one, two) => Self::of(one.or(two)),
        }
    }

    /// It does not hold.
    #[must_use]
    pub fn negated(self) -> Self {
        Self::of(Some(Condition::Not(Box::new(self.condition.unwrap_or(Condition::And(Box::default()))))))
    }

    fn test(plain: Plain, test: Test) -> Self {
        Self::of(Some(Condition::Field(Field::Plain(plain), test)))
    }
}
