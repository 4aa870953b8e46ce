//! What the audit log tells of a plan that is carried out.

use std::collections::HashMap;

use serde_json::json;
use uuid::Uuid;

use crate::api::audit::Act;
use crate::model::audit::{Action, Object};
use crate::rule_file::plan::{self, Current, Item, Subject, Writes};

/// The acts of a plan, in its order: one for each rule and named endpoint that changes. Of what changes only the names of
/// fields are told.
pub(in crate::api::native) fn acts(items: &[Item], writes: &Writes, current: &Current) -> Vec<Act> {
    // What is put stands for what was there.
    let rules = current.rules.iter().chain(&writes.put_rules).map(|rule| (rule.key.as_str(), rule.id.0)).collect();
    let there = current.endpoints.iter().map(|(endpoint, _)| (endpoint.key.as_deref(), endpoint.id.0));
    let put = writes.put_endpoints.iter().map(|put| (put.key.as_deref(), put.id.0));
    let endpoints = there.chain(put).filter_map(|(key, id)| Some((key?, id))).collect();
    let ids = Ids { rules, endpoints };
    items.iter().filter_map(|item| act(item, &ids)).collect()
}

/// The ids of what has a key.
struct Ids<'a> {
    rules: HashMap<&'a str, Uuid>,
    endpoints: HashMap<&'a str, Uuid>,
}

fn act(item: &Item, ids: &Ids<'_>) -> Option<Act> {
    let action = match (item.subject, item.action) {
        (_, plan::Action::Unchanged) => return None,
        (Subject::Rule, plan::Action::Create) => Action::CreateRule,
        (Subject::Rule, plan::Action::Update) => Action::UpdateRule,
        (Subject::Rule, plan::Action::Remove) => Action::DeleteRule,
        (Subject::Endpoint, plan::Action::Create) => Action::CreateEndpoint,
        (Subject::Endpoint, plan::Action::Update) => Action::UpdateEndpoint,
        (Subject::Endpoint, plan::Action::Remove) => Action::DeleteEndpoint,
    };
    let known = match item.subject {
        Subject::Rule => &ids.rules,
        Subject::Endpoint => &ids.endpoints,
    };
    let id = known.get(item.key.as_str()).copied();
    let fields: Vec<&str> = item.changes.iter().map(|change| change.field.as_str()).collect();
    let act = Act::new(action, Object::new(&item.key, id));
    Some(match (&item.origin, fields.as_slice()) {
        (None, []) => act,
        (Some(origin), []) => act.with(json!({"origin": origin})),
        (None, fields) => act.with(json!({"fields": fields})),
        (Some(origin), fields) => act.with(json!({"origin": origin, "fields": fields})),
    })
}
