//! One field of a cron expression: read into the set of its values, and written as the `cron` crate spells it.

use std::collections::BTreeSet;
use std::fmt;

use crate::model::cron::CronError;

/// What a field may hold.
#[derive(Debug)]
pub(super) struct Kind {
    name: &'static str,
    first: u32,
    last: u32,
    /// Names of values, the first name for `first`; by three letters or in full.
    names: &'static [&'static str],
    /// Whether `?` is another spelling of `*`.
    question_mark: bool,
}

pub(super) const SECOND: Kind = Kind { name: "second", first: 0, last: 59, names: &[], question_mark: false };
pub(super) const MINUTE: Kind = Kind { name: "minute", first: 0, last: 59, names: &[], question_mark: false };
pub(super) const HOUR: Kind = Kind { name: "hour", first: 0, last: 23, names: &[], question_mark: false };
pub(super) const DAY_OF_MONTH: Kind =
    Kind { name: "day-of-month", first: 1, last: 31, names: &[], question_mark: true };
pub(super) const MONTH: Kind = Kind { name: "month", first: 1, last: 12, names: MONTHS, question_mark: false };
/// Sunday is 0, and 7 as well.
pub(super) const DAY_OF_WEEK: Kind =
    Kind { name: "day-of-week", first: 0, last: 7, names: WEEKDAYS, question_mark: true };

const MONTHS: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: &[&str] = &["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// A field that has been read.
#[derive(Debug)]
pub(super) struct Field {
    kind: &'static Kind,
    values: BTreeSet<u32>,
    star: bool,
    stepped: bool,
}

impl Field {
    /// Whether it is anything but `*`.
    pub(super) fn is_restricted(&self) -> bool {
        !self.star
    }

    /// Whether it is written as one value.
    pub(super) fn is_one_value(&self) -> bool {
        !self.star && !self.stepped && self.values.len() == 1
    }
}

impl fmt::Display for Field {
    /// Weekdays by name: the `cron` crate counts them from Sunday as 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.star {
            return f.write_str("*");
        }
        for (index, value) in self.values.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match self.kind.name_of(*value) {
                Some(name) => f.write_str(name)?,
                None => write!(f, "{value}")?,
            }
        }
        Ok(())
    }
}

impl Kind {
    /// Reads a field: values, ranges and `*`, with steps, between commas.
    pub(super) fn read(&'static self, text: &str) -> Result<Field, CronError> {
        let mut values = BTreeSet::new();
        for item in text.split(',') {
            self.read_item(item, &mut values).map_err(|reason| CronError::Field {
                field: self.name,
                text: text.to_owned(),
                reason,
            })?;
        }
        if self.name == DAY_OF_WEEK.name && values.remove(&self.last) {
            values.insert(self.first);
        }
        Ok(Field {
            kind: self,
            values,
            star: text == "*" || text == "?",
            stepped: text.contains('/') || text.contains('*'),
        })
    }

    fn read_item(&self, item: &str, values: &mut BTreeSet<u32>) -> Result<(), String> {
        let (base, step) = match item.split_once('/') {
            None => (item, None),
            Some((base, step)) => (base, Some(self.read_step(step)?)),
        };
        let (first, last) = if base == "*" || (base == "?" && self.question_mark) {
            (self.first, self.last)
        } else if let Some((first, last)) = base.split_once('-') {
            self.read_range(first, last)?
        } else if step.is_some() {
            return Err(format!("a step needs a range: write `{base}-{}/...` or `*/...`", self.last));
        } else {
            let value = self.read_value(base)?;
            (value, value)
        };
        values.extend((first..=last).step_by(step.unwrap_or(1)));
        Ok(())
    }

    fn read_range(&self, first: &str, last: &str) -> Result<(u32, u32), String> {
        let (from, mut to) = (self.read_value(first)?, self.read_value(last)?);
        if self.name == DAY_OF_WEEK.name && to == self.first {
            to = self.last;
        }
        if from > to {
            return Err(format!("the range `{first}-{last}` runs backwards: write two ranges with a comma"));
        }
        Ok((from, to))
    }

    fn read_step(&self, step: &str) -> Result<usize, String> {
        match step.parse::<u32>() {
            Ok(step) if (1..=self.last).contains(&step) => Ok(step as usize),
            _ => Err(format!("the step `{step}` is not a number from 1 to {}", self.last)),
        }
    }

    fn read_value(&self, text: &str) -> Result<u32, String> {
        let number = if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None };
        let known = number.or_else(|| self.named(text));
        if let Some(value) = known.filter(|value| (self.first..=self.last).contains(value)) {
            return Ok(value);
        }
        if text.is_empty() {
            return Err("a value is missing".to_owned());
        }
        let unsupported = text.contains(['#', 'L', 'W']) && text.chars().any(|c| c.is_ascii_digit());
        if unsupported || text == "L" || text == "W" || text == "LW" {
            return Err("`L`, `W` and `#` are not supported".to_owned());
        }
        let names =
            self.names.first().and_then(|name| name.get(..3)).map(|name| format!(", or a name such as `{name}`"));
        Err(format!("`{text}` is not a number from {} to {}{}", self.first, self.last, names.unwrap_or_default()))
    }

    fn named(&self, text: &str) -> Option<u32> {
        let text = text.to_ascii_lowercase();
        let index = self.names.iter().position(|name| *name == text || name.get(..3) == Some(text.as_str()))?;
        u32::try_from(index).ok()?.checked_add(self.first)
    }

    fn name_of(&self, value: u32) -> Option<&'static str> {
        let index = usize::try_from(value.checked_sub(self.first)?).ok()?;
        self.names.get(index)?.get(..3)
    }
}
