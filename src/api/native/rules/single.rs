//! Putting one rule that another surface was asked for.
//!
//! The rule is written as a file would have it and read as one, so that there is one reader for all that can be wrong
//! with a rule, one way to tell its webhooks apart and one place where their secrets are sealed. What no file can say is
//! added at the end.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::native::rules::apply::{TURN, check_count, current, sealed, target_problems};
use crate::api::native::rules::names::Names;
use crate::api::problem::Problem;
use crate::model::audit::{Action, Object};
use crate::model::problem::{Problem as FileProblem, Severity};
use crate::model::rule::Rule;
use crate::rule_file::plan::{Current, Index, Plan, Prune, Wanted, plan};
use crate::rule_file::{Loaded, SourceFile, load};
use crate::store::rules::RuleChanges;

/// The origin of rules that were made through the API.
const ORIGIN: &str = "api";

/// A rule as it is wanted.
pub(crate) struct Wish {
    /// Its keys and values, as a file has them.
    pub(crate) rule: Value,
    /// Says what no file can.
    pub(crate) finish: Box<dyn FnOnce(&mut Rule) + Send>,
}

/// Puts the rule that is wished for, given all there are. Nothing else changes a rule meanwhile.
pub(crate) async fn put(
    api: &Api,
    by: &By,
    wish: impl FnOnce(&Current) -> Result<Wish, Problem> + Send,
) -> Result<Rule, Problem> {
    let tenant = by.tenant_id;
    let _turn = TURN.lock().await;
    let current = current(api, tenant).await?;
    let Wish { rule, finish } = wish(&current)?;
    let loaded = read(api, &rule).await?;
    let now = api.clock.now();
    let wanted = Wanted { rules: &loaded.rules, endpoints: &loaded.endpoints, origin: "" };
    let index = Index::of(&current);
    let Plan { mut writes, .. } = plan(tenant, now, &index, wanted, Prune::Nothing);
    check_count(api, &index, &writes)?;
    let Some(rule) = writes.put_rules.first_mut() else {
        return Err(Problem::new(StatusCode::CONFLICT, "stale", "the rule changed meanwhile"));
    };
    finish(rule);
    let rule = rule.clone();
    let is_new = index.rule(rule.id).is_none();
    let action = if is_new { Action::CreateRule } else { Action::UpdateRule };
    let told = vec![by.entry(api, Act::new(action, object(&rule)))];
    let changes = RuleChanges { told, ..sealed(api, tenant, writes)? };
    api.store.apply_rules(tenant, changes, now).await?;
    api.scheduler.poke();
    Ok(rule)
}

/// Removes a rule, with the webhooks written in it.
pub(crate) async fn remove(api: &Api, by: &By, rule: &Rule) -> Result<(), Problem> {
    let _turn = TURN.lock().await;
    let told = vec![by.entry(api, Act::new(Action::DeleteRule, object(rule)))];
    let changes = RuleChanges { remove_rules: vec![rule.id], told, ..RuleChanges::default() };
    api.store.apply_rules(by.tenant_id, changes, api.clock.now()).await?;
    api.scheduler.poke();
    Ok(())
}

/// Lets rules see at once what there is.
pub(crate) async fn hasten(api: &Api, by: &By, rules: &[Rule]) -> Result<(), Problem> {
    let hasten_rules = rules.iter().map(|rule| rule.id).collect();
    let told = by.entries(api, rules.iter().map(|rule| Act::new(Action::TriggerRule, object(rule))));
    let changes = RuleChanges { hasten_rules, told, ..RuleChanges::default() };
    api.store.apply_rules(by.tenant_id, changes, api.clock.now()).await?;
    api.scheduler.poke();
    Ok(())
}

fn object(rule: &Rule) -> Object {
    Object::new(&rule.key, rule.id.0)
}

async fn read(api: &Api, rule: &Value) -> Result<Loaded, Problem> {
    check(api, &json!({ "version": 1, "rules": [rule] }), rule).await
}

/// Reads a document of a file's shape in which `entry` is the one rule or endpoint.
pub(in crate::api) async fn check(api: &Api, document: &Value, entry: &Value) -> Result<Loaded, Problem> {
    let file = SourceFile { name: ORIGIN.to_owned(), text: document.to_string() };
    let loaded = load(std::slice::from_ref(&file), &|_| None);
    let names = Names::ask(api, &loaded.endpoints).await;
    let of_targets = loaded.endpoints.iter().flat_map(|draft| target_problems(api, &names, draft));
    let of_file = loaded.reports.iter().flat_map(|report| report.problems.iter().cloned());
    let wrong: Vec<FileProblem> =
        of_file.chain(of_targets).filter(|problem| problem.severity == Severity::Error).collect();
    match wrong.first() {
        None => Ok(loaded),
        Some(first) => Err(refused(&file.text, entry, &wrong, first)),
    }
}

/// What is wrong with an entry, at the key of it that comes last before the first mistake.
fn refused(text: &str, entry: &Value, wrong: &[FileProblem], first: &FileProblem) -> Problem {
    let told: Vec<String> = wrong
        .iter()
        .map(|problem| match &problem.hint {
            Some(hint) => format!("{} ({hint})", problem.message),
            None => problem.message.clone(),
        })
        .collect();
    let (before, from) = text.split_at_checked(first.span.start).unwrap_or((text, ""));
    let from = from.strip_prefix('"').unwrap_or(from);
    let keys = entry.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    // A mistake may be the key itself.
    let place = |key: &str| {
        let is_it = from.starts_with(&format!("{key}\":"));
        if is_it { Some(text.len()) } else { before.rfind(&format!("\"{key}\":")) }
    };
    let at = keys.filter_map(|key| Some((place(key)?, key))).max();
    let place = at.map_or_else(|| json!(["body"]), |(_, key)| json!(["body", key]));
    Problem::invalid(told.join("; ")).with("loc", place)
}
