//! Bodies about feedback tokens: what is asked for, and what a token's holder says.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ingest::depth;
use crate::ingest::error::Invalid;
use crate::ingest::feedback::{key, score};
use crate::ingest::value;
use crate::model::feedback::{Feedback, FeedbackToken, Score};
use crate::model::id::{FeedbackId, RunId};
use crate::model::json::RawJson;
use crate::model::time::Timestamp;

/// How long a token lasts whose maker does not say.
const LASTS: Duration = Duration::from_hours(3);

/// The longest that one may last.
const LONGEST: Duration = Duration::from_hours(24 * 366 * 10);

/// Tokens that are made together.
const MOST: usize = 100;

/// A token that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The run that feedback is to be about.
    pub run_id: RunId,
    /// What is to be judged.
    pub key: String,
    /// How scores under the key are meant.
    pub config: Option<RawJson>,
    /// When the token is to expire.
    pub expires_at: Timestamp,
}

/// What a token's holder says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    /// A score.
    pub score: Option<Score>,
    /// A label or any other value.
    pub value: Option<RawJson>,
    /// Free text.
    pub comment: Option<String>,
    /// What the answer should have been.
    pub correction: Option<RawJson>,
    /// Anything about how it was said.
    pub metadata: Option<RawJson>,
}

#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(borrow)]
    run_id: Option<&'a RawValue>,
    feedback_key: Option<&'a RawValue>,
    feedback_config: Option<&'a RawValue>,
    expires_in: Option<&'a RawValue>,
    expires_at: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Lasting {
    #[serde(default)]
    days: u64,
    #[serde(default)]
    hours: u64,
    #[serde(default)]
    minutes: u64,
}

#[derive(Deserialize)]
struct Sayings<'a> {
    #[serde(borrow)]
    score: Option<&'a RawValue>,
    value: Option<&'a RawValue>,
    comment: Option<&'a RawValue>,
    correction: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
}

/// The tokens that a body asks for: one, or a list of them. The list says so.
pub fn wishes(json: &[u8], now: Timestamp, depth_limit: u32) -> Result<(Vec<Wish>, bool), Invalid> {
    depth::check("body", json, depth_limit)?;
    let is_list = json.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let asked: Vec<Keys<'_>> = if is_list { parse(json)? } else { vec![parse(json)?] };
    if asked.is_empty() || asked.len() > MOST {
        return Err(Invalid::new("body", format!("must ask for 1 to {MOST} tokens")));
    }
    let wishes = asked.iter().map(|keys| wish(keys, now)).collect::<Result<_, _>>()?;
    Ok((wishes, is_list))
}

fn wish(keys: &Keys<'_>, now: Timestamp) -> Result<Wish, Invalid> {
    let run_id = value::id("run_id", keys.run_id.ok_or_else(|| Invalid::new("run_id", "is missing"))?)?;
    let expires_at = match (keys.expires_at, keys.expires_in) {
        (Some(raw), _) => value::time("expires_at", raw)?,
        (None, Some(raw)) => now.after(lasting(raw)?),
        (None, None) => now.after(LASTS),
    };
    if expires_at <= now || expires_at > now.after(LONGEST) {
        let field = if keys.expires_at.is_some() { "expires_at" } else { "expires_in" };
        return Err(Invalid::new(field, "must lie in the future, and within ten years"));
    }
    let config = keys.feedback_config.map(|raw| value::object("feedback_config", raw)).transpose()?;
    Ok(Wish { run_id, key: key("feedback_key", keys.feedback_key)?, config, expires_at })
}

fn lasting(raw: &RawValue) -> Result<Duration, Invalid> {
    let wrong = |_| Invalid::new("expires_in", "must be an object of whole days, hours and minutes");
    let Lasting { days, hours, minutes } = serde_json::from_str(raw.get()).map_err(wrong)?;
    let hours = days.saturating_mul(24).saturating_add(hours);
    let minutes = hours.saturating_mul(60).saturating_add(minutes);
    Ok(Duration::from_secs(minutes.saturating_mul(60)).min(LONGEST.saturating_mul(2)))
}

/// What the body of a token's holder says.
pub fn said(json: &[u8], depth_limit: u32) -> Result<Said, Invalid> {
    depth::check("body", json, depth_limit)?;
    let keys: Sayings<'_> = parse(json)?;
    Ok(Said {
        score: keys.score.map(score).transpose()?,
        value: keys.value.map(value::any),
        comment: keys.comment.map(|raw| value::string("comment", raw)).transpose()?,
        correction: keys.correction.map(value::any),
        metadata: keys.metadata.map(|raw| value::object("metadata", raw)).transpose()?,
    })
}

impl Said {
    /// What the parameters of a link say, which are all text: a value that reads as a number, true or false is one.
    pub fn of_parameters<'p>(of: impl Fn(&str) -> Option<&'p str>) -> Result<Self, Invalid> {
        let scalar = |text: &str| match RawJson::parse(text.to_owned()) {
            Ok(json) if !json.text().trim_start().starts_with(['{', '[', '"']) && !json.is_null() => Ok(json),
            _ => quoted(text),
        };
        let number = of("score").map(|text| {
            let wrong = |_| Invalid::new("score", "must be a number, true or false");
            serde_json::from_str::<&RawValue>(text).map_err(wrong).and_then(score)
        });
        Ok(Self {
            score: number.transpose()?,
            value: of("value").map(scalar).transpose()?,
            comment: of("comment").map(str::to_owned),
            correction: of("correction").map(quoted).transpose()?,
            metadata: None,
        })
    }

    /// The feedback that is given with a token.
    pub fn feedback(self, token: &FeedbackToken, id: FeedbackId, now: Timestamp) -> Result<Feedback, Invalid> {
        let unwritable = |error| Invalid::new("metadata", format!("is not JSON: {error}"));
        let mut source = BTreeMap::from([("type", RawJson::of("api").map_err(unwritable)?)]);
        source.extend(self.metadata.map(|metadata| ("metadata", metadata)));
        let config = token.config.as_ref().map(|config| RawJson::of(&BTreeMap::from([("feedback_config", config)])));
        Ok(Feedback {
            id,
            run_id: Some(token.run_id),
            trace_id: None,
            session_id: None,
            key: token.key.clone(),
            score: self.score,
            value: self.value,
            comment: self.comment,
            correction: self.correction,
            source: Some(RawJson::of(&source).map_err(unwritable)?),
            extra: config.transpose().map_err(unwritable)?,
            error: None,
            created_at: now,
            modified_at: now,
        })
    }
}

fn quoted(text: &str) -> Result<RawJson, Invalid> {
    RawJson::of(text).map_err(|error| Invalid::new("value", format!("cannot be kept: {error}")))
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Invalid> {
    serde_json::from_slice(json).map_err(|error| Invalid::new("body", format!("is not as it should be: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "e095c2b7-87b0-4c30-b6e3-650e75c4735f";
    const NOW: Timestamp = Timestamp(1_000_000);

    fn asked(rest: &str) -> Result<Vec<Wish>, Invalid> {
        let json = format!(r#"[{{"run_id":"{RUN}","feedback_key":"k"{rest}}}]"#);
        wishes(json.as_bytes(), NOW, 128).map(|(wishes, _)| wishes)
    }

    #[test]
    fn a_token_lasts_as_long_as_is_said_or_three_hours() {
        let lasts = |rest: &str| asked(rest).map(|wishes| wishes[0].expires_at.since(NOW).as_secs());
        assert_eq!(lasts(""), Ok(3 * 3600));
        assert_eq!(lasts(r#","expires_in":{"days":1,"minutes":2},"expires_at":null"#), Ok(86_520));
        assert_eq!(lasts(r#","expires_at":"1970-01-01T00:01:01Z""#), Ok(60));
        for (rest, field) in [
            (r#","expires_at":"1970-01-01T00:00:01Z""#, "expires_at"),
            (r#","expires_in":{}"#, "expires_in"),
            (r#","expires_in":{"days":99999999999999999}"#, "expires_in"),
            (r#","expires_in":{"days":-1}"#, "expires_in"),
            (r#","feedback_config":1"#, "feedback_config"),
        ] {
            assert_eq!(asked(rest).unwrap_err().field, field, "{rest}");
        }
    }

    #[test]
    fn a_link_says_what_it_can_in_text() {
        let said = |score: &'static str, value: &'static str| {
            Said::of_parameters(|name| match name {
                "score" => Some(score),
                "value" => Some(value),
                _ => None,
            })
        };
        let yes = said("true", "good one").unwrap();
        assert_eq!((yes.score, yes.value.unwrap().text()), (Some(Score::Bool(true)), "\"good one\""));
        assert_eq!(said("0.5", "7").unwrap().value.unwrap().text(), "7");
        assert_eq!(said("1", "null").unwrap().value.unwrap().text(), "\"null\"");
        assert_eq!(said("high", "").unwrap_err().field, "score");
    }
}
