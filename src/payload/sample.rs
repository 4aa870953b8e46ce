//! A notification that has everything: what probes send, and what templates are tried on. The same at every call.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::model::feedback::{Feedback, Score};
use crate::model::id::WindowId;
use crate::model::id::{FeedbackId, MessageId, ProjectId, RuleId, RunId, TenantId, TraceId};
use crate::model::json::RawJson;
use crate::model::message::Message;
use crate::model::rule::{Actions, BatchLimits, Cadence, Rule, RuleState};
use crate::model::run::{Payload, Run, Status, StoredRun};
use crate::model::time::Timestamp;
use crate::model::usage::Usage;
use crate::model::window::{GroupKey, Progress, Window};
use crate::payload::{PayloadError, Request, build_without_uploads, render};

/// The sample's instant.
const AT: Timestamp = Timestamp(1_767_323_045_000_000);

/// A message with one run, of the default tenant, and its body.
pub fn notification() -> Result<(Message, Bytes), PayloadError> {
    let id = MessageId(Uuid::from_u128(0x5a1e));
    let message = message(TenantId::DEFAULT, id, AT)?;
    let body = render(&message.body, &std::collections::HashMap::new());
    Ok((message, body))
}

/// A message with one run, with this id and instant. It belongs to no rule and no window.
pub fn message(tenant_id: TenantId, id: MessageId, at: Timestamp) -> Result<Message, PayloadError> {
    telling_of(&run(tenant_id, at), "sample", id, at)
}

/// The same message with another run, of a project of this name.
pub fn telling_of(run: &StoredRun, project: &str, id: MessageId, at: Timestamp) -> Result<Message, PayloadError> {
    let tenant_id = run.run.tenant_id;
    let (rule, window) = (rule(tenant_id), window(tenant_id, at));
    let request = Request { rule: &rule, window: &window, runs: &[run], threads: &[], project, created_at: at };
    let built = build_without_uploads(request)?;
    let message = built.messages.into_iter().next().ok_or(PayloadError::Empty)?;
    Ok(Message { id, ..message })
}

fn rule(tenant_id: TenantId) -> Rule {
    Rule {
        tenant_id,
        id: RuleId(Uuid::from_u128(0x5a1e_0001)),
        key: "sample".to_owned(),
        name: "A \"sample\" rule".to_owned(),
        project: "sample".to_owned(),
        filter: None,
        trace_filter: None,
        tree_filter: None,
        sampling_rate: 1.0,
        cadence: Cadence::DEFAULT,
        settle: Duration::ZERO,
        backfill_from: None,
        batch: BatchLimits::default(),
        endpoints: Vec::new(),
        state: RuleState::Active,
        origin: None,
        actions: Actions::default(),
        group_by: None,
        registration: None,
        event: None,
    }
}

fn window(tenant_id: TenantId, at: Timestamp) -> Window {
    let project_id = ProjectId(Uuid::from_u128(0x5a1e_0002));
    let key = GroupKey { tenant_id, project_id, cadence: Cadence::DEFAULT, settle: Duration::ZERO };
    let progress = Progress::Group(key);
    Window {
        id: WindowId::of(tenant_id, project_id, &progress, 0, 0),
        tenant_id,
        project_id,
        progress,
        after: 0,
        through: 1,
        start_time: at.before(Duration::from_mins(1)),
        end_time: at,
    }
}

fn run(tenant_id: TenantId, at: Timestamp) -> StoredRun {
    let id = RunId(Uuid::from_u128(0x5a1e_0003));
    let started = at.before(Duration::from_secs(2));
    let json = |text: &str| RawJson::parse(text.to_owned()).ok();
    let run = Run {
        tenant_id,
        project_id: ProjectId(Uuid::from_u128(0x5a1e_0002)),
        id,
        trace_id: TraceId::from(id),
        parent_run_id: None,
        dotted_order: format!("{}Z{id}", started.naive().replace(['-', ':', '.'], "")),
        name: "answer".to_owned(),
        run_type: "chain".to_owned(),
        start_time: started,
        end_time: Some(at.before(Duration::from_secs(1))),
        status: Status::Error,
        error: Some("ValueError(\"a sample of what went wrong\")".to_owned()),
        tags: vec!["sample".to_owned(), "runhook".to_owned()],
        reference_example_id: None,
        inputs: json(r#"{"question":"Does this arrive?"}"#).map(Payload::Inline),
        outputs: json(r#"{"answer":"It does."}"#).map(Payload::Inline),
        extra: json(r#"{"metadata":{"thread_id":"sample-thread"}}"#),
        events: None,
        serialized: None,
        attachments: Vec::new(),
        usage: Usage::default(),
        first_token_time: None,
        modified_at: at,
    };
    StoredRun { run, feedback: vec![feedback(id, at)], changed_seq: 1 }
}

fn feedback(run: RunId, at: Timestamp) -> Feedback {
    Feedback {
        id: FeedbackId(Uuid::from_u128(0x5a1e_0004)),
        run_id: Some(run),
        trace_id: None,
        session_id: None,
        key: "user_score".to_owned(),
        score: Some(Score::Number(0.25)),
        value: None,
        comment: None,
        correction: None,
        source: None,
        extra: None,
        error: None,
        created_at: at,
        modified_at: at,
    }
}
