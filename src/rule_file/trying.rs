//! How a delivery is tried: `policy`, what an endpoint says beyond it with `timeout` and `retries`, and how fast it may be
//! sent to with `rate`, `burst` and `concurrency`.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::model::amount::{DURATION_HINT, duration, duration_text};
use crate::model::endpoint::{Overrides, Policy};
use crate::model::pace::{Pace, RATE_HINT, Rate};
use crate::rule_file::node::Node;
use crate::rule_file::reading::{Reading, Section};

/// What files call policies.
const POLICIES: [(&str, Policy); 2] = [("langsmith", Policy::Langsmith), ("standard", Policy::Standard)];

/// The shortest time an answer is waited for.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);

/// The shortest wait before a retry.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// A policy's name in files.
pub(super) fn policy_name(policy: Policy) -> &'static str {
    POLICIES.iter().find(|(_, known)| *known == policy).map_or("", |(name, _)| name)
}

/// Which policy a file chooses.
pub(super) enum Choice {
    /// It says nothing.
    Usual,
    /// This one.
    Named(Policy),
}

/// Reads the policy, if there is one.
pub(super) fn policy(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Choice> {
    match section.get("policy") {
        None => section.key_span("policy").is_none().then_some(Choice::Usual),
        Some(node) => reading.choice(node, "policy", &POLICIES).map(Choice::Named),
    }
}

/// Reads what an endpoint says beyond its policy.
pub(super) fn overrides(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Overrides> {
    let mut found = Overrides::default();
    let mut complete = true;
    if let Some(node) = section.get("timeout") {
        found.timeout = period(reading, node, "`timeout`", SHORTEST_TIMEOUT, Overrides::LONGEST_TIMEOUT);
        complete &= found.timeout.is_some();
    }
    if let Some(node) = section.get("retries") {
        found.retries = retries(reading, node);
        complete &= found.retries.is_some();
    }
    found.pace = pace(reading, section)?;
    complete.then_some(found)
}

/// Reads `rate`, `burst` and `concurrency`.
fn pace(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Pace> {
    let mut found = Pace::default();
    let mut complete = true;
    if let Some(node) = section.get("rate") {
        found.rate = rate(reading, node);
        complete &= found.rate.is_some();
    }
    if let Some(node) = section.get("burst") {
        found.burst = count(reading, node, "`burst`", Rate::MOST);
        complete &= found.burst.is_some();
        if section.key_span("rate").is_none() {
            let hint = "give both: `rate: 10/s` and `burst: 20`";
            reading.error("no-rate", &node.span, "`burst` says nothing without `rate`", hint);
            complete = false;
        }
    }
    if let Some(node) = section.get("concurrency") {
        found.concurrency = count(reading, node, "`concurrency`", Pace::MOST_CONCURRENCY);
        complete &= found.concurrency.is_some();
    }
    complete.then_some(found)
}

fn rate(reading: &mut Reading<'_>, node: &Node) -> Option<Rate> {
    let text = reading.text(node, "`rate`")?;
    let found = text.parse().ok();
    if found.is_none() {
        reading.error("bad-rate", &node.span, "`rate` is not a rate", RATE_HINT);
    }
    found
}

fn count(reading: &mut Reading<'_>, node: &Node, what: &str, most: u32) -> Option<NonZeroU32> {
    let text = reading.text(node, what)?;
    let found = text.parse().ok().filter(|count: &NonZeroU32| count.get() <= most);
    if found.is_none() {
        let message = format!("{what} is not a number that can be used");
        reading.error("out-of-range", &node.span, message, &format!("from 1 to {most}"));
    }
    found
}

/// The waits before retries, as files write them.
pub(super) fn retries_text(waits: &[Duration]) -> String {
    let waits: Vec<String> = waits.iter().map(|wait| duration_text(*wait)).collect();
    format!("[{}]", waits.join(", "))
}

fn retries(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<Duration>> {
    let items = reading.items(node, "`retries`")?;
    if items.len() > Overrides::MOST_RETRIES {
        let message = format!("more than {} retries", Overrides::MOST_RETRIES);
        reading.error("out-of-range", &node.span, message, "fewer, with longer waits");
        return None;
    }
    let read = |reading: &mut Reading<'_>, item| {
        period(reading, item, "a wait before a retry", SHORTEST_WAIT, Overrides::LONGEST_WAIT)
    };
    let waits: Vec<Option<Duration>> = items.iter().map(|item| read(reading, item)).collect();
    waits.into_iter().collect()
}

fn period(reading: &mut Reading<'_>, node: &Node, what: &str, least: Duration, most: Duration) -> Option<Duration> {
    let text = reading.text(node, what)?;
    let Some(found) = duration(text) else {
        reading.error("bad-duration", &node.span, format!("{what} is not a duration"), DURATION_HINT);
        return None;
    };
    if !(least..=most).contains(&found) {
        let hint = format!("from {} to {}", duration_text(least), duration_text(most));
        reading.error("out-of-range", &node.span, format!("{what} is out of range"), &hint);
        return None;
    }
    Some(found)
}
