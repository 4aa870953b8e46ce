//! Which deliveries a caller means.

use crate::api::Api;
use crate::api::problem::Problem;
use crate::model::amount;
use crate::model::delivery::Delivery;
use crate::model::id::{DeliveryId, EndpointId, RuleId, TenantId};
use crate::model::time::Timestamp;
use crate::store::outbox::DeliveryQuery;

use super::shown::Names;
use super::unreadable;

/// The states there are.
const STATES: &[&str] = &["pending", "delivered", "failed"];

/// What deliveries have in common, in the caller's words. All of it must hold.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) state: Option<String>,
    /// A rule's key or id.
    pub(super) rule: Option<String>,
    /// An endpoint's key or id.
    pub(super) endpoint: Option<String>,
    /// An instant, or how long ago it was.
    pub(super) since: Option<String>,
}

/// A page of deliveries, newest first.
pub(super) struct Found {
    pub(super) deliveries: Vec<Delivery>,
    pub(super) next: Option<String>,
}

impl Selection {
    /// Whether it selects everything.
    pub(super) fn is_open(&self) -> bool {
        self.state.is_none() && self.rule.is_none() && self.endpoint.is_none() && self.since.is_none()
    }

    /// The same for the store. Keys become ids, and a time ago becomes an instant.
    pub(super) async fn query(self, api: &Api, names: &Names, tenant: TenantId) -> Result<DeliveryQuery, Problem> {
        let now = api.clock.now();
        if let Some(state) = self.state.as_deref().filter(|state| !STATES.contains(state)) {
            let shown: String = state.chars().take(32).collect();
            return Err(Problem::malformed(format!("`{shown}` is not a state")).hint("pending, delivered or failed"));
        }
        Ok(DeliveryQuery {
            state: self.state,
            rule_id: match &self.rule {
                Some(rule) => Some(rule_id(api, names, tenant, rule).await?),
                None => None,
            },
            endpoint_id: self.endpoint.map(|endpoint| endpoint_id(names, &endpoint)).transpose()?,
            since: self.since.map(|since| instant(&since, now)).transpose()?,
            before: None,
            limit: 0,
        })
    }
}

/// The rule with this key or id. A rule that was removed is known by what it sent.
async fn rule_id(api: &Api, names: &Names, tenant: TenantId, rule: &str) -> Result<RuleId, Problem> {
    let id = RuleId::of_key(tenant, rule);
    if names.has_rule(id) {
        return Ok(id);
    }
    if let Ok(id) = rule.parse() {
        return Ok(id);
    }
    let query = DeliveryQuery { rule_id: Some(id), limit: 1, ..DeliveryQuery::default() };
    if !api.store.list_deliveries(tenant, &query).await?.is_empty() {
        return Ok(id);
    }
    Err(unknown("rule", rule, names.rule_like(rule)))
}

fn unknown(what: &str, word: &str, like: Option<&str>) -> Problem {
    let shown: String = word.chars().take(64).collect();
    Problem::not_found(&format!("{what} `{shown}`")).hint(match like {
        Some(like) => format!("did you mean `{like}`?"),
        None => format!("name the {what} by its key, or by its id"),
    })
}

fn endpoint_id(names: &Names, endpoint: &str) -> Result<EndpointId, Problem> {
    if let Some(id) = names.endpoint_of_key(endpoint) {
        return Ok(id);
    }
    endpoint.parse().map_err(|_| unknown("endpoint", endpoint, names.endpoint_like(endpoint)))
}

/// An instant, or how long before now it was.
fn instant(text: &str, now: Timestamp) -> Result<Timestamp, Problem> {
    if let Some(ago) = amount::duration(text) {
        return Ok(now.before(ago));
    }
    Timestamp::parse(text).map_err(|error| {
        unreadable(error).hint("an instant such as 2026-11-22T08:30:00Z, or a time ago such as 90m, 2h or 7d")
    })
}

/// Reads a page of at most `query.limit`.
pub(super) async fn page(api: &Api, tenant: TenantId, query: DeliveryQuery) -> Result<Found, Problem> {
    let size = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let query = DeliveryQuery { limit: query.limit.saturating_add(1), ..query };
    let mut deliveries = api.store.list_deliveries(tenant, &query).await?;
    let more = deliveries.len() > size;
    deliveries.truncate(size);
    let next = deliveries.last().filter(|_| more).map(|last| format!("{}.{}", last.created_at.0, last.id));
    Ok(Found { deliveries, next })
}

/// Reads what a page gave as `next`.
pub(super) fn read_cursor(text: &str) -> Result<(Timestamp, DeliveryId), Problem> {
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
    fn a_cursor_comes_back() {
        let id = DeliveryId(uuid::Uuid::from_u128(5));
        assert_eq!(read_cursor(&format!("17.{id}")).unwrap(), (Timestamp(17), id));
        assert!(read_cursor("17").is_err());
    }
}
