//! Measures: numbers of a run that thresholds are set on, rounded so that they can be sorted.
//!
//! Rounding down keeps the order: of two numbers the greater is never rounded below the lesser. So whoever looks for
//! thresholds up to a rounded number, itself included, misses none, and may find one too many.

use rust_decimal::Decimal;

use crate::filter::checked::Order;
use crate::filter::eval::compare::plain_value;
use crate::filter::facts::Facts;
use crate::filter::field::Plain;
use crate::filter::value::{Number, Seen, Value};

/// A number of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Measure {
    /// A column.
    Plain(Plain),
    /// The scores of its feedback.
    Score,
}

/// Which side of a threshold passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Above,
    Below,
}

/// A threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) measure: Measure,
    pub(crate) side: Side,
    /// In billionths, rounded down.
    pub(crate) at: i64,
}

/// The least and the greatest that a run has of a measure, in billionths, rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) least: i64,
    pub(crate) greatest: i64,
}

impl Measure {
    /// The measure of a column, if it is one.
    pub(crate) fn of(plain: Plain) -> Option<Self> {
        (plain.is_usage() || matches!(plain, Plain::Latency | Plain::FirstTokenLatency)).then_some(Self::Plain(plain))
    }

    /// The bound that an order sets, unless its threshold has no exact form.
    pub(crate) fn bound(self, order: Order, threshold: &Value) -> Option<Bound> {
        let Value::Number(Number::Exact(threshold)) = threshold else { return None };
        let side = match order {
            Order::Gt | Order::Gte => Side::Above,
            Order::Lt | Order::Lte => Side::Below,
        };
        Some(Bound { measure: self, side, at: billionths(*threshold) })
    }

    /// What a run has of it, if it has any.
    pub(crate) fn extent(self, facts: &Facts<'_>) -> Option<Extent> {
        match self {
            Self::Plain(plain) => match plain_value(plain, facts.run) {
                Seen::Number(number) => Some(Extent::of(number)),
                _ => None,
            },
            Self::Score => {
                let scores = facts.feedback_rows().iter().filter_map(|row| row.score);
                scores.map(Extent::of).reduce(Extent::and)
            }
        }
    }
}

impl Extent {
    fn of(number: Number) -> Self {
        match number {
            Number::Exact(exact) => Self { least: billionths(exact), greatest: billionths(exact) },
            // It is compared by what is near, so nothing can be said.
            Number::Real(_) => Self { least: i64::MIN, greatest: i64::MAX },
        }
    }

    fn and(self, other: Self) -> Self {
        Self { least: self.least.min(other.least), greatest: self.greatest.max(other.greatest) }
    }
}

/// A number in billionths, rounded down; of what is beyond measure, the greatest or least there is.
fn billionths(number: Decimal) -> i64 {
    const DIGITS: u32 = 9;
    let (mantissa, scale) = (number.mantissa(), number.scale());
    let scaled = match DIGITS.checked_sub(scale) {
        Some(missing) => mantissa.saturating_mul(10_i128.pow(missing)),
        None => mantissa.div_euclid(10_i128.pow(scale.saturating_sub(DIGITS))),
    };
    i64::try_from(scaled).unwrap_or(if scaled < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_keeps_the_order() {
        let numbers = [
            "-79228162514264337593543950335",
            "-9300000000.5",
            "-0.0000000001",
            "0",
            "0.0000000001",
            "0.000000001",
            "0.10",
            "0.100",
            "1",
            "9223372036.854775808",
            "79228162514264337593543950335",
        ];
        let rounded: Vec<i64> = numbers.iter().map(|text| billionths(text.parse().unwrap())).collect();
        assert!(rounded.is_sorted(), "{rounded:?}");
        assert_eq!(rounded.first(), Some(&i64::MIN));
        assert_eq!(rounded.last(), Some(&i64::MAX));
        assert_eq!(rounded.get(2..9), Some(&[-1, 0, 0, 1, 100_000_000, 100_000_000, 1_000_000_000][..]));
    }
}
