//! When a rule is evaluated: `every`, or `cron` with `timezone`.

use std::ops::RangeInclusive;
use std::time::Duration;

use chrono_tz::Tz;

use crate::model::amount::{DURATION_HINT, duration, duration_text};
use crate::model::cron::CronExpression;
use crate::model::rule::Cadence;
use crate::rule_file::node::Node;
use crate::rule_file::reading::{Reading, Section};

const EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(31 * 24);
const IDLE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(7 * 24);
const SETTLE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);

/// Reads a rule's cadence.
pub(super) fn lower(reading: &mut Reading<'_>, rule: &Section<'_>) -> Option<Cadence> {
    if let (Some(_), Some(span)) = (rule.key_span("every"), rule.key_span("cron")) {
        let hint = "keep one: `every` for an interval, `cron` for a time of day";
        reading.error("two-cadences", &span, "a rule has `every` or `cron`, not both", hint);
        // What else is wrong with either is still worth knowing.
        rule.get("every").and_then(|node| every(reading, node));
        rule.get("cron").and_then(|node| cron(reading, rule, node));
        return None;
    }
    if let Some(node) = rule.get("cron") {
        return cron(reading, rule, node);
    }
    if let Some(span) = rule.key_span("timezone") {
        reading.error("no-cron", &span, "`timezone` says nothing without `cron`", "add `cron`, or remove it");
    }
    if rule.key_span("every").or(rule.key_span("cron")).is_none() {
        return Some(Cadence::DEFAULT);
    }
    every(reading, rule.get("every")?)
}

/// Reads how long a trace must be quiet.
pub(super) fn settle(reading: &mut Reading<'_>, node: &Node) -> Option<Duration> {
    period(reading, node, "`settle`", &SETTLE)
}

/// Reads how long a thread must have been idle.
pub(super) fn idle(reading: &mut Reading<'_>, node: &Node) -> Option<Duration> {
    period(reading, node, "`idle`", &IDLE)
}

fn every(reading: &mut Reading<'_>, node: &Node) -> Option<Cadence> {
    if reading.text(node, "`every`")? == "immediate" {
        return Some(Cadence::Immediate);
    }
    period(reading, node, "`every`", &EVERY).map(Cadence::Every)
}

fn period(reading: &mut Reading<'_>, node: &Node, what: &str, allowed: &RangeInclusive<Duration>) -> Option<Duration> {
    let text = reading.text(node, what)?;
    let Some(found) = duration(text) else {
        let hint =
            if what == "`every`" { format!("{DURATION_HINT}, or `immediate`") } else { DURATION_HINT.to_owned() };
        reading.error("bad-duration", &node.span, format!("{what} is not a duration"), &hint);
        return None;
    };
    if !allowed.contains(&found) {
        let hint = format!("from {} to {}", duration_text(*allowed.start()), duration_text(*allowed.end()));
        reading.error("out-of-range", &node.span, format!("{what} is out of range"), &hint);
        return None;
    }
    Some(found)
}

fn cron(reading: &mut Reading<'_>, rule: &Section<'_>, node: &Node) -> Option<Cadence> {
    let timezone = rule.get("timezone").map_or(Some("UTC".to_owned()), |node| timezone(reading, node));
    let text = reading.text(node, "`cron`")?;
    if let Err(error) = CronExpression::parse(text) {
        let hint = "minute hour day-of-month month day-of-week, such as `0 9 * * MON-FRI`";
        reading.error("bad-cron", &node.span, error.to_string(), hint);
        return None;
    }
    Some(Cadence::Cron { expression: text.trim().to_owned(), timezone: timezone? })
}

fn timezone(reading: &mut Reading<'_>, node: &Node) -> Option<String> {
    let text = reading.text(node, "`timezone`")?;
    if text.parse::<Tz>().is_ok() {
        return Some(text.to_owned());
    }
    let distance = |name: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &text.to_lowercase());
    let near = chrono_tz::TZ_VARIANTS.iter().map(|zone| (distance(zone.name()), zone.name())).min();
    let hint = match near {
        Some((distance, name)) if distance <= 3 => format!("did you mean `{name}`?"),
        _ => "write an IANA name, such as Europe/Berlin or UTC".to_owned(),
    };
    reading.error("bad-timezone", &node.span, "there is no such time zone", &hint);
    None
}
