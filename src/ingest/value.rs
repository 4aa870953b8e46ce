//! Single JSON values as clients spell them. `null` never gets here: it is absent.

use std::str::FromStr;

use serde_json::value::RawValue;

use crate::ingest::error::Invalid;
use crate::model::id::InvalidId;
use crate::model::json::RawJson;
use crate::model::time::Timestamp;

/// The last instant of the year 9999: later ones cannot be written down again.
const LAST: i64 = 253_402_300_799_999_999;

/// The first instant of the year 1.
const FIRST: i64 = -62_135_596_800_000_000;

/// A string.
pub(crate) fn string(field: &str, raw: &RawValue) -> Result<String, Invalid> {
    serde_json::from_str(raw.get()).map_err(|_| Invalid::new(field, "must be a string"))
}

/// A string, or any other JSON as its text.
pub(crate) fn text(raw: &RawValue) -> String {
    serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned())
}

/// An id, with or without dashes.
pub(crate) fn id<T: FromStr<Err = InvalidId>>(field: &str, raw: &RawValue) -> Result<T, Invalid> {
    string(field, raw)?.parse().map_err(|error| Invalid::new(field, format!("is not an id: {error}")))
}

/// An instant: ISO 8601 (no offset means UTC), or milliseconds since the epoch.
pub(crate) fn time(field: &str, raw: &RawValue) -> Result<Timestamp, Invalid> {
    let at = if raw.get().starts_with('"') {
        let text = string(field, raw)?;
        Timestamp::parse(&text).map_err(|error| Invalid::new(field, format!("is not a time: {error}")))?
    } else if let Ok(millis) = serde_json::from_str::<i64>(raw.get()) {
        Timestamp(millis.saturating_mul(1000))
    } else if let Ok(millis) = serde_json::from_str::<f64>(raw.get()) {
        Timestamp::from_millis(millis)
    } else {
        return Err(Invalid::new(field, "must be an ISO 8601 string or milliseconds since the epoch"));
    };
    if (FIRST..=LAST).contains(&at.0) {
        Ok(at)
    } else {
        Err(Invalid::new(field, "lies outside the years 1 to 9999; numbers are milliseconds since the epoch"))
    }
}

/// A list of strings. Other scalars become their text, `null` inside is left out.
pub(crate) fn strings(field: &str, raw: &RawValue) -> Result<Vec<String>, Invalid> {
    let list: Vec<Option<&RawValue>> =
        serde_json::from_str(raw.get()).map_err(|_| Invalid::new(field, "must be a list of strings"))?;
    Ok(list.into_iter().flatten().map(text).collect())
}

/// A JSON object, as it was sent.
pub(crate) fn object(field: &str, raw: &RawValue) -> Result<RawJson, Invalid> {
    if raw.get().starts_with('{') { Ok(any(raw)) } else { Err(Invalid::new(field, "must be an object")) }
}

/// Any JSON, as it was sent.
pub(crate) fn any(raw: &RawValue) -> RawJson {
    RawJson::kept(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(json: &str) -> Result<Timestamp, Invalid> {
        time("end_time", serde_json::from_str(json).unwrap())
    }

    #[test]
    fn every_spelling_of_an_instant_is_the_same_instant() {
        let expected = Timestamp(1_763_778_152_065_000);
        for json in [
            "1763778152065",
            "1763778152065.0",
            "\"2025-11-22T02:22:32.065Z\"",
            "\"2025-11-22T02:22:32.065000\"",
            "\"2025-11-22T03:22:32.065+01:00\"",
        ] {
            assert_eq!(at(json), Ok(expected), "{json}");
        }
    }

    #[test]
    fn what_is_no_instant_is_refused_by_the_name_of_its_field() {
        for json in ["\"yesterday\"", "{}", "true", "99999999999999999", "1e300", "-1e300"] {
            assert_eq!(at(json).unwrap_err().field, "end_time", "{json}");
        }
    }
}
