//! `POST /v1/endpoints` and `PATCH /v1/endpoints/{key}`: endpoints that are no file's.
//!
//! An endpoint is given as an entry of `endpoints` in a file has it, and read by the reader of files, so that there is one
//! word for everything and one place that knows what can be sent to. Its values are what they are: `${…}` is no variable.
//! A patch is laid over the endpoint as it is (RFC 7396). It never takes a stored secret to another server: whoever may
//! change a URL need not know what is sent there.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use url::{Origin, Url};

use crate::api::Api;
use crate::api::audit::By;
use crate::api::native::rules::{TURN, acts, check_endpoints, sealed, single};
use crate::api::problem::Problem;
use crate::api::request::Whole;
use crate::crypto::open_target;
use crate::model::amount::duration_text;
use crate::model::endpoint::{Endpoint, Target};
use crate::model::signing::Signing;
use crate::rule_file::literal;
use crate::rule_file::plan::{Current, Index, Opened, Plan, Prune, Wanted, plan};
use crate::store::rules::{Demand, RuleChanges};

use super::find_own;
use super::shown::shown;

/// An endpoint as a file has it.
type Members = Map<String, Value>;

/// Members that are values by name. A patch is laid over them name by name.
const NAMED: [&str; 3] = ["query", "headers", "secrets"];

pub(super) async fn create(
    State(api): State<Api>,
    by: By,
    Whole(body): Whole,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut members = members(&body)?;
    members.retain(|_, value| !value.is_null());
    let _turn = TURN.lock().await;
    if let Some(key) = members.get("key").and_then(Value::as_str)
        && let Some(there) = api.store.endpoint_of_key(by.tenant_id, key).await?
    {
        return Err(exists(key, &there));
    }
    check_endpoints(&api, api.store.list_endpoints(by.tenant_id).await?.len().saturating_add(1))?;
    let endpoint = put(&api, &by, &members, None).await?;
    Ok((StatusCode::CREATED, Json(shown(&endpoint))))
}

pub(super) async fn patch(
    State(api): State<Api>,
    by: By,
    Path(key): Path<String>,
    Whole(body): Whole,
) -> Result<Json<Value>, Problem> {
    let patch = members(&body)?;
    let _turn = TURN.lock().await;
    let endpoint = find_own(&api, by.tenant_id, &key).await?;
    if patch.get("key").is_some_and(|key| key.as_str() != endpoint.key.as_deref()) {
        return Err(
            Problem::invalid("an endpoint keeps its key; create another one").with("loc", json!(["body", "key"]))
        );
    }
    let mut target = open_target(&api.keyring, endpoint.id, &endpoint.target).map_err(|e| Problem::internal(&e))?;
    keep_secrets(&target, &patch)?;
    if patch.get("signing_secret").is_some_and(Value::is_null) {
        target.signing = Signing { secrets: Vec::new(), ..target.signing };
    }
    let members = laid_over(written(&endpoint, &target), patch);
    let endpoint = put(&api, &by, &members, Some((endpoint, Some(target)))).await?;
    Ok(Json(shown(&endpoint)))
}

/// Reads a body. What the parser says may quote a value, and values here are secrets.
fn members(body: &[u8]) -> Result<Members, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Problem::malformed(format!("the body is no JSON object ({place})"))
            .hint("send an endpoint as rule files have it: {\"key\": …, \"url\": …, \"headers\": {…}, \"format\": …}")
    })
}

fn exists(key: &str, there: &Endpoint) -> Problem {
    let hint = match &there.origin {
        Some(origin) => format!("it is written in {origin}: change it there, or choose another key"),
        None => "PATCH /v1/endpoints/{key} (`runhook endpoints update`) changes it".to_owned(),
    };
    Problem::new(StatusCode::CONFLICT, "endpoint-exists", format!("there is an endpoint `{key}`")).hint(hint)
}

/// Stores the endpoint as it is wanted, over the one before it.
async fn put(api: &Api, by: &By, members: &Members, before: Option<Opened>) -> Result<Endpoint, Problem> {
    let tenant = by.tenant_id;
    let entry = Value::Object(literals(members));
    let loaded = single::check(api, &json!({ "version": 1, "endpoints": [entry] }), &entry).await?;
    let demand = if before.is_some() { Demand::There } else { Demand::NotThere };
    let disabled = before.as_ref().and_then(|(endpoint, _)| endpoint.disabled.clone());
    let current = Current { rules: Vec::new(), endpoints: before.into_iter().collect() };
    let wanted = Wanted { rules: &[], endpoints: &loaded.endpoints, origin: "" };
    let now = api.clock.now();
    let Plan { items, writes } = plan(tenant, now, &Index::of(&current), wanted, Prune::Nothing);
    let told = by.entries(api, acts(&items, &writes, &current));
    let mut changes = RuleChanges { told, ..sealed(api, tenant, writes)? };
    let Some(endpoint) = changes.put_endpoints.first_mut() else {
        return Err(Problem::new(StatusCode::CONFLICT, "stale", "the endpoint changed meanwhile"));
    };
    endpoint.origin = None;
    endpoint.disabled = disabled;
    let endpoint = endpoint.clone();
    changes.demands = vec![(endpoint.id, demand)];
    api.store.apply_rules(tenant, changes, now).await?;
    // A change closes its circuit.
    api.delivery.poke();
    Ok(endpoint)
}

/// The same for the reader of files, to whom `${` begins a variable.
fn literals(members: &Members) -> Members {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.clone(), |text| literal(text).into());
    let each = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::Object(pairs) if NAMED.contains(&name.as_str()) => {
                Value::Object(pairs.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
            }
            value if name == "url" || name == "signing_secret" => plain(value),
            value => value.clone(),
        };
        (name.clone(), value)
    };
    members.iter().map(each).collect()
}

/// An endpoint as a file would have it, secrets and all.
fn written(endpoint: &Endpoint, target: &Target) -> Members {
    let pairs = |pairs: &[(String, SecretString)]| -> Option<Value> {
        let members: Members = pairs.iter().map(|(name, value)| (name.clone(), value.expose_secret().into())).collect();
        (!members.is_empty()).then_some(Value::Object(members))
    };
    let text = |text: &str| Some(Value::from(text));
    let retries = endpoint.overrides.retries.as_ref();
    let (signing, pace) = (&target.signing, endpoint.overrides.pace);
    let members = [
        ("key", endpoint.key.as_deref().and_then(text)),
        ("url", text(target.url.expose_secret())),
        ("query", pairs(&target.query)),
        ("headers", pairs(&target.headers)),
        ("format", text(endpoint.format.name())),
        ("template", endpoint.format.template().and_then(text)),
        ("secrets", pairs(&target.secrets)),
        ("policy", Some(json!(endpoint.policy))),
        ("timeout", endpoint.overrides.timeout.map(|timeout| duration_text(timeout).into())),
        ("retries", retries.map(|waits| waits.iter().map(|wait| duration_text(*wait)).collect())),
        ("rate", pace.rate.map(|rate| json!(rate))),
        ("burst", pace.burst.map(|count| json!(count))),
        ("concurrency", pace.concurrency.map(|count| json!(count))),
        ("signing_secret", signing.newest().and_then(|secret| text(secret.expose_secret()))),
        ("signature", signing.newest().map(|_| json!(signing.headers))),
    ];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// A patch over what there is.
fn laid_over(mut members: Members, patch: Members) -> Members {
    let leaves_templates = patch.get("format").is_some_and(|format| format.as_str() != Some("template"));
    if leaves_templates && !patch.contains_key("template") {
        members.remove("template");
    }
    for (name, value) in patch {
        match (members.get_mut(&name), value) {
            (_, Value::Null) => drop(members.remove(&name)),
            (Some(Value::Object(there)), Value::Object(pairs)) if NAMED.contains(&name.as_str()) => {
                lay_pairs(there, pairs, name == "headers");
            }
            (_, Value::Object(mut pairs)) if NAMED.contains(&name.as_str()) => {
                pairs.retain(|_, value| !value.is_null());
                members.insert(name, Value::Object(pairs));
            }
            (_, value) => drop(members.insert(name, value)),
        }
    }
    members
}

fn lay_pairs(there: &mut Members, pairs: Members, any_case: bool) {
    for (name, value) in pairs {
        there.retain(|other, _| !is_same(other, &name, any_case));
        if !value.is_null() {
            there.insert(name, value);
        }
    }
}

fn is_same(one: &str, other: &str, any_case: bool) -> bool {
    one == other || (any_case && one.eq_ignore_ascii_case(other))
}

/// Refuses a patch that would send a stored value to another server than the one it was given for.
fn keep_secrets(target: &Target, patch: &Members) -> Result<(), Problem> {
    let Some(url) = patch.get("url").and_then(Value::as_str) else { return Ok(()) };
    let origin = |url: &str| Url::parse(url).map(|url| url.origin()).ok().filter(Origin::is_tuple);
    if origin(url) == origin(target.url.expose_secret()) {
        return Ok(());
    }
    let stored = [("query", &target.query), ("headers", &target.headers), ("secrets", &target.secrets)];
    let left: Vec<String> = stored
        .into_iter()
        .flat_map(|(kind, pairs)| pairs.iter().map(move |(name, _)| (kind, name.as_str())))
        .filter(|(kind, name)| !is_given(patch, kind, name))
        .map(|(kind, name)| format!("{kind}.{name}"))
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    let detail = format!("the URL leads to another server, and what is stored does not go there: {}", left.join(", "));
    Err(Problem::invalid(detail)
        .hint("give these values again, or null to send none")
        .with("loc", json!(["body", "url"])))
}

fn is_given(patch: &Members, kind: &str, name: &str) -> bool {
    match patch.get(kind) {
        Some(Value::Null) => true,
        Some(Value::Object(pairs)) => pairs.keys().any(|other| is_same(other, name, kind == "headers")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: &Value) -> Members {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_patch_replaces_what_it_names_and_takes_away_what_it_makes_null() {
        let there = object(&json!({
            "key": "a", "url": "https://a.test", "format": "template", "template": "{}", "timeout": "9s",
            "headers": {"X-A": "1", "X-B": "2"},
        }));
        let patch = json!({
            "format": "slack", "timeout": null, "headers": {"x-a": "3", "X-B": null, "X-C": "4"}, "query": {"s": "5", "t": null},
        });
        let laid = laid_over(there, object(&patch));
        let expected = json!({
            "key": "a", "url": "https://a.test", "format": "slack", "headers": {"x-a": "3", "X-C": "4"}, "query": {"s": "5"},
        });
        assert_eq!(Value::Object(laid), expected);
    }

    #[test]
    fn nothing_in_a_value_begins_a_variable() {
        let given = object(&json!({
            "url": "https://a.test/${A}", "headers": {"X": "${B}"}, "template": "${C}", "retries": ["1s"],
        }));
        let expected = json!({
            "url": "https://a.test/$${A}", "headers": {"X": "$${B}"}, "template": "${C}", "retries": ["1s"],
        });
        assert_eq!(Value::Object(literals(&given)), expected);
    }
}
