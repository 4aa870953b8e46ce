//! What the small numbers of a step stand for.

use std::time::Duration;

use runhook::model::dotted_order::DottedOrder;
use runhook::model::endpoint::Endpoint;
use runhook::model::feedback::{Feedback, Score};
use runhook::model::id::{EndpointId, ProjectId, RuleId, RunId, TenantId};
use runhook::model::project::ProjectRef;
use runhook::model::rule::{Cadence, Rule, RuleState};
use runhook::model::run::{Fields, Part, PartKind, Payload};
use runhook::model::sealed::Sealed;
use runhook::model::time::Timestamp;
use runhook::store::keys::ApiKey;
use runhook::store::rules::RuleChanges;
use uuid::Uuid;

use super::step::{EndpointStep, Named, Revision, RuleStep, Says};
use crate::store::sample::{self, at, begun, json, part, run_id, uuid};

const PARENTS: [Option<u32>; super::step::RUNS as usize] = [None, Some(0), Some(1), Some(1), Some(2), None, Some(5)];

const NAMES: [&str; super::step::NAMES] = ["support", "superb", "default", "other"];

const PATTERNS: [&str; 4] = ["support", "sup*", "*", "other"];

pub(super) fn tenant(number: usize) -> TenantId {
    [TenantId::DEFAULT, TenantId(Uuid::from_u128(9))][number]
}

pub(super) fn run_ids() -> [RunId; super::step::RUNS as usize] {
    std::array::from_fn(|number| run_id(u32::try_from(number).unwrap()))
}

pub(super) fn name(number: usize) -> String {
    NAMES[number].to_owned()
}

pub(super) fn rule_id(tenant: TenantId, rule: usize) -> RuleId {
    RuleId::of_key(tenant, &format!("rule {rule}"))
}

pub(super) fn endpoint_id(tenant: TenantId, endpoint: u32) -> EndpointId {
    let [first, ..] = *tenant.0.as_bytes();
    EndpointId(uuid(3, u32::from(first) * 100 + endpoint))
}

pub(super) fn marker(name: u8) -> String {
    format!("marker {name}")
}

/// The thread that a root is a turn of.
pub(super) fn thread(variant: u8) -> String {
    format!("thread {variant}")
}

/// Runs 2 and 3 begin at the same time.
fn start(run: u32) -> Timestamp {
    at(i64::from(if run == 3 { 2 } else { run }))
}

fn path(run: u32) -> DottedOrder {
    match PARENTS[run as usize] {
        Some(parent) => path(parent).child(start(run), run_id(run)),
        None => DottedOrder::root(start(run), run_id(run)),
    }
}

pub(super) fn part_of(tenant: TenantId, run: u32, says: &Says, named: &Named, kind: PartKind, variant: u8) -> Part {
    let root = path(run).first().map(|segment| segment.run_id.into());
    let begins = Fields {
        start_time: Some(start(run)),
        parent_run_id: PARENTS[run as usize].map(run_id),
        inputs: Some(Payload::Inline(json(&format!("{{\"q\": {variant}}}")))),
        ..begun(run)
    };
    let fields = match says {
        Says::Begun => begins,
        Says::BegunWithPath => Fields { dotted_order: Some(path(run).to_string()), trace_id: root, ..begins },
        Says::BegunWithoutName => Fields { name: None, ..begins },
        Says::Name => Fields { name: begins.name, run_type: begins.run_type, ..Fields::default() },
        Says::Path => Fields { dotted_order: Some(path(run).to_string()), trace_id: root, ..Fields::default() },
        Says::Ended => {
            let answer = Payload::Inline(json(&format!("{{\"a\": {variant}}}")));
            let error = (variant > 0).then(|| "boom".to_owned());
            Fields { end_time: Some(at(50)), outputs: Some(answer), error, ..Fields::default() }
        }
        Says::Tagged => {
            let extra = Some(json(&format!("{{\"metadata\": {{\"thread_id\": \"{}\"}}}}", thread(variant))));
            Fields { tags: Some(vec![format!("tag {variant}")]), extra, ..Fields::default() }
        }
    };
    let project = match named {
        Named::Nothing => None,
        Named::Name(number) => Some(ProjectRef::Name(name(*number))),
        Named::Id(number) => Some(ProjectRef::Id(ProjectId::of_name(tenant, NAMES[*number]))),
        Named::UnknownId => Some(ProjectRef::Id(ProjectId(Uuid::from_u128(1)))),
    };
    Part { project, ..part(kind, run_id(run), None, fields) }
}

/// The run after the last stands for none.
pub(super) fn feedback_of(
    tenant: TenantId,
    number: u32,
    run: u32,
    session: Option<usize>,
    score: u8,
    now: Timestamp,
) -> Feedback {
    let source = ["{\"type\": \"model\"}", "{}", "{\"type\": \"api\"}"][number as usize % 3];
    Feedback {
        run_id: (run < super::step::RUNS).then(|| run_id(run)),
        session_id: session.map(|session| ProjectId::of_name(tenant, NAMES[session])),
        key: if number < 2 { "user_score".to_owned() } else { "correct".to_owned() },
        score: Some(Score::Number(f64::from(score))),
        source: Some(json(source)),
        created_at: now,
        modified_at: now,
        ..sample::feedback(number, run_id(run), 0.0)
    }
}

fn rule_of(tenant: TenantId, step: &RuleStep, now: Timestamp) -> Rule {
    let cadences = [Cadence::Immediate, Cadence::Every(Duration::from_secs(5)), Cadence::Every(Duration::from_mins(1))];
    Rule {
        tenant_id: tenant,
        id: rule_id(tenant, step.rule),
        project: PATTERNS[step.watches].to_owned(),
        cadence: cadences[step.cadence].clone(),
        settle: Duration::from_secs(if step.settles { 10 } else { 0 }),
        backfill_from: step.backfill.map(|seconds| now.before(Duration::from_secs(seconds.unsigned_abs()))),
        state: if step.paused { RuleState::Paused } else { RuleState::Active },
        ..sample::rule(&format!("rule {}", step.key.unwrap_or(step.rule)), 60)
    }
}

fn endpoint_of(tenant: TenantId, step: &EndpointStep) -> Endpoint {
    Endpoint {
        tenant_id: tenant,
        id: endpoint_id(tenant, step.endpoint),
        key: step.key.map(|key| format!("endpoint {key}")),
        rule_id: step.rule.map(|rule| rule_id(tenant, rule)),
        alert_id: None,
        target: Sealed(vec![step.sealed]),
        ..sample::endpoint(1, None)
    }
}

pub(super) fn changes_of(tenant: TenantId, revision: &Revision, now: Timestamp) -> RuleChanges {
    RuleChanges {
        put_rules: revision.rules.iter().map(|step| rule_of(tenant, step, now)).collect(),
        put_endpoints: revision.endpoints.iter().map(|step| endpoint_of(tenant, step)).collect(),
        remove_rules: revision.remove_rules.iter().map(|rule| rule_id(tenant, *rule)).collect(),
        remove_endpoints: revision.remove_endpoints.iter().map(|to| endpoint_id(tenant, *to)).collect(),
        ..RuleChanges::default()
    }
}

pub(super) fn api_key(key: u8, hash: u8) -> ApiKey {
    ApiKey {
        id: runhook::model::id::ApiKeyId(uuid(8, key.into())),
        tenant_id: TenantId::DEFAULT,
        name: format!("key {key}"),
        hash: [hash; 32],
        prefix: "rh_abc".to_owned(),
        scopes: runhook::model::scope::Scopes::all(),
        created_at: at(1),
        revoked_at: None,
    }
}
