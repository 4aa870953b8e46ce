//! `POST /runs/rules`. Posting twice makes two rules, as it does upstream.

use axum::extract::{Request, State};
use axum::response::Response;

use crate::api::Api;
use crate::api::audit::By;
use crate::api::langsmith::fault::Fault;
use crate::api::native::rules::single::{self, Wish};
use crate::api::problem::Problem;
use crate::api::request;
use crate::crypto;
use crate::ingest::Invalid;
use crate::model::collection::CollectionKind;
use crate::model::id::{ProjectId, TenantId};
use crate::model::project::Project;
use crate::model::rule::{Actions, Registration, Rule, RuleState};
use crate::store::collections::CollectionQuery;

use super::shown;
use super::webhooks::Stored;
use super::wish::{self, Keys, Wished};

pub(super) async fn create(State(api): State<Api>, by: By, request: Request) -> Result<Response, Fault> {
    let tenant = by.tenant_id;
    let body = request::body(&api, request).await?;
    let keys: Keys<'_> = request::keys(&api, &body)?;
    wish::check(&keys)?;
    let mut wished = Wished { is_enabled: true, ..Wished::default() };
    wished.lay(&keys, &Stored::none())?;
    let name = wished.name.as_deref().ok_or_else(|| Invalid::new("display_name", "is missing"))?;
    wished.sampling_rate.ok_or_else(|| Invalid::new("sampling_rate", "is missing: 1 takes every matching run"))?;
    wished.key = key(name);
    let project = project(&api, tenant, wished.session_id).await?;
    let document = wished.document(&project.name)?;
    actions(&api, tenant, &wished.actions).await?;
    let now = api.clock.now();
    let registration = Registration {
        project_id: project.id,
        created_at: now,
        updated_at: now,
        backfilled_at: wished.backfill_from.map(|_| now),
    };
    let finish = Box::new(move |rule: &mut Rule| {
        rule.state = if wished.is_enabled { RuleState::Active } else { RuleState::Paused };
        rule.registration = Some(registration);
    });
    let rule = single::put(&api, &by, |_| Ok(Wish { rule: document, finish })).await?;
    shown::answer(&api, tenant, rule).await
}

/// The session a rule watches, which must be there.
pub(super) async fn project(api: &Api, tenant: TenantId, id: Option<ProjectId>) -> Result<Project, Problem> {
    let id = id.ok_or_else(|| Invalid::new("session_id", "is missing: it says which session the rule watches"))?;
    let found = api.store.project(tenant, id).await?;
    found.ok_or_else(|| Invalid::new("session_id", "is not a session of this server").into())
}

/// What a rule fills must be there when it begins to.
pub(super) async fn actions(api: &Api, tenant: TenantId, actions: &Actions) -> Result<(), Problem> {
    let dataset = actions.add_to_dataset_id.map(|id| (id.0, CollectionKind::Dataset, "add_to_dataset_id"));
    let queue =
        actions.add_to_annotation_queue_id.map(|id| (id.0, CollectionKind::Queue, "add_to_annotation_queue_id"));
    for (id, kind, field) in dataset.into_iter().chain(queue) {
        let query = CollectionQuery { ids: vec![id], limit: 1, ..CollectionQuery::default() };
        if api.store.list_collections(tenant, kind, &query).await?.is_empty() {
            return Err(Invalid::new(field, format!("names no {} of this server", kind.as_str())).into());
        }
    }
    Ok(())
}

/// A key that nobody has: the name's letters and digits, and something fresh.
fn key(name: &str) -> String {
    let mut key = String::new();
    for c in name.chars().take(64) {
        if c.is_ascii_alphanumeric() {
            key.push(c.to_ascii_lowercase());
        } else if !key.is_empty() && !key.ends_with('-') {
            key.push('-');
        }
    }
    let fresh = u64::from_be_bytes(crypto::random());
    format!("{}-{fresh:016x}", if key.is_empty() { "rule" } else { key.trim_end_matches('-') })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_begins_like_the_name_and_is_never_the_same() {
        for (name, begins) in [("Low user score!", "low-user-score-"), ("€", "rule-"), ("--a--", "a-")] {
            let (one, other) = (key(name), key(name));
            assert!(one.starts_with(begins) && one.len() == begins.len() + 16, "{one}");
            assert_ne!(one, other);
        }
    }
}
