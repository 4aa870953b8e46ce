//! Values: what a filter names, what a run holds, and the numbers both are made of.

use std::cmp::Ordering;
use std::fmt;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use uuid::Uuid;

use crate::model::time::Timestamp;

/// A number. Exact where 28 digits suffice, so that ids, money and `0.1` compare as they are written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    /// Exact.
    Exact(Decimal),
    /// Too large or too fine for that. Never infinite, never NaN.
    Real(f64),
}

impl Number {
    /// Reads a decimal number, with or without an exponent. One beyond all measure is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Ok(exact) = Decimal::from_str_exact(text) {
            return Some(Self::Exact(exact));
        }
        text.parse().ok().and_then(Self::of_f64)
    }

    /// A float, as the shortest decimal that means it.
    pub(crate) fn of_f64(number: f64) -> Option<Self> {
        if !number.is_finite() {
            return None;
        }
        Some(Decimal::from_str_exact(&number.to_string()).map_or(Self::Real(number), Self::Exact))
    }

    /// A number of JSON.
    pub(crate) fn of_json(number: &serde_json::Number) -> Option<Self> {
        match (number.as_i64(), number.as_u64()) {
            (Some(signed), _) => Some(Self::Exact(signed.into())),
            (None, Some(unsigned)) => Some(Self::Exact(unsigned.into())),
            (None, None) => number.as_f64().and_then(Self::of_f64),
        }
    }

    /// This many times another number.
    pub(crate) fn times(self, factor: Decimal) -> Option<Self> {
        if let Self::Exact(exact) = self
            && let Some(product) = exact.checked_mul(factor)
        {
            return Some(Self::Exact(product));
        }
        Self::of_f64(self.approximate() * factor.to_f64().unwrap_or_default())
    }

    /// The sum with another number.
    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        if let (Self::Exact(one), Self::Exact(two)) = (self, other)
            && let Some(sum) = one.checked_add(two)
        {
            return Some(Self::Exact(sum));
        }
        Self::of_f64(self.approximate() + other.approximate())
    }

    /// The nearest float.
    pub(crate) fn approximate(self) -> f64 {
        match self {
            Self::Exact(exact) => exact.to_f64().unwrap_or_default(),
            Self::Real(real) => real,
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Exact(one), Self::Exact(two)) => Some(one.cmp(two)),
            _ => self.approximate().partial_cmp(&other.approximate()),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(exact) => exact.normalize().fmt(f),
            Self::Real(real) => write!(f, "{real:e}"),
        }
    }
}

/// A unit of time written behind a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// `ms`
    Millisecond,
    /// `s`
    Second,
    /// `m`
    Minute,
    /// `h`
    Hour,
    /// `d`
    Day,
}

impl Unit {
    /// Reads a unit, whatever its case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "ms" => Some(Self::Millisecond),
            "s" => Some(Self::Second),
            "m" => Some(Self::Minute),
            "h" => Some(Self::Hour),
            "d" => Some(Self::Day),
            _ => None,
        }
    }

    /// The unit in seconds.
    pub(crate) fn seconds(self) -> Decimal {
        match self {
            Self::Millisecond => Decimal::new(1, 3),
            Self::Second => Decimal::ONE,
            Self::Minute => Decimal::from(60),
            Self::Hour => Decimal::from(3600),
            Self::Day => Decimal::from(86400),
        }
    }
}

/// Reads a duration in seconds: `5s`, `500ms`, `1m30s`, or a plain number of seconds.
pub(crate) fn seconds(text: &str) -> Option<Number> {
    let text = text.trim();
    if let Some(plain) = Number::parse(text) {
        return Some(plain);
    }
    let mut total: Option<Number> = None;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, after) = tail.split_at_checked(letters)?;
        let part = Number::parse(number.trim())?.times(Unit::parse(unit)?.seconds())?;
        total = Some(match total {
            Some(before) => before.plus(part)?,
            None => part,
        });
        rest = after.trim_start();
    }
    total
}

/// A value that a filter names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number; of a duration, its seconds.
    Number(Number),
    /// Text.
    Text(Box<str>),
    /// An instant.
    Time(Timestamp),
    /// An id.
    Id(Uuid),
}

/// A value that a run holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen<'a> {
    /// Nothing, or `null`.
    Null,
    /// A yes or no.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(&'a str),
    /// An instant.
    Time(Timestamp),
    /// An id.
    Id(Uuid),
    /// An object or an empty list: there, but equal to no literal.
    Nested,
}

impl Seen<'_> {
    /// Whether there is nothing.
    pub(crate) fn is_null(self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether it is this value: of the same type, and equal.
    pub(crate) fn equals(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(seen), Value::Bool(wanted)) => seen == *wanted,
            (Self::Number(seen), Value::Number(wanted)) => seen == *wanted,
            (Self::Text(seen), Value::Text(wanted)) => *seen == **wanted,
            (Self::Time(seen), Value::Time(wanted)) => seen == *wanted,
            (Self::Id(seen), Value::Id(wanted)) => seen == *wanted,
            _ => false,
        }
    }

    /// How it stands to this value, when both are numbers, instants, or text.
    pub(crate) fn order(self, value: &Value) -> Option<Ordering> {
        match (self, value) {
            (Self::Number(seen), Value::Number(wanted)) => seen.partial_cmp(wanted),
            (Self::Text(seen), Value::Text(wanted)) => Some(seen.cmp(wanted)),
            (Self::Time(seen), Value::Time(wanted)) => Some(seen.cmp(wanted)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_what_is_written() {
        let number = |text: &str| Number::parse(text).unwrap();
        assert_eq!(number("1"), number("1.0"));
        assert_eq!(number("1e3"), number("1000"));
        assert_eq!(Number::of_f64(0.1), Some(number("0.1")));
        assert_ne!(number("9007199254740993"), number("9007199254740992"));
        assert!(number("1e300") > number("5"));
        assert!(number("-1e300") < number("5"));
        assert!(Number::parse("1e999").is_none());
    }

    #[test]
    fn durations_are_seconds() {
        let written = |text: &str| seconds(text).map(|number| number.to_string());
        assert_eq!(written("5s").as_deref(), Some("5"));
        assert_eq!(written("500ms").as_deref(), Some("0.5"));
        assert_eq!(written("1.5 H").as_deref(), Some("5400"));
        assert_eq!(written("1m30s").as_deref(), Some("90"));
        assert_eq!(written("2d").as_deref(), Some("172800"));
        assert_eq!(written("7").as_deref(), Some("7"));
        for wrong in ["", "s", "5 parsecs", "5s later", "--5s", "1h2"] {
            assert_eq!(written(wrong), None, "{wrong}");
        }
    }
}
