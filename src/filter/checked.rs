//! A checked filter: every name resolved, every literal of the type its field has. What is here can be evaluated, and
//! printed so that it parses to the same. Servers keep many filters, so what is rare is behind a pointer and the rest is
//! small.

use crate::filter::eval::text::{Needle, Pattern, Words};
use crate::filter::facts::Entry;
use crate::filter::field::{Column, Field, Group, Plain, Root};
use crate::filter::value::Value;

/// A condition on a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    /// All hold. Its direct tests of one pair group are about one row.
    And(Box<[Condition]>),
    /// Some holds.
    Or(Box<[Condition]>),
    /// It does not hold.
    Not(Box<Condition>),
    /// A field passes a test.
    Field(Field, Test),
    /// All words are in the run's text.
    Words(Box<Words>),
    /// A document has an entry at this path.
    HasKey(Root, Box<str>),
    /// A document, or what is at a path of it, contains another.
    Contains(Root, Option<Box<str>>, Box<Contained>),
}

/// What is asked of a field's value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    /// Equal.
    Eq(Value),
    /// Not equal.
    Neq(Value),
    /// Greater, less, ...
    Order(Order, Value),
    /// Equal to one of these.
    In(Box<[Value]>),
    /// Of this shape.
    Like(Box<Pattern>),
    /// Not of this shape.
    NotLike(Box<Pattern>),
    /// Contains this text, whatever the case.
    Search(Box<Needle>),
}

/// A comparison that orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
}

/// A JSON object that another must contain.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Contained {
    /// The object.
    pub(crate) json: String,
    /// Its entries, each of which must be there.
    pub(crate) entries: Vec<Entry>,
}

impl Test {
    /// Whether it says what a value must not be. `neq(x, null)` says that there must be one.
    pub(crate) fn is_negative(&self) -> bool {
        match self {
            Self::Neq(value) => *value != Value::Null,
            Self::NotLike(_) => true,
            _ => false,
        }
    }
}

impl Condition {
    /// The pair group a test is about, when it is about one.
    pub(crate) fn pair(&self) -> Option<(Group, Column, &Test)> {
        match self {
            Self::Field(Field::Pair(group, column), test) => Some((*group, *column, test)),
            _ => None,
        }
    }

    /// Visits every condition within, this one first, with whether an odd number of `not` stands around it.
    pub(crate) fn visit(&self, negated: bool, see: &mut impl FnMut(&Self, bool)) {
        see(self, negated);
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.visit(negated, see)),
            Self::Not(inner) => inner.visit(!negated, see),
            _ => {}
        }
    }

    /// Whether it names the status `pending` as one that runs may have.
    pub(crate) fn asks_pending(&self, negated: bool) -> bool {
        let Self::Field(Field::Plain(Plain::Status), test) = self else { return false };
        let pending = |value: &Value| matches!(value, Value::Text(word) if **word == *"pending");
        match test {
            Test::Eq(value) => !negated && pending(value),
            Test::In(values) => !negated && values.iter().any(pending),
            Test::Neq(value) => negated && pending(value),
            _ => false,
        }
    }
}
