//! What a body asks of an alert: read key by key, and laid over the alert as it is.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use rust_decimal::Decimal;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::api::langsmith::rules;
use crate::ingest::{Invalid, value};
use crate::model::alert::{Against, Aggregation, Alert, Attribute, Condition, LONGEST_WINDOW, Metric, Operator};

/// The keys of an object.
pub(super) type Keys<'a> = BTreeMap<String, &'a RawValue>;

/// Keys that are read.
const KNOWN: [&str; 12] = [
    "name",
    "description",
    "type",
    "aggregation",
    "attribute",
    "operator",
    "window_minutes",
    "threshold",
    "threshold_multiplier",
    "threshold_window_minutes",
    "filter",
    "denominator_filter",
];

/// Keys that an answer has and a body may repeat.
const REPEATED: [&str; 7] = ["id", "session_id", "tenant_id", "created_at", "updated_at", "state", "enabled"];

/// Characters of the longest name and the longest description.
const LONGEST: [usize; 2] = [256, 4096];

/// An alert as it is wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Wished {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    kind: Option<String>,
    aggregation: Option<Aggregation>,
    attribute: Option<Attribute>,
    operator: Option<Operator>,
    window_minutes: Option<u32>,
    threshold: Option<Decimal>,
    multiplier: Option<Decimal>,
    threshold_window_minutes: Option<u32>,
    filter: Option<String>,
    denominator_filter: Option<String>,
}

impl Wished {
    /// What an alert is.
    pub(super) fn of(alert: &Alert) -> Self {
        let (Metric { attribute, aggregation, filter, denominator_filter }, condition) =
            (alert.metric.clone(), &alert.condition);
        let (kind, threshold, multiplier, threshold_window_minutes) = match condition.against {
            Against::Threshold(threshold) => ("threshold", Some(threshold), None, None),
            Against::Change { multiplier, window_minutes } => ("change", None, Some(multiplier), Some(window_minutes)),
        };
        Self {
            name: Some(alert.name.clone()),
            description: Some(alert.description.clone()),
            kind: Some(kind.to_owned()),
            aggregation: Some(aggregation),
            attribute: Some(attribute),
            operator: Some(condition.operator),
            window_minutes: Some(condition.window_minutes),
            threshold,
            multiplier,
            threshold_window_minutes,
            filter,
            denominator_filter,
        }
    }

    /// Lays the keys of a body's `rule` over it. A key that is absent leaves its field as it is; `null` clears it.
    pub(super) fn lay(&mut self, keys: &Keys<'_>) -> Result<(), Invalid> {
        let known = |key: &&String| KNOWN.contains(&key.as_str()) || REPEATED.contains(&key.as_str());
        if let Some(unknown) = keys.keys().find(|key| !known(key)) {
            return Err(Invalid::new(&format!("rule.{unknown}"), "is unknown"));
        }
        let given = |key: &str| keys.get(key).map(|raw| Some(*raw).filter(|raw| raw.get() != "null"));
        let texts = [("name", &mut self.name, LONGEST[0]), ("description", &mut self.description, LONGEST[1])];
        for (key, field, longest) in texts {
            if let Some(raw) = given(key) {
                *field = raw.map(|raw| text(key, raw, longest)).transpose()?;
            }
        }
        if let Some(raw) = given("type") {
            self.kind = raw.map(|raw| word(raw, "type", &["threshold", "change"])).transpose()?;
        }
        let attributes =
            ["latency", "run_latency", "error_count", "feedback_score", "run_count", "total_cost"].as_slice();
        put(&mut self.aggregation, keys, "aggregation", &["avg", "sum", "pct"])?;
        put(&mut self.attribute, keys, "attribute", attributes)?;
        put(&mut self.operator, keys, "operator", &["gte", "lte", "gt", "lt"])?;
        for (key, field) in [
            ("window_minutes", &mut self.window_minutes),
            ("threshold_window_minutes", &mut self.threshold_window_minutes),
        ] {
            if let Some(raw) = given(key) {
                *field = raw.map(|raw| minutes(key, raw)).transpose()?;
            }
        }
        for (key, field) in [("threshold", &mut self.threshold), ("threshold_multiplier", &mut self.multiplier)] {
            if let Some(raw) = given(key) {
                *field = raw.map(|raw| number(key, raw)).transpose()?;
            }
        }
        for (key, field) in [("filter", &mut self.filter), ("denominator_filter", &mut self.denominator_filter)] {
            if let Some(raw) = given(key) {
                *field = raw.map(|raw| rules::filter(&format!("rule.{key}"), raw)).transpose()?.flatten();
            }
        }
        Ok(())
    }

    /// What is counted, and when that fires.
    pub(super) fn measured(&self) -> Result<(Metric, Condition), Invalid> {
        let metric = Metric {
            attribute: required("attribute", self.attribute)?,
            aggregation: required("aggregation", self.aggregation)?,
            filter: self.filter.clone(),
            denominator_filter: self.denominator_filter.clone(),
        };
        metric.check().map_err(|why| Invalid::new("rule.aggregation", why))?;
        if metric.denominator_filter.is_some() && metric.aggregation != Aggregation::Pct {
            return Err(Invalid::new("rule.denominator_filter", "is of use with the aggregation `pct` only"));
        }
        let kind = required("type", self.kind.as_deref())?;
        let against = if kind == "change" {
            Against::Change {
                multiplier: required("threshold_multiplier", self.multiplier)?,
                window_minutes: required("threshold_window_minutes", self.threshold_window_minutes)?,
            }
        } else {
            Against::Threshold(required("threshold", self.threshold)?)
        };
        let operator = required("operator", self.operator)?;
        let window_minutes = required("window_minutes", self.window_minutes)?;
        Ok((metric, Condition { operator, window_minutes, against }))
    }
}

/// A field that must be there.
pub(super) fn required<T>(key: &str, field: Option<T>) -> Result<T, Invalid> {
    field.ok_or_else(|| Invalid::new(&format!("rule.{key}"), "is missing"))
}

fn invalid(key: &str, why: impl Into<String>) -> Invalid {
    Invalid::new(&format!("rule.{key}"), why)
}

fn text(key: &str, raw: &RawValue, longest: usize) -> Result<String, Invalid> {
    let text = value::string(&format!("rule.{key}"), raw)?;
    if text.chars().count() > longest {
        return Err(invalid(key, format!("is longer than {longest} characters")));
    }
    if key == "name" && text.trim().is_empty() { Err(invalid(key, "is empty")) } else { Ok(text) }
}

fn word(raw: &RawValue, key: &str, words: &[&str]) -> Result<String, Invalid> {
    let found = value::string(&format!("rule.{key}"), raw).ok().filter(|word| words.contains(&word.as_str()));
    found.ok_or_else(|| invalid(key, format!("must be one of {}", words.join(", "))))
}

/// Takes over a word, if one is given.
fn put<T: DeserializeOwned>(field: &mut Option<T>, keys: &Keys<'_>, key: &str, words: &[&str]) -> Result<(), Invalid> {
    let Some(raw) = keys.get(key) else { return Ok(()) };
    *field = None;
    if raw.get() != "null" {
        let word = word(raw, key, words)?;
        *field = Some(serde_json::from_value(word.into()).map_err(|_| invalid(key, "is unknown"))?);
    }
    Ok(())
}

/// A number, or text that holds one.
fn number(key: &str, raw: &RawValue) -> Result<Decimal, Invalid> {
    let text = raw.get().trim().trim_matches('"');
    let read = Decimal::from_str(text).or_else(|_| Decimal::from_scientific(text));
    read.map_err(|_| invalid(key, "must be a number"))
}

fn minutes(key: &str, raw: &RawValue) -> Result<u32, Invalid> {
    let wrong = || invalid(key, format!("must be a whole number of minutes from 1 to {LONGEST_WINDOW}"));
    let number = number(key, raw).map_err(|_| wrong())?;
    let whole = number.is_integer().then(|| u32::try_from(number).ok()).flatten();
    whole.filter(|minutes| (1..=LONGEST_WINDOW).contains(minutes)).ok_or_else(wrong)
}
