//! When a stretch of changes is due. Pure: the present is a parameter.
//!
//! A change is ready when it was accepted a settle time ago. Then:
//!
//! * `immediate`: due when its first change is ready. What arrives during an evaluation is the next window.
//! * `every`: the same, but no sooner than the interval after the end of the last window. After a quiet spell the first
//!   run is told at once; in a busy one windows follow each other at the interval.
//! * `cron`: due at the first instant of the expression at which its first change is ready. An instant with nothing
//!   to see passes without a window, and a change that is not ready at one waits for the next.
//!
//! After downtime a cadence is due once, not once for every instant it missed: the next due instant follows from the
//! end of the last window and the first change that was not seen, and the evaluation takes all that is there.
//!
//! If the machine's clock was set back, an instant of the past lies in the future. When it lies there by more than a
//! minute it counts as reached: windows may then come early until the clock has caught up, and nothing waits for it.

use std::time::Duration;

use chrono_tz::Tz;

use crate::model::cron::CronExpression;
use crate::model::rule::Cadence;
use crate::model::time::Timestamp;

/// How far in the future an instant of the past may lie before the clock must have been set back.
const SET_BACK: Duration = Duration::from_mins(1);

/// A cadence that has been read.
#[derive(Debug)]
pub(super) enum Timing {
    Immediate,
    Every(Duration),
    Cron(Box<CronExpression>, Tz),
    /// A stored expression or time zone that no longer reads.
    Never,
}

/// What the due instant of a stretch of changes depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// How long a change must rest.
    pub(super) settle: Duration,
    /// The end of the last window, if there was one.
    pub(super) last: Option<Timestamp>,
    /// When the first change that has not been seen was accepted.
    pub(super) first: Timestamp,
    /// The present.
    pub(super) now: Timestamp,
}

impl Timing {
    /// Reads a cadence. It was read when its rule was accepted, so a failure is logged and never due.
    pub(super) fn of(cadence: &Cadence) -> Self {
        match cadence {
            Cadence::Immediate => Self::Immediate,
            Cadence::Every(interval) => Self::Every(*interval),
            Cadence::Cron { expression, timezone } => {
                match (CronExpression::parse(expression), timezone.parse::<Tz>()) {
                    (Ok(cron), Ok(zone)) => Self::Cron(Box::new(cron), zone),
                    (cron, _) => {
                        let reason = cron.err().map_or_else(|| "unknown time zone".to_owned(), |e| e.to_string());
                        tracing::error!(%expression, %timezone, reason, "a stored cadence no longer reads; its rules rest");
                        Self::Never
                    }
                }
            }
        }
    }

    /// Whether the due instant depends on when the first unseen change was accepted.
    pub(super) fn asks_first(&self, settle: Duration) -> bool {
        matches!(self, Self::Cron(..)) || !settle.is_zero()
    }

    /// When changes are due. An instant that is not after `now` means "now".
    pub(super) fn due_at(&self, moment: Moment) -> Option<Timestamp> {
        let Moment { settle, now, .. } = moment;
        let last = moment.last.filter(|last| *last <= now.after(SET_BACK));
        let ready = ready_at(moment.first, settle, now);
        match self {
            Self::Immediate => Some(ready),
            Self::Every(interval) => Some(last.map_or(ready, |last| ready.max(last.after(*interval)))),
            Self::Cron(cron, zone) => {
                let before_ready = ready.before(Duration::from_micros(1));
                let after = last.map_or(before_ready, |last| before_ready.max(last.after(settle)));
                cron.next_after(*zone, after)
            }
            Self::Never => None,
        }
    }
}

/// When a change accepted at `at` has settled.
pub(super) fn ready_at(at: Timestamp, settle: Duration, now: Timestamp) -> Timestamp {
    if settle.is_zero() || at > now.after(SET_BACK) { at.min(now) } else { at.after(settle) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(&format!("2026-11-22T{text}Z")).unwrap()
    }

    fn cron(expression: &str) -> Timing {
        Timing::of(&Cadence::Cron { expression: expression.to_owned(), timezone: "Europe/Berlin".to_owned() })
    }

    fn due(timing: &Timing, settle: u64, last: Option<&str>, first: &str, now: &str) -> Option<Timestamp> {
        timing.due_at(Moment {
            settle: Duration::from_secs(settle),
            last: last.map(at),
            first: at(first),
            now: at(now),
        })
    }

    #[test]
    fn immediate_is_due_when_its_first_change_has_settled() {
        assert_eq!(due(&Timing::Immediate, 0, None, "08:00:00", "08:00:00"), Some(at("08:00:00")));
        assert_eq!(due(&Timing::Immediate, 10, Some("07:59:59"), "08:00:00", "08:00:01"), Some(at("08:00:10")));
    }

    #[test]
    fn an_interval_counts_from_the_end_of_the_last_window() {
        let minute = Timing::Every(Duration::from_mins(1));
        assert_eq!(due(&minute, 0, Some("08:00:00"), "08:00:01", "08:00:02"), Some(at("08:01:00")));
    }

    #[test]
    fn after_a_quiet_spell_an_interval_is_due_at_once() {
        let minute = Timing::Every(Duration::from_mins(1));
        assert_eq!(due(&minute, 0, Some("07:00:00"), "08:00:01", "08:00:01"), Some(at("08:00:01")));
        assert_eq!(due(&minute, 0, None, "08:00:01", "08:00:01"), Some(at("08:00:01")));
    }

    #[test]
    fn an_interval_still_waits_for_changes_to_settle() {
        let minute = Timing::Every(Duration::from_mins(1));
        assert_eq!(due(&minute, 10, Some("07:00:00"), "08:00:01", "08:00:01"), Some(at("08:00:11")));
    }

    #[test]
    fn cron_waits_for_its_instant_however_long_ago_the_last_window_was() {
        let daily = cron("0 10 * * *");
        assert_eq!(due(&daily, 0, Some("01:00:00"), "08:00:00", "08:00:00"), Some(at("09:00:00")));
        assert_eq!(due(&daily, 0, None, "08:00:00", "08:00:00"), Some(at("09:00:00")));
    }

    #[test]
    fn an_instant_that_passed_during_downtime_is_due_once() {
        let hourly = cron("0 * * * *");
        assert_eq!(due(&hourly, 0, Some("01:00:00"), "02:30:00", "08:10:00"), Some(at("03:00:00")));
        assert_eq!(due(&hourly, 0, Some("08:10:00"), "08:10:01", "08:10:01"), Some(at("09:00:00")));
    }

    #[test]
    fn a_change_that_has_not_settled_at_an_instant_waits_for_the_next() {
        let hourly = cron("0 * * * *");
        assert_eq!(due(&hourly, 10, None, "07:59:50", "07:59:51"), Some(at("08:00:00")));
        assert_eq!(due(&hourly, 10, None, "07:59:51", "07:59:52"), Some(at("09:00:00")));
    }

    #[test]
    fn a_change_committed_just_after_its_instant_was_served_waits_for_the_next() {
        let hourly = cron("0 * * * *");
        assert_eq!(due(&hourly, 0, Some("08:00:00.1"), "07:59:59.9", "08:00:00.2"), Some(at("09:00:00")));
    }

    #[test]
    fn a_clock_that_was_set_back_stops_nothing() {
        let minute = Timing::Every(Duration::from_mins(1));
        assert_eq!(due(&minute, 10, Some("12:00:00"), "12:00:00", "08:00:00"), Some(at("08:00:00")));
    }

    #[test]
    fn a_cadence_that_does_not_read_is_never_due() {
        assert_eq!(due(&cron("nonsense"), 0, None, "08:00:00", "08:00:00"), None);
        let timing =
            Timing::of(&Cadence::Cron { expression: "0 * * * *".to_owned(), timezone: "Mars/Base".to_owned() });
        assert_eq!(due(&timing, 0, None, "08:00:00", "08:00:00"), None);
    }
}
