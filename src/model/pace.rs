//! How fast an endpoint may be sent to: so often, so many at once after a rest, so many at the same time.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What an endpoint says of its pace. What it does not say is as the server's limits have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pace {
    /// How often attempts are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How many follow one another at once when there were none for a while; as many as a second has when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<NonZeroU32>,
    /// How many attempts are under way at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<NonZeroU32>,
}

impl Pace {
    /// The most attempts at a time that an endpoint may name. The server's limit holds below it.
    pub const MOST_CONCURRENCY: u32 = 10_000;
}

/// So many in each second, minute or hour: `10/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In which time.
    pub per: Per,
}

/// Times that rates are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// `s`
    Second,
    /// `m`
    Minute,
    /// `h`
    Hour,
}

/// What a rate looks like.
pub const RATE_HINT: &str = "write a number and a time, such as 10/s, 300/m or 1000/h";

/// This text is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a rate: write a number and a time, such as 10/s, 300/m or 1000/h")]
pub struct InvalidRate;

impl Per {
    const ALL: [(&'static str, Self); 3] = [("s", Self::Second), ("m", Self::Minute), ("h", Self::Hour)];

    fn lasts(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::Minute => Duration::from_mins(1),
            Self::Hour => Duration::from_hours(1),
        }
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, per)| *per == self).map_or("", |(name, _)| name)
    }
}

impl Rate {
    /// The most there is: faster is no limit.
    pub const MOST: u32 = 100_000;

    /// So many a second.
    #[must_use]
    pub fn per_second(count: NonZeroU32) -> Self {
        Self { count, per: Per::Second }
    }

    /// The time from one to the next.
    #[must_use]
    pub fn interval(self) -> Duration {
        self.per.lasts() / self.count.get()
    }

    /// How many follow one another at once when nobody says: a second's worth.
    #[must_use]
    pub fn usual_burst(self) -> NonZeroU32 {
        let seconds = u32::try_from(self.per.lasts().as_secs()).unwrap_or(u32::MAX);
        NonZeroU32::new(self.count.get() / seconds.max(1)).unwrap_or(NonZeroU32::MIN)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per.name())
    }
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let (count, per) = text.split_once('/').ok_or(InvalidRate)?;
        let per = Per::ALL.iter().find(|(name, _)| *name == per.trim()).ok_or(InvalidRate)?.1;
        let count: NonZeroU32 = count.trim().parse().map_err(|_| InvalidRate)?;
        if count.get() > Self::MOST { Err(InvalidRate) } else { Ok(Self { count, per }) }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_in_a_time_and_reads_back() {
        for (text, interval, burst) in [("10/s", 100_000, 10), ("300/m", 200_000, 5), ("60/h", 60_000_000, 1)] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.to_string().as_str(), rate.interval().as_micros()), (text, interval));
            assert_eq!(rate.usual_burst().get(), burst, "{text}");
            assert_eq!(serde_json::from_str::<Rate>(&serde_json::to_string(&rate).unwrap()).unwrap(), rate);
        }
        assert_eq!(" 10 / s".parse::<Rate>(), "10/s".parse());
        for wrong in ["", "10", "10/", "0/s", "-1/s", "1.5/s", "10/d", "10/ms", "100001/s", "99999999999/s"] {
            assert_eq!(wrong.parse::<Rate>(), Err(InvalidRate), "{wrong}");
        }
    }
}
