//! A checked filter, as bounds.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use crate::filter::checked::{Condition, Order, Test as Asked};
use crate::filter::eval::text::Pattern;
use crate::filter::field::{Field, Group, Plain};
use crate::filter::sql::feedback;
use crate::filter::sql::{Clause, Column, Shape, Test};
use crate::filter::value::{Number, Value};

/// What a database knows of a condition.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// What holds wherever the condition does.
    pub(super) upper: Clause,
    /// Where it holds the condition does.
    pub(super) lower: Clause,
    /// Whether both say the same.
    pub(super) exact: bool,
}

impl Bounds {
    pub(super) fn exactly(clause: Clause) -> Self {
        Self { upper: clause.clone(), lower: clause, exact: true }
    }

    pub(super) fn perhaps() -> Self {
        Self { upper: Clause::Always, lower: Clause::Never, exact: false }
    }

    fn negated(self) -> Self {
        Self { upper: self.lower.negated(), lower: self.upper.negated(), exact: self.exact }
    }

    pub(super) fn all(parts: Vec<Self>) -> Self {
        Self::joined(parts, Clause::all)
    }

    fn any(parts: Vec<Self>) -> Self {
        Self::joined(parts, Clause::any)
    }

    fn joined(parts: Vec<Self>, join: impl Fn(Vec<Clause>) -> Clause) -> Self {
        let exact = parts.iter().all(|part| part.exact);
        let (upper, lower) = parts.into_iter().map(|part| (part.upper, part.lower)).unzip();
        Self { upper: join(upper), lower: join(lower), exact }
    }
}

/// The bounds of a condition.
pub(super) fn bounds(condition: &Condition) -> Bounds {
    match condition {
        Condition::And(parts) => {
            let mut all: Vec<Bounds> = parts.iter().filter(|part| part.pair().is_none()).map(bounds).collect();
            all.extend(pairs(parts));
            Bounds::all(all)
        }
        Condition::Or(parts) => Bounds::any(parts.iter().map(bounds).collect()),
        Condition::Not(inner) => bounds(inner).negated(),
        Condition::Field(Field::Pair(..), _) => Bounds::all(pairs(std::slice::from_ref(condition))),
        Condition::Field(Field::Plain(plain), test) => column(*plain, test),
        Condition::Field(Field::Path(..) | Field::Whole(_), _)
        | Condition::Words(_)
        | Condition::HasKey(..)
        | Condition::Contains(..) => Bounds::perhaps(),
    }
}

/// The bounds of the tests of pair groups among these conditions, each group by itself.
fn pairs(parts: &[Condition]) -> Vec<Bounds> {
    let of = |group: Group| parts.iter().filter_map(move |part| part.pair().filter(|(of, ..)| *of == group));
    let mut found: Vec<Bounds> = Group::ALL
        .into_iter()
        .filter(|group| *group != Group::Feedback && of(*group).next().is_some())
        .map(|_| Bounds::perhaps())
        .collect();
    let about_feedback: Vec<_> = of(Group::Feedback).map(|(_, column, test)| (column, test)).collect();
    if !about_feedback.is_empty() {
        found.push(feedback::bounds(&about_feedback));
    }
    found
}

fn column(plain: Plain, test: &Asked) -> Bounds {
    let column = match plain {
        Plain::Id => Column::Id,
        Plain::TraceId => Column::Trace,
        Plain::SessionId => Column::Project,
        Plain::ParentRunId => Column::Parent,
        Plain::Name => Column::Name,
        Plain::RunType => Column::RunType,
        Plain::Status => Column::Status,
        Plain::IsRoot => Column::IsRoot,
        Plain::StartTime => Column::Start,
        Plain::EndTime => Column::End,
        Plain::Latency => Column::Latency,
        _ => return Bounds::perhaps(),
    };
    match test {
        Asked::Eq(value) => equal(column, value),
        Asked::Neq(value) => equal(column, value).negated(),
        Asked::In(values) => Bounds::any(values.iter().map(|value| equal(column, value)).collect()),
        Asked::Order(order, value) => ordered(column, *order, value),
        Asked::Like(pattern) => like(column, pattern),
        Asked::NotLike(pattern) => like(column, pattern).negated(),
        Asked::Search(_) => Bounds::perhaps(),
    }
}

/// Whether a column equals a value. A value of another type it never equals.
fn equal(column: Column, value: &Value) -> Bounds {
    let test = match (column, value) {
        (Column::Parent | Column::End | Column::Latency, Value::Null) => Some(Test::Nothing),
        (Column::Id | Column::Trace | Column::Project | Column::Parent, Value::Id(id)) => Some(Test::Ids(vec![*id])),
        (Column::Name | Column::RunType | Column::Status, Value::Text(word)) if is_kept(word) => {
            Some(Test::Words(vec![word.to_string()]))
        }
        (Column::Name | Column::RunType | Column::Status, Value::Text(_)) => return Bounds::perhaps(),
        (Column::IsRoot, Value::Bool(yes)) => Some(Test::Flag(*yes)),
        (Column::Start | Column::End, Value::Time(at)) => Some(Test::Number(at.0)),
        (Column::Latency, Value::Number(seconds)) => match micros(*seconds) {
            Some(Micros::Whole(number)) => Some(Test::Number(number)),
            Some(Micros::Between(_)) => None,
            None => return Bounds::perhaps(),
        },
        _ => None,
    };
    Bounds::exactly(test.map_or(Clause::Never, |test| Clause::Column(column, test)))
}

fn ordered(column: Column, order: Order, value: &Value) -> Bounds {
    let (order, number) = match (column, value) {
        (Column::Start | Column::End, Value::Time(at)) => (order, at.0),
        (Column::Latency, Value::Number(seconds)) => match micros(*seconds) {
            Some(Micros::Whole(number)) => (order, number),
            // Above this number means at least the next one, and below it at most this one.
            Some(Micros::Between(below)) => match order {
                Order::Gt | Order::Gte => (Order::Gt, below),
                Order::Lt | Order::Lte => (Order::Lte, below),
            },
            None => return Bounds::perhaps(),
        },
        // The order of texts is the database's own.
        (Column::Name | Column::RunType | Column::Status, Value::Text(_)) => return Bounds::perhaps(),
        _ => return Bounds::exactly(Clause::Never),
    };
    Bounds::exactly(Clause::Column(column, Test::Order(order, number)))
}

/// Seconds, in microseconds.
enum Micros {
    /// A whole number of them.
    Whole(i64),
    /// More than this, and less than the next.
    Between(i64),
}

fn micros(seconds: Number) -> Option<Micros> {
    let Number::Exact(exact) = seconds else { return None };
    let micros = exact.checked_mul(Decimal::from(1_000_000))?;
    let below = micros.floor().to_i64()?;
    Some(if micros.is_integer() { Micros::Whole(below) } else { Micros::Between(below) })
}

fn like(column: Column, pattern: &Pattern) -> Bounds {
    if !matches!(column, Column::Name | Column::RunType | Column::Status) {
        return Bounds::exactly(Clause::Never);
    }
    let pieces = pattern.pieces();
    if pieces.iter().any(|piece| matches!(piece, super::Piece::Text(text) if !is_kept(text))) {
        return Bounds::perhaps();
    }
    let clause = |in_doubt| Clause::Column(column, Test::Like(Shape { pieces: pieces.clone(), in_doubt }));
    Bounds { upper: clause(true), lower: clause(false), exact: false }
}

/// Whether a text comes back from every database as it was: none keeps the character with the number 0, and one puts
/// another in its place.
pub(super) fn is_kept(text: &str) -> bool {
    !text.contains(['\0', '\u{FFFD}'])
}
