//! Which deliveries a caller means.

use crate::api::Api;
use crate::api::problem::Problem;
use crate::filter::nearest;
use crate::model::amount;
use crate::model::delivery::Delivery;
use crate::model::id::{DeliveryId, EndpointId, RuleId, TenantId};
use crate::model::time::Timestamp;
use crate::store::failed::{FailedQuery, Statuses};
use crate::store::outbox::DeliveryQuery;

use super::unreadable;

/// The states there are.
const STATES: &[&str] = &["pending", "delivered", "failed"];

/// Keys that are looked at for one that may have been meant.
const LOOKED_AT: u32 = 1000;

/// What deliveries have in common, in the caller's words. All of it must hold.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) state: Option<String>,
    /// A rule's key or id.
    pub(super) rule: Option<String>,
    /// An endpoint's key or id.
    pub(super) endpoint: Option<String>,
    /// What the last attempt was answered with: `503`, or `5xx`.
    pub(super) status: Option<String>,
    /// Made since: an instant, or how long ago it was.
    pub(super) since: Option<String>,
    /// Made until, in the same way.
    pub(super) until: Option<String>,
    /// Failed since, in the same way, whenever they were made.
    pub(super) failed_since: Option<String>,
}

/// The same for the store.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// By when they were made.
    Made(DeliveryQuery),
    /// By when they failed.
    Failed(FailedQuery),
}

/// A page of deliveries, newest first.
pub(super) struct Found {
    pub(super) deliveries: Vec<Delivery>,
    pub(super) next: Option<String>,
}

impl Selection {
    /// Whether it selects everything.
    pub(super) fn is_open(&self) -> bool {
        let words =
            [&self.state, &self.rule, &self.endpoint, &self.status, &self.since, &self.until, &self.failed_since];
        words.into_iter().all(Option::is_none)
    }

    /// What is to be asked of the store. Keys become ids, and a time ago becomes an instant.
    pub(super) async fn wanted(self, api: &Api, tenant: TenantId) -> Result<Wanted, Problem> {
        let now = api.clock.now();
        if let Some(state) = self.state.as_deref().filter(|state| !STATES.contains(state)) {
            let shown: String = state.chars().take(32).collect();
            return Err(Problem::malformed(format!("`{shown}` is not a state")).hint("pending, delivered or failed"));
        }
        let rule_id = match &self.rule {
            Some(rule) => Some(rule_id(api, tenant, rule).await?),
            None => None,
        };
        let endpoint_id = match &self.endpoint {
            Some(endpoint) => Some(endpoint_id(api, tenant, endpoint).await?),
            None => None,
        };
        let statuses = self.status.as_deref().map(statuses).transpose()?;
        let instant = |text: Option<String>| text.map(|text| instant(&text, now)).transpose();
        let (since, until) = (instant(self.since)?, instant(self.until)?);
        let Some(failed_since) = instant(self.failed_since)? else {
            let (before, limit) = (None, 0);
            let state = self.state;
            return Ok(Wanted::Made(DeliveryQuery {
                state,
                rule_id,
                endpoint_id,
                since,
                until,
                statuses,
                before,
                limit,
            }));
        };
        if since.is_some() || until.is_some() || self.state.is_some_and(|state| state != "failed") {
            return Err(Problem::invalid("`failed_since` goes by when deliveries failed")
                .hint("leave out `since` and `until`, which go by when they were made, and other states than failed"));
        }
        let since = Some(failed_since);
        Ok(Wanted::Failed(FailedQuery { rule_id, endpoint_id, statuses, since, ..FailedQuery::default() }))
    }
}

/// The rule with this key or id. A rule that was removed is known by what it sent.
pub(super) async fn rule_id(api: &Api, tenant: TenantId, rule: &str) -> Result<RuleId, Problem> {
    let id = RuleId::of_key(tenant, rule);
    if !api.store.rule_keys(tenant, &[id]).await?.is_empty() {
        return Ok(id);
    }
    if let Ok(id) = rule.parse() {
        return Ok(id);
    }
    let query = DeliveryQuery { rule_id: Some(id), limit: 1, ..DeliveryQuery::default() };
    if !api.store.list_deliveries(tenant, &query).await?.is_empty() {
        return Ok(id);
    }
    let rules = api.store.list_rules(tenant).await?;
    Err(unknown("rule", rule, nearest(rule, rules.iter().map(|rule| rule.key.as_str()))))
}

/// The endpoint with this key or id.
pub(super) async fn endpoint_id(api: &Api, tenant: TenantId, endpoint: &str) -> Result<EndpointId, Problem> {
    if let Some(found) = api.store.endpoint_of_key(tenant, endpoint).await? {
        return Ok(found.id);
    }
    if let Ok(id) = endpoint.parse() {
        return Ok(id);
    }
    let named = api.store.endpoint_page(tenant, None, LOOKED_AT).await?;
    let keys = named.iter().filter_map(|endpoint| endpoint.key.as_deref());
    Err(unknown("endpoint", endpoint, nearest(endpoint, keys)))
}

/// `503` is that status, `5xx` all that begin like it.
pub(super) fn statuses(text: &str) -> Result<Statuses, Problem> {
    let text = text.trim();
    let read = || {
        let (digit, rest) = text.split_at_checked(1)?;
        let hundreds = digit.parse::<u16>().ok().filter(|digit| (1..=9).contains(digit))?.checked_mul(100)?;
        match rest {
            "xx" | "XX" => Some((hundreds, hundreds.saturating_add(99))),
            _ => text.parse().ok().filter(|status| (100..=999).contains(status)).map(|status| (status, status)),
        }
    };
    read()
        .ok_or_else(|| Problem::malformed("`status` is not an HTTP status").hint("a number such as 503, or 4xx or 5xx"))
}

fn unknown(what: &str, word: &str, like: Option<&str>) -> Problem {
    let shown: String = word.chars().take(64).collect();
    Problem::not_found(&format!("{what} `{shown}`")).hint(match like {
        Some(like) => format!("did you mean `{like}`?"),
        None => format!("name the {what} by its key, or by its id"),
    })
}

/// An instant, or how long before now it was.
pub(in crate::api::native) fn instant(text: &str, now: Timestamp) -> Result<Timestamp, Problem> {
    if let Some(ago) = amount::duration(text) {
        return Ok(now.before(ago));
    }
    Timestamp::parse(text).map_err(|error| {
        unreadable(error).hint("an instant such as 2026-11-22T08:30:00Z, or a time ago such as 90m, 2h or 7d")
    })
}

/// Reads a page of at most `limit` behind what `cursor` names.
pub(super) async fn page(
    api: &Api,
    tenant: TenantId,
    wanted: &Wanted,
    limit: u32,
    cursor: Option<&str>,
) -> Result<Found, Problem> {
    let before = cursor.map(read_cursor).transpose()?;
    let one_more = limit.saturating_add(1);
    let mut deliveries = match wanted.clone() {
        Wanted::Made(query) => {
            api.store.list_deliveries(tenant, &DeliveryQuery { before, limit: one_more, ..query }).await?
        }
        Wanted::Failed(query) => {
            api.store.failed_deliveries(tenant, &FailedQuery { before, limit: one_more, ..query }).await?
        }
    };
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = deliveries.len() > size;
    deliveries.truncate(size);
    let at = |last: &Delivery| match wanted {
        Wanted::Made(_) => last.created_at,
        Wanted::Failed(_) => last.finished_at.unwrap_or(last.created_at),
    };
    let next = deliveries.last().filter(|_| more).map(|last| format!("{}.{}", at(last).0, last.id));
    Ok(Found { deliveries, next })
}

/// Reads what a page gave as `next`.
fn read_cursor(text: &str) -> Result<(Timestamp, DeliveryId), Problem> {
    let read = || {
        let (created_at, id) = text.split_once('.')?;
        Some((Timestamp(created_at.parse().ok()?), id.parse().ok()?))
    };
    read().ok_or_else(|| Problem::malformed("`cursor` is not a page's `next`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_an_instant_or_a_time_ago() {
        let now = Timestamp::parse("2026-11-22T08:30:00Z").unwrap();
        assert_eq!(instant("90m", now).unwrap(), Timestamp::parse("2026-11-22T07:00:00Z").unwrap());
        assert_eq!(instant(" 7d ", now).unwrap(), Timestamp::parse("2026-11-15T08:30:00Z").unwrap());
        assert_eq!(instant("2026-11-22", now).unwrap(), Timestamp::parse("2026-11-22T00:00:00Z").unwrap());
        for text in ["", "m", "-1h", "yesterday", "1w", "é"] {
            assert!(instant(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn a_status_is_one_or_a_hundred_of_them() {
        assert_eq!(statuses("503").unwrap(), (503, 503));
        assert_eq!(statuses(" 5xx ").unwrap(), (500, 599));
        for text in ["", "5", "5x", "xxx", "50", "1000", "0xx", "é00", "5é"] {
            assert!(statuses(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_cursor_comes_back() {
        let id = DeliveryId(uuid::Uuid::from_u128(5));
        assert_eq!(read_cursor(&format!("17.{id}")).unwrap(), (Timestamp(17), id));
        assert!(read_cursor("17").is_err());
    }
}
