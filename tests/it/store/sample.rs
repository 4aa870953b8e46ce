//! Runs, rules and windows to store.

use std::time::Duration;

use runhook::model::delivery::{Delivery, DeliveryState};
use runhook::model::endpoint::{Endpoint, Format, Overrides, Policy, ShownTarget};
use runhook::model::feedback::{Feedback, Score};
use runhook::model::health::Health;
use runhook::model::id::{DeliveryId, EndpointId, FeedbackId, MessageId, ProjectId, RuleId, RunId, TenantId, WindowId};
use runhook::model::json::RawJson;
use runhook::model::merge::digest;
use runhook::model::message::{Body, Message, Source};
use runhook::model::project::ProjectRef;
use runhook::model::rule::{Actions, BatchLimits, Cadence, Rule, RuleState};
use runhook::model::run::{Fields, Part, PartKind, Payload};
use runhook::model::sealed::Sealed;
use runhook::model::time::Timestamp;
use runhook::model::window::{Change, Cursor, GroupKey, Progress, Window};
use runhook::store::Store;
use runhook::store::collections::ActionsTaken;
use runhook::store::rules::RuleChanges;
use runhook::store::runs::{Accepted, Batch};
use runhook::store::windows::WindowCommit;
use uuid::Uuid;

pub(crate) const TENANT: TenantId = TenantId::DEFAULT;
pub(crate) const PROJECT: &str = "support";

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp(1_800_000_000_000_000 + seconds * 1_000_000)
}

pub(crate) fn uuid(kind: u16, number: u32) -> Uuid {
    Uuid::from_u64_pair(0x0190_0000_0000_7000 | u64::from(kind), 0x8000_0000_0000_0000 | u64::from(number))
}

pub(crate) fn run_id(number: u32) -> RunId {
    RunId(uuid(1, number))
}

pub(crate) fn feedback_id(number: u32) -> FeedbackId {
    FeedbackId(uuid(2, number))
}

pub(crate) fn project_id(name: &str) -> ProjectId {
    ProjectId::of_name(TENANT, name)
}

pub(crate) fn json(text: &str) -> RawJson {
    RawJson::parse(text.to_owned()).expect("the sample is JSON")
}

pub(crate) fn part(kind: PartKind, run: RunId, project: Option<&str>, fields: Fields) -> Part {
    let digest = digest(&fields, kind, run);
    let project = project.map(|name| ProjectRef::Name(name.to_owned()));
    Part { run_id: run, kind, project, fields, digest }
}

/// What a post says of a run that starts so many seconds into the samples' time.
pub(crate) fn begun(number: u32) -> Fields {
    Fields {
        name: Some(format!("run {number}")),
        run_type: Some("chain".into()),
        start_time: Some(at(i64::from(number))),
        inputs: Some(Payload::Inline(json(r#"{"question": "why?"}"#))),
        ..Fields::default()
    }
}

pub(crate) fn ended(number: u32) -> Fields {
    Fields {
        end_time: Some(at(i64::from(number) + 1)),
        outputs: Some(Payload::Inline(json(r#"{"answer": "because"}"#))),
        ..Fields::default()
    }
}

pub(crate) fn post(number: u32) -> Part {
    part(PartKind::Post, run_id(number), Some(PROJECT), begun(number))
}

/// A patch that names no project.
pub(crate) fn patch(number: u32) -> Part {
    part(PartKind::Patch, run_id(number), None, ended(number))
}

pub(crate) fn feedback(number: u32, run: RunId, score: f64) -> Feedback {
    Feedback {
        id: feedback_id(number),
        run_id: Some(run),
        trace_id: None,
        session_id: None,
        key: "user_score".into(),
        score: Some(Score::Number(score)),
        value: None,
        comment: Some("so so".into()),
        correction: None,
        source: Some(json(r#"{"type": "api"}"#)),
        extra: None,
        error: None,
        created_at: at(i64::from(number)),
        modified_at: at(i64::from(number)),
    }
}

pub(crate) async fn accept_at(store: &dyn Store, parts: Vec<Part>, now: Timestamp) -> Accepted {
    store.accept(TENANT, Batch { parts, feedback: vec![], ..Batch::default() }, now).await.expect("accepted")
}

pub(crate) async fn accept(store: &dyn Store, parts: Vec<Part>) -> Accepted {
    accept_at(store, parts, at(100)).await
}

pub(crate) async fn accept_feedback(store: &dyn Store, feedback: Vec<Feedback>) -> Accepted {
    store.accept(TENANT, Batch { parts: vec![], feedback, ..Batch::default() }, at(100)).await.expect("accepted")
}

/// All changes of a project.
pub(crate) async fn changes(store: &dyn Store, project: &str) -> Vec<Change> {
    store.changes(TENANT, project_id(project), 0, Timestamp(i64::MAX), 100_000).await.expect("readable")
}

pub(crate) fn rule(key: &str, every: u64) -> Rule {
    Rule {
        tenant_id: TENANT,
        id: RuleId::of_key(TENANT, key),
        key: key.into(),
        name: key.into(),
        project: PROJECT.into(),
        filter: Some("eq(is_root, true)".into()),
        trace_filter: None,
        tree_filter: None,
        sampling_rate: 0.5,
        cadence: Cadence::Every(Duration::from_secs(every)),
        settle: Duration::ZERO,
        backfill_from: None,
        batch: BatchLimits::default(),
        endpoints: vec![],
        state: RuleState::Active,
        origin: Some("rules.yaml".into()),
        actions: Actions::default(),
        group_by: None,
        registration: None,
        event: None,
    }
}

pub(crate) fn endpoint(number: u32, rule: Option<RuleId>) -> Endpoint {
    Endpoint {
        tenant_id: TENANT,
        id: EndpointId(uuid(3, number)),
        key: rule.is_none().then(|| format!("endpoint-{number}")),
        rule_id: rule,
        alert_id: None,
        target: Sealed(vec![1, 2, 3]),
        shown: ShownTarget {
            url: "https://example.com/…".into(),
            query: [("secret".to_owned(), "********".to_owned())].into(),
            headers: [].into(),
            secrets: [].into(),
            signing: None,
        },
        format: Format::Langsmith,
        policy: Policy::Langsmith,
        overrides: Overrides::default(),
        origin: None,
        disabled: None,
        health: Health::default(),
    }
}

pub(crate) async fn apply(store: &dyn Store, put_rules: Vec<Rule>, now: Timestamp) {
    let changes = RuleChanges { put_rules, ..RuleChanges::default() };
    store.apply_rules(TENANT, changes, now).await.expect("applied");
}

pub(crate) fn group(rule: &Rule) -> GroupKey {
    GroupKey { tenant_id: TENANT, project_id: project_id(PROJECT), cadence: rule.cadence.clone(), settle: rule.settle }
}

pub(crate) fn window(progress: Progress, after: i64, through: i64, start: Timestamp, end: Timestamp) -> Window {
    let project_id = project_id(PROJECT);
    let id = WindowId::of(TENANT, project_id, &progress, after, end.0);
    Window { id, tenant_id: TENANT, project_id, progress, after, through, start_time: start, end_time: end }
}

/// A commit of these matches, with one message for each rule and a delivery of each to this endpoint.
pub(crate) async fn found(
    store: &dyn Store,
    window: Window,
    matches: &[(RuleId, RunId)],
    to: EndpointId,
) -> WindowCommit {
    let mut messages: Vec<Message> = Vec::new();
    for (rule, _) in matches {
        if messages.iter().all(|message| message.source != Source::Rule(*rule)) {
            messages.push(message(&window, *rule));
        }
    }
    let deliveries = messages.iter().map(|message| delivery(message, to, window.end_time)).collect();
    let rules_version = store.rules_version().await.expect("readable");
    let (matches, applied_at) = (matches.to_vec(), window.end_time);
    let actions = ActionsTaken::default();
    WindowCommit {
        window,
        rules_version,
        matches,
        messages,
        deliveries,
        settles: None,
        events: Vec::new(),
        actions,
        applied_at,
    }
}

pub(crate) fn message(window: &Window, rule: RuleId) -> Message {
    Message {
        tenant_id: TENANT,
        id: MessageId::of(window.id, rule, 1, window.end_time),
        source: Source::Rule(rule),
        window_id: Some(window.id),
        part: 1,
        parts: 1,
        runs: 1,
        body: Body { json: format!(r#"{{"runs": ["{}"]}}"#, "x".repeat(1000)), links: vec![] },
        created_at: window.end_time,
        event_type: None,
    }
}

pub(crate) fn delivery(message: &Message, to: EndpointId, due: Timestamp) -> Delivery {
    Delivery {
        tenant_id: TENANT,
        id: DeliveryId::of(message.id, to),
        message_id: message.id,
        endpoint_id: to,
        source: message.source,
        state: DeliveryState::Pending,
        attempts: 0,
        due_at: due,
        created_at: message.created_at,
        finished_at: None,
    }
}

/// Where a group's cursor is; at 0 when it is not there.
pub(crate) async fn cursor(store: &dyn Store, key: &GroupKey) -> Cursor {
    let standing = store.standing(TENANT, key.project_id).await.expect("readable");
    standing.groups.get(key).copied().unwrap_or(Cursor { seq: 0, at: at(0) })
}
