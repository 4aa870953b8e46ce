//! The functions of the language: their names, and how many arguments each takes.

use std::ops::RangeInclusive;

use crate::filter::checked::Order;

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    /// `and`
    And,
    /// `or`
    Or,
    /// `not`
    Not,
    /// `search` of one or two arguments
    Search,
    /// A comparison of a field with something.
    Compare(Operator),
}

/// What compares a field with something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    /// `eq`
    Eq,
    /// `neq`
    Neq,
    /// `gt`, `gte`, `lt`, `lte`
    Order(Order),
    /// `in`
    In,
    /// `like`
    Like,
    /// `notlike`
    NotLike,
    /// `has`
    Has,
    /// `exists`
    Exists,
    /// `search` with a field
    Search,
}

const NAMED: [(&str, Function); 15] = [
    ("and", Function::And),
    ("or", Function::Or),
    ("not", Function::Not),
    ("search", Function::Search),
    ("eq", Function::Compare(Operator::Eq)),
    ("neq", Function::Compare(Operator::Neq)),
    ("gt", Function::Compare(Operator::Order(Order::Gt))),
    ("gte", Function::Compare(Operator::Order(Order::Gte))),
    ("lt", Function::Compare(Operator::Order(Order::Lt))),
    ("lte", Function::Compare(Operator::Order(Order::Lte))),
    ("in", Function::Compare(Operator::In)),
    ("like", Function::Compare(Operator::Like)),
    ("notlike", Function::Compare(Operator::NotLike)),
    ("has", Function::Compare(Operator::Has)),
    ("exists", Function::Compare(Operator::Exists)),
];

/// Names of other languages, and what to write instead.
const FOREIGN: [(&str, &str); 22] = [
    ("equals", "write eq(field, value)"),
    ("equal", "write eq(field, value)"),
    ("ne", "write neq(field, value)"),
    ("ge", "write gte(field, value)"),
    ("le", "write lte(field, value)"),
    ("contains", "write like(field, \"%text%\"), or search(field, \"text\") to ignore case"),
    ("contain", "write like(field, \"%text%\"), or search(field, \"text\") to ignore case"),
    ("icontains", "write search(field, \"text\")"),
    ("ilike", "write search(field, \"text\")"),
    ("startswith", "write like(field, \"text%\")"),
    ("starts_with", "write like(field, \"text%\")"),
    ("endswith", "write like(field, \"%text\")"),
    ("ends_with", "write like(field, \"%text\")"),
    ("regex", "there are no regular expressions; like(field, pattern) knows `%` and `_`"),
    ("matches", "there are no regular expressions; like(field, pattern) knows `%` and `_`"),
    ("is_null", "write eq(field, null)"),
    ("isnull", "write eq(field, null)"),
    ("not_null", "write neq(field, null)"),
    ("is_not_null", "write neq(field, null)"),
    ("notin", "write not(in(field, [...]))"),
    ("not_in", "write not(in(field, [...]))"),
    ("between", "write and(gte(field, low), lte(field, high))"),
];

/// Every function's name, for suggestions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    NAMED.iter().map(|(name, _)| *name)
}

/// What to write instead of a name of another language.
pub(crate) fn foreign(name: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(foreign, _)| foreign.eq_ignore_ascii_case(name)).map(|(_, hint)| *hint)
}

impl Function {
    /// Finds a function by its name, whatever the case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let name = if name.eq_ignore_ascii_case("nlike") { "notlike" } else { name };
        NAMED.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, function)| *function)
    }

    /// How many arguments it takes.
    pub(crate) fn arity(self) -> RangeInclusive<usize> {
        match self {
            Self::And | Self::Or => 1..=usize::MAX,
            Self::Not => 1..=1,
            Self::Search => 1..=2,
            Self::Compare(_) => 2..=2,
        }
    }
}

impl Operator {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        if self == Self::Search {
            return "search";
        }
        NAMED.iter().find(|(_, function)| *function == Function::Compare(self)).map_or("", |(name, _)| name)
    }
}
