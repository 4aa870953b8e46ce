//! Cron expressions, and the instants they name in a time zone.
//!
//! Five fields (`minute hour day-of-month month day-of-week`) or six with seconds first, read the way `crontab` reads
//! them: weekday 0 and 7 are Sunday, and when both day fields are restricted a day that satisfies either counts. The
//! `cron` crate finds matching wall clock times; it is asked about naive local time presented as UTC, and the mapping
//! to instants is made here, because a wall clock is not a time line twice a year:
//!
//! * An expression that names one time of day (`30 2 * * *`) happens once on each of its days. If the clock jumps over
//!   that time, it happens at the first instant after the jump; if the clock shows it twice, the first time counts.
//! * Any other expression (`*/30 * * * *`, `0 8,20 * * *`) goes with the clock on the wall: times the clock jumps over
//!   do not happen, and what it shows twice happens twice, so that an hourly window stays an hour long.
//!
//! This agrees with `croner`, an independent reading of the same rules; a test holds the two together.

mod field;

use std::str::FromStr;

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};
use cron::Schedule;

use crate::model::time::Timestamp;
use field::Field;

/// Why a text is not a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It has another number of fields.
    #[error(
        "a cron expression has 5 fields (minute hour day-of-month month day-of-week), or 6 with seconds first; this has {found}"
    )]
    FieldCount {
        /// How many it has.
        found: usize,
    },
    /// A field cannot be read.
    #[error("{field} `{text}`: {reason}")]
    Field {
        /// Which field: `minute`, `day-of-week`, ...
        field: &'static str,
        /// The field as it was written.
        text: String,
        /// Why, and what would be right.
        reason: String,
    },
    /// It names dates that no calendar has, such as 31 February.
    #[error("no date ever matches day-of-month `{day}` in month `{month}`")]
    Never {
        /// The field as it was written.
        day: String,
        /// The field as it was written.
        month: String,
    },
}

/// A cron expression that has been read.
#[derive(Debug, Clone)]
pub struct CronExpression {
    /// One schedule, or two when both day fields are restricted: either may match.
    schedules: Vec<Schedule>,
    /// Whether it names one time of day.
    once_a_day: bool,
}

impl CronExpression {
    /// Reads five or six fields, or one of `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let text = nickname(text.trim()).unwrap_or(text);
        let words: Vec<&str> = text.split_whitespace().collect();
        let [second, minute, hour, day, month, weekday] = match *words.as_slice() {
            [minute, hour, day, month, weekday] => ["0", minute, hour, day, month, weekday],
            [second, minute, hour, day, month, weekday] => [second, minute, hour, day, month, weekday],
            _ => return Err(CronError::FieldCount { found: words.len() }),
        };
        let (second, minute, hour) =
            (field::SECOND.read(second)?, field::MINUTE.read(minute)?, field::HOUR.read(hour)?);
        let days = field::DAY_OF_MONTH.read(day)?;
        let months = field::MONTH.read(month)?;
        let weekdays = field::DAY_OF_WEEK.read(weekday)?;
        let once_a_day = [&second, &minute, &hour].into_iter().all(Field::is_one_value);

        let time = format!("{second} {minute} {hour}");
        let expressions = if days.is_restricted() && weekdays.is_restricted() {
            vec![format!("{time} {days} {months} *"), format!("{time} * {months} {weekdays}")]
        } else {
            vec![format!("{time} {days} {months} {weekdays}")]
        };
        let schedules = expressions
            .iter()
            .map(|expression| Schedule::from_str(expression))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| CronError::Field {
                field: "expression",
                text: text.to_owned(),
                reason: error.to_string(),
            })?;
        let parsed = Self { schedules, once_a_day };
        if parsed.next_wall_time(NaiveDateTime::default()).is_none() {
            return Err(CronError::Never { day: day.to_owned(), month: month.to_owned() });
        }
        Ok(parsed)
    }

    /// The first instant it names after this one; none when the calendar of the `cron` crate ends (in 2100).
    #[must_use]
    pub fn next_after(&self, zone: Tz, after: Timestamp) -> Option<Timestamp> {
        let after = DateTime::from_timestamp(after.0.div_euclid(1_000_000), 0)?;
        let found = if self.once_a_day { self.next_once(zone, after) } else { self.next_on_wall(zone, after) };
        found.map(Timestamp::from_chrono)
    }

    /// The next matching wall clock time, on a wall whose clock never jumps.
    fn next_wall_time(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let after = after.and_utc();
        self.schedules.iter().filter_map(|schedule| schedule.after(&after).next()).min().map(|at| at.naive_utc())
    }

    /// One time of day: moved behind a jump, and only the first of two.
    fn next_once(&self, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut wall = local(zone, after);
        loop {
            wall = self.next_wall_time(wall)?;
            let instant = match zone.from_local_datetime(&wall) {
                MappedLocalTime::Single(at) => at.to_utc(),
                MappedLocalTime::Ambiguous(one, other) => one.to_utc().min(other.to_utc()),
                MappedLocalTime::None => after_jump(zone, wall)?,
            };
            if instant > after {
                return Some(instant);
            }
        }
    }

    /// Many times of day: as the clock on the wall shows them.
    fn next_on_wall(&self, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let wall = local(zone, after);
        let ahead = self.next_shown(zone, wall, after);
        // While the clock shows something for the first of two times, the second time is still to come, and it begins
        // at an earlier wall clock time than the present one.
        let Some(turned_back) = second_showing(zone, wall, after) else { return ahead };
        let before_it = local(zone, turned_back).checked_sub_signed(TimeDelta::seconds(1))?;
        let again = self.next_shown(zone, before_it, turned_back.checked_sub_signed(TimeDelta::seconds(1))?);
        match (ahead, again) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// The first instant after `after` at which the clock shows a matching time later than `wall`.
    fn next_shown(&self, zone: Tz, mut wall: NaiveDateTime, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        loop {
            wall = self.next_wall_time(wall)?;
            match zone.from_local_datetime(&wall) {
                MappedLocalTime::Single(at) if at > after => return Some(at.to_utc()),
                MappedLocalTime::Ambiguous(one, other) => {
                    let shown = [one.to_utc(), other.to_utc()].into_iter().filter(|at| *at > after).min();
                    if shown.is_some() {
                        return shown;
                    }
                }
                MappedLocalTime::Single(_) => {}
                MappedLocalTime::None => {
                    wall = local(zone, after_jump(zone, wall)?).checked_sub_signed(TimeDelta::seconds(1))?;
                }
            }
        }
    }
}

fn nickname(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "@hourly" => Some("0 * * * *"),
        "@daily" => Some("0 0 * * *"),
        "@weekly" => Some("0 0 * * SUN"),
        "@monthly" => Some("0 0 1 * *"),
        "@yearly" | "@annually" => Some("0 0 1 1 *"),
        _ => None,
    }
}

/// What the clock on the wall shows.
fn local(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

/// The first instant after the jump that leaves out this wall clock time.
fn after_jump(zone: Tz, skipped: NaiveDateTime) -> Option<DateTime<Utc>> {
    GapInfo::new(&skipped, &zone)?.end.map(|end| end.to_utc())
}

/// When the clock shows `wall` at `at` for the first of two times: the instant it is turned back.
fn second_showing(zone: Tz, wall: NaiveDateTime, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let MappedLocalTime::Ambiguous(one, other) = zone.from_local_datetime(&wall) else { return None };
    let (mut before, mut turned) = (one.to_utc().min(other.to_utc()), one.to_utc().max(other.to_utc()));
    if at != before {
        return None;
    }
    let offset = |at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    let first_offset = offset(before);
    while turned.signed_duration_since(before) > TimeDelta::seconds(1) {
        let half = turned.signed_duration_since(before).num_seconds() / 2;
        let middle = before.checked_add_signed(TimeDelta::seconds(half))?;
        if offset(middle) == first_offset {
            before = middle;
        } else {
            turned = middle;
        }
    }
    Some(turned)
}

#[cfg(test)]
mod tests;
