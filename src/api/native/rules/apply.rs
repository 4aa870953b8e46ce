//! Applying rule files: all of them or none.
//!
//! What a file alone can tell is checked by `rule_file`; what depends on this server (which addresses are allowed, how
//! much of everything) is checked here and reported at the same places. Secrets are sealed here, before they reach the
//! store; a target that stays the same keeps the bytes it was sealed to, so applying twice writes nothing.

use std::collections::{HashMap, HashSet};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Mutex;

use crate::api::Api;
use crate::api::audit::By;
use crate::api::native::rules::names::Names;
use crate::api::native::rules::told::acts;
use crate::api::problem::Problem;
use crate::api::request::Whole;
use crate::crypto::{open_target, seal_target, shown};
use crate::delivery::{Forbidden, Guard};
use crate::filter::nearest;
use crate::filter::report::Style;
use crate::model::endpoint::Endpoint;
use crate::model::health::Health;
use crate::model::id::{EndpointId, RuleId, TenantId};
use crate::model::problem::{Problem as FileProblem, Severity};
use crate::model::rule::Rule;
use crate::payload::format;
use crate::rule_file::plan::{Current, FOLDER, Index, Item, Plan, Prune, PutEndpoint, Wanted, Writes, plan};
use crate::rule_file::{EndpointDraft, EndpointName, FileReport, Loaded, SourceFile, Standing, bounded, load};
use crate::store::rules::{Demand, RuleChanges};

/// One application at a time: a plan is about the rules as they were read.
pub(in crate::api) static TURN: Mutex<()> = Mutex::const_new(());

/// Whether a plan is only made, or also carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Only made.
    Plan,
    /// Carried out.
    Apply,
}

/// Files to apply.
pub struct Request<'a> {
    /// The files, read together.
    pub files: &'a [SourceFile],
    /// What their variables stand for.
    pub variables: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// What stands before a file's name in the origin of its rules.
    pub origin: &'a str,
    /// Which rules are removed.
    pub prune: Prune<'a>,
    /// Whether to carry it out.
    pub purpose: Purpose,
}

/// What applying changed, or would change.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Whether it was carried out.
    pub applied: bool,
    /// What happens, by key.
    pub items: Vec<Item>,
    /// Warnings about the files.
    pub reports: Vec<FileReport>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    files: Vec<SourceFile>,
    #[serde(default)]
    variables: HashMap<String, String>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    prune: bool,
}

pub(super) async fn handle(State(api): State<Api>, by: By, Whole(body): Whole) -> Result<Json<Outcome>, Problem> {
    // What the parser says may quote a value, and values here are secrets.
    let body: Body = serde_json::from_slice(&body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Problem::malformed(format!("the body is not a request to apply rules ({place})")).hint(
            "send {\"files\": [{\"name\", \"text\"}], \"variables\": {NAME: value}, \"dry_run\": false, \"prune\": false}",
        )
    })?;
    let request = Request {
        files: &body.files,
        variables: &|name| body.variables.get(name).cloned(),
        origin: "",
        prune: if body.prune { Prune::Files } else { Prune::Nothing },
        purpose: if body.dry_run { Purpose::Plan } else { Purpose::Apply },
    };
    apply(&api, &by, request).await.map(Json)
}

/// Applies files, or says what applying them would change. Files with an error change nothing.
pub async fn apply(api: &Api, by: &By, request: Request<'_>) -> Result<Outcome, Problem> {
    let (purpose, origin) = (request.purpose, request.origin);
    let result = make(api, by, request).await;
    if purpose == Purpose::Apply {
        let outcome = match &result {
            Ok(_) => "applied",
            Err(problem) if problem.status.is_client_error() => "refused",
            Err(_) => "failed",
        };
        let source = if origin.starts_with(FOLDER) { "folder" } else { "api" };
        metrics::counter!("runhook_rule_files_total", "source" => source, "outcome" => outcome).increment(1);
    }
    result
}

async fn make(api: &Api, by: &By, request: Request<'_>) -> Result<Outcome, Problem> {
    let tenant = by.tenant_id;
    let mut loaded = load(request.files, request.variables);
    check_targets(api, &mut loaded).await;
    let _turn = TURN.lock().await;
    let current = current(api, tenant).await?;
    let index = Index::of(&current);
    loaded.refuse_outside(|key| standing(&index, key, request.prune));
    if loaded.has_errors() {
        return Err(refused(loaded.reports));
    }
    if let Some(key) = loaded.endpoints.iter().find_map(|draft| own_key(&index, draft)) {
        return Err(own(key));
    }
    if let Some(taken) = loaded.rules.iter().find(|draft| is_registered(&index, &draft.key)) {
        return Err(registered(&taken.key));
    }
    let wanted = Wanted { rules: &loaded.rules, endpoints: &loaded.endpoints, origin: request.origin };
    let now = api.clock.now();
    let Plan { items, writes } = plan(tenant, now, &index, wanted, request.prune);
    check_count(api, &index, &writes)?;
    let applied = request.purpose == Purpose::Apply;
    if applied && !writes.is_empty() {
        let told = by.entries(api, acts(&items, &writes, &current));
        let mut changes = RuleChanges { told, ..sealed(api, tenant, writes)? };
        let outside = loaded.outside.iter().filter_map(|outside| stored(&index, &outside.key));
        changes.demands = outside.map(|endpoint| (endpoint.id, Demand::There)).collect();
        api.store.apply_rules(tenant, changes, now).await?;
        api.scheduler.poke();
    }
    let reports = bounded(loaded.reports).into_iter().filter(|report| !report.is_silent()).collect();
    Ok(Outcome { applied, items, reports })
}

pub(super) async fn current(api: &Api, tenant: TenantId) -> Result<Current, Problem> {
    let rules = api.store.list_rules(tenant).await?;
    let endpoints = api.store.list_endpoints(tenant).await?;
    let opened = |endpoint: Endpoint| {
        let target = open_target(&api.keyring, endpoint.id, &endpoint.target);
        if let Err(error) = &target {
            tracing::warn!(endpoint.id = %endpoint.id, error = %error, "its target will be sealed anew");
        }
        (endpoint, target.ok())
    };
    Ok(Current { rules, endpoints: endpoints.into_iter().map(opened).collect() })
}

/// Whether a rule that was made through the API has this key.
fn is_registered(index: &Index<'_>, key: &str) -> bool {
    index.rule_by_key(key).is_some_and(Rule::is_registered)
}

fn registered(key: &str) -> Problem {
    let detail = format!("the rule `{key}` was made through the API, and no file changes it; nothing changed");
    Problem::new(StatusCode::CONFLICT, "rule-registered", detail)
        .hint("remove it with DELETE /runs/rules/{id} before a file has it, or give the rule of the file another key")
}

fn stored<'c>(index: &Index<'c>, key: &str) -> Option<&'c Endpoint> {
    index.named(key).map(|(endpoint, _)| endpoint)
}

/// What is known of an endpoint that files name and do not have.
fn standing(index: &Index<'_>, key: &str, prune: Prune<'_>) -> Standing {
    match stored(index, key) {
        Some(endpoint) if prune.covers(endpoint.origin.as_deref()) => {
            let origin = endpoint.origin.as_deref().unwrap_or_default();
            Standing::Leaving(origin.strip_prefix(FOLDER).unwrap_or(origin).to_owned())
        }
        Some(_) => Standing::Stored,
        None => Standing::Nowhere(nearest(key, index.names()).map(str::to_owned)),
    }
}

/// The key of a draft under which an endpoint was made through the API.
fn own_key<'d>(index: &Index<'_>, draft: &'d EndpointDraft) -> Option<&'d str> {
    let EndpointName::Named(key) = &draft.name else { return None };
    stored(index, key).is_some_and(Endpoint::is_own).then_some(key)
}

fn own(key: &str) -> Problem {
    let detail = format!("the endpoint `{key}` was made through the API, and no file changes it; nothing changed");
    Problem::new(StatusCode::CONFLICT, "endpoint-registered", detail).hint(
        "leave it out of `endpoints`: rules may name it as it is. Or remove it with `runhook endpoints delete` first",
    )
}

/// What this server allows of targets.
async fn check_targets(api: &Api, loaded: &mut Loaded) {
    let names = Names::ask(api, &loaded.endpoints).await;
    for draft in &loaded.endpoints {
        let found = target_problems(api, &names, draft);
        if let Some(report) = loaded.reports.iter_mut().find(|report| report.name == draft.file) {
            report.problems.extend(found);
            report.problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
        }
    }
}

pub(super) fn target_problems(api: &Api, names: &Names, draft: &EndpointDraft) -> Vec<FileProblem> {
    let (limits, target) = (&api.limits, &draft.target.target);
    let mut found = Vec::new();
    let url = target.url.expose_secret();
    let secrets: Vec<String> = target.secrets.iter().map(|(name, _)| name.clone()).collect();
    if let Err(error) = format::check(&draft.target.format, &secrets) {
        let hint = "docs/payload.md shows what each format needs";
        found.push(FileProblem::error("bad-format", draft.target.format_span.clone(), error.to_string()).hint(hint));
    }
    let mut at_url =
        |code, message: String| found.push(FileProblem::error(code, draft.target.url_span.clone(), message));
    if let Err(forbidden) = target_allowed(api, names, url) {
        tracing::warn!(reason = forbidden.exact, "a target is not allowed: it was not saved");
        at_url("forbidden-target", forbidden.to_string());
    }
    if url.len() > limits.url_bytes as usize {
        at_url("too-long", format!("the URL is longer than {} bytes", limits.url_bytes));
    }
    if target.headers.len() > limits.headers_per_endpoint as usize {
        at_url("too-many", format!("the endpoint has more than {} headers", limits.headers_per_endpoint));
    }
    for ((name, value), span) in target.headers.iter().zip(&draft.target.header_spans) {
        if value.expose_secret().len() > limits.header_bytes as usize {
            let message = format!("the value of the header {name} is longer than {} bytes", limits.header_bytes);
            found.push(FileProblem::error("too-long", span.clone(), message));
        }
    }
    found
}

fn target_allowed(api: &Api, names: &Names, url: &str) -> Result<(), Forbidden> {
    let url = Guard::parse(url)?;
    api.vetting.check_url(&url)?;
    names.refusal(&url).map_or(Ok(()), |forbidden| Err(forbidden.clone()))
}

/// Whether there would be too many rules, or too many endpoints.
pub(super) fn check_count(api: &Api, index: &Index<'_>, writes: &Writes) -> Result<(), Problem> {
    let added = writes.put_endpoints.iter().filter(|put| index.endpoint(put.id).is_none()).count();
    let rules: HashSet<RuleId> = writes.remove_rules.iter().copied().collect();
    let endpoints: HashSet<EndpointId> = writes.remove_endpoints.iter().copied().collect();
    let goes = |endpoint: &Endpoint| {
        endpoint.rule_id.is_some_and(|rule| rules.contains(&rule)) || endpoints.contains(&endpoint.id)
    };
    let stay = index.current.endpoints.iter().filter(|(endpoint, _)| !goes(endpoint)).count();
    if added > 0 {
        check_endpoints(api, stay.saturating_add(added))?;
    }
    check_rules(api, index, writes)
}

/// Whether so many endpoints are too many.
pub(in crate::api) fn check_endpoints(api: &Api, after: usize) -> Result<(), Problem> {
    let limit = api.limits.endpoints_per_tenant;
    if after <= limit as usize {
        return Ok(());
    }
    metrics::counter!("runhook_limit_refusals_total", "limit" => "endpoints").increment(1);
    let detail = format!("this would make {after} endpoints, and the limit is {limit}");
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "too-many-endpoints", detail).hint(
        "remove endpoints, let rules share a named one, or raise limits.endpoints_per_tenant in the configuration",
    ))
}

fn check_rules(api: &Api, index: &Index<'_>, writes: &Writes) -> Result<(), Problem> {
    let added = writes.put_rules.iter().filter(|rule| index.rule(rule.id).is_none()).count();
    let after = (index.current.rules.len() + added).saturating_sub(writes.remove_rules.len());
    let limit = api.limits.rules_per_tenant;
    if added > 0 && after > limit as usize {
        metrics::counter!("runhook_limit_refusals_total", "limit" => "rules").increment(1);
        let detail = format!("these files would make {after} rules, and the limit is {limit}");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "too-many-rules", detail)
            .hint("remove rules, or raise limits.rules_per_tenant in the configuration"));
    }
    Ok(())
}

/// What is to be written, with its secrets sealed.
pub(in crate::api::native) fn sealed(api: &Api, tenant: TenantId, writes: Writes) -> Result<RuleChanges, Problem> {
    let seal = |put: PutEndpoint| {
        let target = &put.draft.target.target;
        let sealed = match put.same_target {
            Some(stored) => stored.target,
            None => seal_target(&api.keyring, put.id, target).map_err(|error| Problem::internal(&error))?,
        };
        Ok(Endpoint {
            tenant_id: tenant,
            id: put.id,
            key: put.key,
            rule_id: put.rule_id,
            alert_id: None,
            target: sealed,
            shown: shown(target),
            format: put.draft.target.format,
            policy: put.draft.target.policy,
            overrides: put.draft.target.overrides,
            origin: Some(put.origin),
            // What is stored of this stays.
            disabled: None,
            health: Health::default(),
        })
    };
    Ok(RuleChanges {
        put_rules: writes.put_rules,
        put_endpoints: writes.put_endpoints.into_iter().map(seal).collect::<Result<_, Problem>>()?,
        remove_rules: writes.remove_rules,
        remove_endpoints: writes.remove_endpoints,
        ..RuleChanges::default()
    })
}

fn refused(reports: Vec<FileReport>) -> Problem {
    let count: usize = reports.iter().map(|report| report.count(Severity::Error)).sum();
    let told: Vec<FileReport> = bounded(reports).into_iter().filter(|report| !report.is_silent()).collect();
    let rendered: Vec<String> = told.iter().map(|report| report.render(Style::Plain)).collect();
    let errors = if count == 1 { "1 error".to_owned() } else { format!("{count} errors") };
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "rules-invalid",
        format!("{errors} in the rule files; nothing changed"),
    )
    .hint("each report says where, why and what to do")
    .with("reports", json!(told))
    .with("rendered", rendered.join("\n\n").into())
}
