//! Measures: numbers of a run that thresholds are set on, rounded so that they can be sorted.
//!
//! Rounding down keeps the order: of two numbers the greater is never rounded below the lesser. So whoever looks for
//! thresholds up to a rounded number, itself included, misses none, and may find one too many.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

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

/// A measure, read from one side: whatever the side, a run passes the thresholds up to some height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Gauge {
    measure: Measure,
    side: Side,
}

/// A threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) gauge: Gauge,
    /// How high it lies.
    pub(crate) height: i64,
}

/// The least and the greatest that a run has of a measure, in billionths, rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    least: i64,
    greatest: i64,
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
        Some(Bound { gauge: Gauge { measure: self, side }, height: side.height(billionths(*threshold)) })
    }

    fn extent(self, facts: &Facts<'_>) -> Option<Extent> {
        match self {
            Self::Plain(plain) => match plain_value(plain, facts.run) {
                Seen::Number(number) => Some(Extent::of(number)),
                _ => None,
            },
            Self::Score => {
                let scores = facts.feedback.iter().filter_map(|feedback| feedback.score);
                scores.map(|score| Extent::about(score.number())).reduce(Extent::and)
            }
        }
    }
}

impl Side {
    fn height(self, at: i64) -> i64 {
        match self {
            Self::Above => at,
            // Turned around, so that lower thresholds lie higher.
            Self::Below => !at,
        }
    }
}

impl Gauge {
    /// The height up to which a run may pass thresholds. The least there is when it passes none.
    pub(crate) fn reach(self, facts: &Facts<'_>) -> i64 {
        let extent = self.measure.extent(facts);
        extent.map_or(i64::MIN, |extent| match self.side {
            Side::Above => extent.greatest,
            Side::Below => self.side.height(extent.least),
        })
    }
}

impl Extent {
    /// It is compared by what is near, so nothing can be said.
    const ANYWHERE: Self = Self { least: i64::MIN, greatest: i64::MAX };

    fn of(number: Number) -> Self {
        match number {
            Number::Exact(exact) => Self { least: billionths(exact), greatest: billionths(exact) },
            Number::Real(_) => Self::ANYWHERE,
        }
    }

    /// Of a float, without its decimal form: wide enough for what is lost by that.
    fn about(number: f64) -> Self {
        const PRECISE: f64 = 1e6;
        match (number * 1e9).to_i64() {
            Some(near) if number.abs() < PRECISE => Self { least: near - 2, greatest: near + 2 },
            _ => Self::ANYWHERE,
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
    fn a_float_is_where_its_decimal_is() {
        for float in [0.0, -0.0, 0.1, -0.1, 0.3, 1e-12, -1e-12, 999_999.999_999_9, -1.5, 1e6, 1e300, f64::NAN] {
            let about = Extent::about(float);
            let exact = Number::of_f64(float).map_or(Extent::ANYWHERE, Extent::of);
            assert_eq!(about.and(exact), about, "{float}");
        }
        assert_ne!(Extent::about(0.5), Extent::ANYWHERE);
    }

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
