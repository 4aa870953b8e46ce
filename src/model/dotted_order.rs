//! `dotted_order`: a run's path from its root, one segment of start time and run id for each ancestor.

use std::fmt;

use chrono::{NaiveDate, NaiveDateTime};

use crate::model::id::RunId;
use crate::model::time::Timestamp;

/// A run's path from its root. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DottedOrder(Vec<Segment>);

/// One step of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// When that run started.
    pub start_time: Timestamp,
    /// That run.
    pub run_id: RunId,
}

/// The text was not a dotted order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("segment {segment} of dotted_order is not a start time such as 20260102T030405678901Z followed by a run id")]
pub struct InvalidDottedOrder {
    /// Which segment, counted from 1.
    pub segment: usize,
}

impl DottedOrder {
    /// The path of a root run.
    #[must_use]
    pub fn root(start_time: Timestamp, run_id: RunId) -> Self {
        Self(vec![Segment { start_time, run_id }])
    }

    /// The path of a child of this run.
    #[must_use]
    pub fn child(&self, start_time: Timestamp, run_id: RunId) -> Self {
        let mut segments = self.0.clone();
        segments.push(Segment { start_time, run_id });
        Self(segments)
    }

    /// Reads the wire form; three or six digits of fraction.
    pub fn parse(text: &str) -> Result<Self, InvalidDottedOrder> {
        let segments = text
            .split('.')
            .enumerate()
            .map(|(index, part)| parse_segment(part).ok_or(InvalidDottedOrder { segment: index.saturating_add(1) }))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self(segments))
    }

    /// The root's segment.
    #[must_use]
    pub fn first(&self) -> Option<&Segment> {
        self.0.first()
    }

    /// The run's own segment.
    #[must_use]
    pub fn last(&self) -> Option<&Segment> {
        self.0.last()
    }

    /// Whether it leads through a run, or to it.
    #[must_use]
    pub fn passes(&self, run: RunId) -> bool {
        self.0.iter().any(|segment| segment.run_id == run)
    }

    /// The run's ancestors, root first.
    #[must_use]
    pub fn ancestors(&self) -> &[Segment] {
        self.0.split_last().map_or(&[], |(_, ancestors)| ancestors)
    }
}

fn parse_segment(part: &str) -> Option<Segment> {
    let (time, id) = part.split_once('Z')?;
    let (seconds, fraction) = time.split_at_checked(15)?;
    let at = match plain(seconds) {
        Some(at) => at,
        None => NaiveDateTime::parse_from_str(seconds, "%Y%m%dT%H%M%S").ok()?,
    };
    let micros: i64 = match fraction.len() {
        0 => 0,
        3 => fraction.parse::<i64>().ok()?.checked_mul(1000)?,
        6 => fraction.parse().ok()?,
        _ => return None,
    };
    let start_time = Timestamp(at.and_utc().timestamp_micros().checked_add(micros)?);
    Some(Segment { start_time, run_id: id.parse().ok()? })
}

/// `20260102T030405`, digit by digit: each run brings a few, and the general way costs ten times as much.
fn plain(seconds: &str) -> Option<NaiveDateTime> {
    let (date, time) = seconds.split_once('T')?;
    let [c, y, m, d] = pairs(date)?;
    let [hour, minute, second] = pairs(time)?;
    let year = i32::try_from(c.checked_mul(100)?.checked_add(y)?).ok()?;
    NaiveDate::from_ymd_opt(year, m, d)?.and_hms_opt(hour, minute, second)
}

/// So many numbers of two digits each.
fn pairs<const N: usize>(digits: &str) -> Option<[u32; N]> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    let mut numbers = [0; N];
    if pairs.len() != N {
        return None;
    }
    for (number, [tens, ones]) in numbers.iter_mut().zip(pairs) {
        if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
            return None;
        }
        *number = u32::from(tens & 0xF).saturating_mul(10).saturating_add(u32::from(ones & 0xF));
    }
    Some(numbers)
}

impl fmt::Display for DottedOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            write!(f, "{}{}", segment.start_time.to_chrono().format("%Y%m%dT%H%M%S%6fZ"), segment.run_id)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_quick_way_reads_what_the_general_one_reads(text in "[0-2][0-9]{3}[01][0-9][0-3][0-9][TZ ][0-2][0-9][0-6][0-9][0-6][0-9+]") {
            if let Some(at) = plain(&text) {
                prop_assert_eq!(NaiveDateTime::parse_from_str(&text, "%Y%m%dT%H%M%S").ok(), Some(at));
            }
        }

        #[test]
        fn what_is_written_is_read_the_quick_way(micros in 0_i64..4_102_444_800_000_000) {
            let path = DottedOrder::root(Timestamp(micros), RunId(uuid::Uuid::nil())).to_string();
            prop_assert!(plain(path.get(..15).unwrap()).is_some(), "{}", path);
            prop_assert_eq!(DottedOrder::parse(&path).unwrap().first().unwrap().start_time, Timestamp(micros));
        }
    }
}
