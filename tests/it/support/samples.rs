//! The rule, window and run of the documented payload, and variations of them.

use std::time::Duration;

use runhook::model::feedback::{Feedback, Score};
use runhook::model::id::{FeedbackId, ProjectId, RuleId, RunId, TenantId, TraceId, WindowId};
use runhook::model::json::RawJson;
use runhook::model::rule::{Actions, BatchLimits, Cadence, Rule, RuleState};
use runhook::model::run::{Payload, Run, Status, StoredRun};
use runhook::model::time::Timestamp;
use runhook::model::usage::Usage;
use runhook::model::window::{GroupKey, Progress, Window};
use runhook::payload::{Built, Request, build};
use uuid::Uuid;

/// An instant.
pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// A JSON document.
pub(crate) fn json(text: &str) -> RawJson {
    RawJson::parse(text.to_owned()).unwrap()
}

/// The rule of the documented payload, with these limits.
pub(crate) fn rule(batch: BatchLimits) -> Rule {
    Rule {
        tenant_id: TenantId::DEFAULT,
        id: RuleId(Uuid::from_u128(0xd75d_7417_0c57_4655_88fe_1db3_cda3_a47a)),
        key: "seed".into(),
        name: "The \"documented\" one".into(),
        project: "support-*".into(),
        filter: None,
        trace_filter: None,
        tree_filter: None,
        sampling_rate: 1.0,
        cadence: Cadence::DEFAULT,
        settle: Duration::ZERO,
        backfill_from: None,
        batch,
        endpoints: Vec::new(),
        state: RuleState::Active,
        origin: None,
        actions: Actions::default(),
        group_by: None,
        registration: None,
        event: None,
    }
}

/// The window of the documented payload.
pub(crate) fn window() -> Window {
    let (tenant_id, project_id) = (TenantId::DEFAULT, ProjectId(Uuid::from_u128(2)));
    let progress =
        Progress::Group(GroupKey { tenant_id, project_id, cadence: Cadence::DEFAULT, settle: Duration::ZERO });
    let end_time = at("2024-04-05T01:28:56.492563Z");
    Window {
        id: WindowId::of(tenant_id, project_id, &progress, 3, 1),
        tenant_id,
        project_id,
        progress,
        after: 3,
        through: 9,
        start_time: at("2024-04-05T01:28:54.734491Z"),
        end_time,
    }
}

/// The run of the documented payload.
pub(crate) fn documented_run() -> Run {
    let id: RunId = "6ab80f10-d79c-4fa2-b441-922ed6feb630".parse().unwrap();
    Run {
        tenant_id: "2ebda79f-2946-4491-a9ad-d642f49e0815".parse().unwrap(),
        project_id: "6a3be6a2-9a8c-4fc8-b4c6-a8983b286cc5".parse().unwrap(),
        id,
        trace_id: TraceId::from(id),
        parent_run_id: None,
        dotted_order: format!("20230505T051324571809Z{id}"),
        name: "Search".into(),
        run_type: "tool".into(),
        start_time: at("2024-04-05T01:28:54.085646"),
        end_time: Some(at("2024-04-05T01:28:54.085649")),
        status: Status::Success,
        error: None,
        tags: Vec::new(),
        reference_example_id: None,
        inputs: None,
        outputs: None,
        extra: None,
        events: None,
        serialized: None,
        attachments: Vec::new(),
        usage: Usage::default(),
        first_token_time: None,
        modified_at: at("2024-04-05T01:28:54.145062"),
    }
}

/// A run that differs from the documented one in its id and its inputs.
pub(crate) fn run_with(number: u128, inputs: Option<&str>) -> StoredRun {
    let id = RunId(Uuid::from_u128(number));
    let run = Run {
        id,
        trace_id: TraceId::from(id),
        dotted_order: format!("20240405T012854085646Z{id}"),
        inputs: inputs.map(|text| Payload::Inline(json(text))),
        ..documented_run()
    };
    StoredRun { run, feedback: Vec::new(), changed_seq: 1 }
}

/// A feedback record.
pub(crate) fn feedback(
    number: u128,
    key: &str,
    score: Option<Score>,
    value: Option<&str>,
    source: Option<&str>,
) -> Feedback {
    Feedback {
        id: FeedbackId(Uuid::from_u128(number)),
        run_id: None,
        trace_id: None,
        session_id: None,
        key: key.into(),
        score,
        value: value.map(json),
        comment: None,
        correction: None,
        source: source.map(json),
        extra: None,
        error: None,
        created_at: at("2024-04-05"),
        modified_at: at("2024-04-05"),
    }
}

/// What the rule tells of these runs.
pub(crate) fn built(batch: BatchLimits, runs: &[StoredRun]) -> Built {
    let runs: Vec<&StoredRun> = runs.iter().collect();
    let created_at = at("2024-04-05T01:28:57Z");
    build(Request {
        rule: &rule(batch),
        window: &window(),
        runs: &runs,
        threads: &[],
        project: "support-bot",
        created_at,
    })
    .unwrap()
}
