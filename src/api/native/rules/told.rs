//! What the audit log tells of a plan that is carried out.

use serde_json::json;

use crate::api::audit::Act;
use crate::model::audit::{Action, Object};
use crate::rule_file::plan::{self, Current, Item, Subject, Writes};

/// The acts of a plan, in its order: one for each rule and named endpoint that changes. Of what changes only the names of
/// fields are told.
pub(in crate::api::native) fn acts(items: &[Item], writes: &Writes, current: &Current) -> Vec<Act> {
    items.iter().filter_map(|item| act(item, writes, current)).collect()
}

fn act(item: &Item, writes: &Writes, current: &Current) -> Option<Act> {
    let action = match (item.subject, item.action) {
        (_, plan::Action::Unchanged) => return None,
        (Subject::Rule, plan::Action::Create) => Action::CreateRule,
        (Subject::Rule, plan::Action::Update) => Action::UpdateRule,
        (Subject::Rule, plan::Action::Remove) => Action::DeleteRule,
        (Subject::Endpoint, plan::Action::Create) => Action::CreateEndpoint,
        (Subject::Endpoint, plan::Action::Update) => Action::UpdateEndpoint,
        (Subject::Endpoint, plan::Action::Remove) => Action::DeleteEndpoint,
    };
    let id = match item.subject {
        Subject::Rule => {
            let known = writes.put_rules.iter().chain(&current.rules).find(|rule| rule.key == item.key);
            known.map(|rule| rule.id.0)
        }
        Subject::Endpoint => {
            let put = writes.put_endpoints.iter().map(|put| (put.id, put.key.as_deref()));
            let there = current.endpoints.iter().map(|(endpoint, _)| (endpoint.id, endpoint.key.as_deref()));
            put.chain(there).find(|(_, key)| *key == Some(item.key.as_str())).map(|(id, _)| id.0)
        }
    };
    let fields: Vec<&str> = item.changes.iter().map(|change| change.field.as_str()).collect();
    let act = Act::new(action, Object::new(&item.key, id));
    Some(match (&item.origin, fields.as_slice()) {
        (None, []) => act,
        (Some(origin), []) => act.with(json!({"origin": origin})),
        (None, fields) => act.with(json!({"fields": fields})),
        (Some(origin), fields) => act.with(json!({"origin": origin, "fields": fields})),
    })
}
