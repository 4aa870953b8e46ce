//! `PATCH /runs/rules/{id}`: what the body does not name stays, `null` clears.

use axum::extract::{Path, Request, State};
use axum::response::Response;

use crate::api::Api;
use crate::api::audit::By;
use crate::api::langsmith::fault::Fault;
use crate::api::native::rules::single::{self, Wish};
use crate::api::problem::Problem;
use crate::api::request;
use crate::ingest::Invalid;
use crate::model::rule::{Registration, Rule, RuleState};
use crate::rule_file::plan::Current;

use super::webhooks::Stored;
use super::wish::{self, Keys, Wished};
use super::{create, find_own, shown};

pub(super) async fn update(
    State(api): State<Api>,
    by: By,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Fault> {
    let tenant = by.tenant_id;
    let known = find_own(&api, tenant, &id).await?;
    let registered = known.registration.as_ref().map(|registration| registration.project_id);
    let project = create::project(&api, tenant, registered).await?;
    let body = request::body(&api, request).await?;
    let keys: Keys<'_> = request::keys(&api, &body)?;
    wish::check(&keys)?;
    let mut named = Wished::default();
    named.lay_actions(&keys)?;
    create::actions(&api, tenant, &named.actions).await?;
    let now = api.clock.now();
    let wish = |current: &Current| {
        let rule = current.rules.iter().find(|rule| rule.id == known.id).ok_or_else(|| Problem::not_found("rule"))?;
        let stored = Stored::of(rule, current);
        let mut wished = Wished::of(rule, stored.webhooks());
        wished.lay(&keys, &stored)?;
        if wished.session_id != registered {
            return Err(Invalid::new("session_id", "cannot change: make another rule for the other session").into());
        }
        let backfilled = rule.registration.as_ref().and_then(|registration| registration.backfilled_at);
        let looks_back = wished.backfill_from.is_some() && wished.backfill_from != rule.backfill_from;
        let registration = Registration {
            project_id: project.id,
            created_at: rule.registration.as_ref().map_or(now, |registration| registration.created_at),
            updated_at: now,
            backfilled_at: if looks_back { Some(now) } else { backfilled },
        };
        let (document, is_enabled) = (wished.document(&project.name)?, wished.is_enabled);
        let finish = Box::new(move |rule: &mut Rule| {
            rule.state = if is_enabled { RuleState::Active } else { RuleState::Paused };
            rule.registration = Some(registration);
        });
        Ok(Wish { rule: document, finish })
    };
    let rule = single::put(&api, &by, wish).await?;
    shown::answer(&api, tenant, rule).await
}
