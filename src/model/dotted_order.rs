//! `dotted_order`: a run's path from its root, one segment of start time and run id for each ancestor.

use std::fmt;

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

    /// The run's ancestors, root first.
    #[must_use]
    pub fn ancestors(&self) -> &[Segment] {
        self.0.split_last().map_or(&[], |(_, ancestors)| ancestors)
    }
}

fn parse_segment(part: &str) -> Option<Segment> {
    let (time, id) = part.split_once('Z')?;
    let (seconds, fraction) = time.split_at_checked(15)?;
    let at = chrono::NaiveDateTime::parse_from_str(seconds, "%Y%m%dT%H%M%S").ok()?;
    let micros: i64 = match fraction.len() {
        0 => 0,
        3 => fraction.parse::<i64>().ok()?.checked_mul(1000)?,
        6 => fraction.parse().ok()?,
        _ => return None,
    };
    let start_time = Timestamp(at.and_utc().timestamp_micros().checked_add(micros)?);
    Some(Segment { start_time, run_id: id.parse().ok()? })
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
