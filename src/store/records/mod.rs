//! What the rows of each table stand for. The columns come in the order in which every backend selects them.

mod attempts;
mod collections;
mod outbox;

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use crate::model::endpoint::{Disabled, Endpoint};
use crate::model::feedback::Feedback;
use crate::model::health::{Circuit, Health};
use crate::model::id::{
    AlertId, ApiKeyId, DeliveryId, EndpointId, MessageId, ProjectId, RuleId, RunId, TenantId, ThreadId, TraceId,
    WindowId,
};
use crate::model::project::Project;
use crate::model::rule::{Cadence, Rule};
use crate::model::run::{Layers, StoredRun};
use crate::model::sealed::Sealed;
use crate::model::time::Timestamp;
use crate::model::window::{Change, Cursor, GroupKey, Progress, Seq, Span, Window};
use crate::store::accept::{BodyRow, Place, WaitingRow};
use crate::store::body::unpack_json;
use crate::store::keys::ApiKey;
use crate::store::placement::Ground;
use crate::store::retention::{Aged, Candidate, Ended};
use crate::store::row::{Cells, Columns, corrupt, if_readable, pass_over_run};
use crate::store::rules::RuleSnapshot;
use crate::store::runs::Kin;
use crate::store::search::Found;
use crate::store::threads::Turn;
use crate::store::windows::{ProjectKey, Standing, Stirred};
use crate::store::{Result, StoreError};

pub(super) use attempts::{attempt, attempt_text, failed_count};
pub(super) use collections::{collection, example, log_entry, queued_run, source_run};
pub(super) use outbox::{
    End, LARGEST_CLAIMED, Upshot, answers, claims, delivery, failure, message, messages_of, notice_delivery, recorded,
    source, state_columns, state_of_columns, state_of_word, upshots, verdict, waiting_for, window_column,
    with_messages,
};

/// Why deliveries fail whose rule was removed.
pub(super) const RULE_REMOVED: &str = "rule removed";
/// Why deliveries fail whose alert was removed.
pub(super) const ALERT_REMOVED: &str = "alert removed";
/// Why deliveries fail whose endpoint was removed.
pub(super) const ENDPOINT_REMOVED: &str = "endpoint removed";
/// Why deliveries fail whose endpoint is disabled.
pub(super) const ENDPOINT_DISABLED: &str = "endpoint disabled";
/// Why deliveries fail whose endpoint a claim cannot find.
pub(super) const ENDPOINT_LOST: &str = "the endpoint is gone, or its row does not decode";

/// The states of a delivery as they are stored.
pub(super) const PENDING: i64 = 0;
pub(super) const DELIVERED: i64 = 1;
pub(super) const FAILED: i64 = 2;

pub(super) fn project(row: &impl Columns) -> Result<Project> {
    let mut cells = Cells::of("projects", row);
    Ok(Project {
        tenant_id: TenantId(cells.take()?),
        id: ProjectId(cells.take()?),
        name: cells.take()?,
        description: cells.take_or_none()?,
        extra: cells.raw_or_none()?,
        reference_dataset_id: cells.take_or_none()?,
        start_time: cells.instant()?,
        end_time: cells.instant_or_none()?,
    })
}

pub(super) fn ground(row: &impl Columns) -> Result<Ground> {
    let mut cells = Cells::of("projects", row);
    Ok(Ground { project_id: ProjectId(cells.take()?), name: cells.take()?, last_seq: cells.take()? })
}

pub(super) fn stirred(row: &impl Columns) -> Result<Stirred> {
    let mut cells = Cells::of("projects", row);
    Ok(Stirred {
        tenant_id: TenantId(cells.take()?),
        project_id: ProjectId(cells.take()?),
        name: cells.take()?,
        last_seq: cells.take()?,
    })
}

pub(super) fn project_key(row: &impl Columns) -> Result<ProjectKey> {
    let mut cells = Cells::of("project_leases", row);
    Ok((TenantId(cells.take()?), ProjectId(cells.take()?)))
}

pub(super) fn aged(row: &impl Columns) -> Result<Aged> {
    let Stirred { tenant_id, project_id, name, last_seq } = stirred(row)?;
    Ok(Aged { tenant_id, project_id, name, last_seq })
}

/// An old change, and where its run stands.
pub(super) fn candidate(row: &impl Columns) -> Result<Candidate> {
    let mut cells = Cells::of("changes", row);
    let (seq, run_id) = (cells.take()?, RunId(cells.take()?));
    let (newest, trace): (Option<Seq>, Option<Uuid>) = (cells.take_or_none()?, cells.take_or_none()?);
    Ok(Candidate { seq, run_id, stands: newest.zip(trace.map(TraceId)) })
}

pub(super) fn trace(row: &impl Columns) -> Result<TraceId> {
    Cells::of("runs", row).take().map(TraceId)
}

/// A delivery that has ended, with its message.
pub(super) fn ending(row: &impl Columns) -> Result<(TenantId, MessageId, Ended)> {
    let mut cells = Cells::of("deliveries", row);
    let (tenant, message) = (TenantId(cells.take()?), MessageId(cells.take()?));
    Ok((tenant, message, (cells.instant()?, DeliveryId(cells.take()?))))
}

pub(super) fn tenant_and_run(row: &impl Columns) -> Result<(TenantId, RunId)> {
    let mut cells = Cells::of("incomplete_runs", row);
    Ok((TenantId(cells.take()?), RunId(cells.take()?)))
}

/// What is known of a run, packed, and when it last changed if it is complete.
pub(super) fn naming(row: &impl Columns) -> Result<(RunId, Vec<u8>, Option<Timestamp>)> {
    let mut cells = Cells::of("run_bodies", row);
    Ok((RunId(cells.take()?), cells.take()?, cells.instant_or_none()?))
}

/// What a project's row gave: the last of the numbers taken, and the instant of their changes.
pub(super) fn numbers(row: &impl Columns) -> Result<(ProjectId, (Seq, Timestamp))> {
    let mut cells = Cells::of("projects", row);
    Ok((ProjectId(cells.take()?), (cells.take()?, cells.instant()?)))
}

pub(super) fn project_name(row: &impl Columns) -> Result<(ProjectId, String)> {
    let mut cells = Cells::of("projects", row);
    Ok((ProjectId(cells.take()?), cells.take()?))
}

pub(super) fn body(row: &impl Columns) -> Result<BodyRow> {
    let mut cells = Cells::of("run_bodies", row);
    Ok(BodyRow {
        run_id: RunId(cells.take()?),
        project_id: ProjectId(cells.take()?),
        body: cells.take::<Vec<u8>>()?.into(),
        is_new: false,
    })
}

/// What is stored of a run, unless it was not to be read.
pub(super) fn body_or_none(row: &impl Columns) -> Result<Option<BodyRow>> {
    let mut cells = Cells::of("run_bodies", row);
    let (run_id, project_id) = (RunId(cells.take()?), ProjectId(cells.take()?));
    Ok(cells.take_or_none::<Vec<u8>>()?.map(|body| BodyRow { run_id, project_id, body: body.into(), is_new: false }))
}

pub(super) fn waiting(row: &impl Columns) -> Result<WaitingRow> {
    let mut cells = Cells::of("waiting_parts", row);
    Ok(WaitingRow { run_id: RunId(cells.take()?), digest: cells.take::<i64>()?.cast_unsigned(), part: cells.take()? })
}

pub(super) fn place(row: &impl Columns) -> Result<Place> {
    let mut cells = Cells::of("runs", row);
    Ok((RunId(cells.take()?), ProjectId(cells.take()?), TraceId(cells.take()?)))
}

/// A run with the number and the instant of its newest change.
pub(super) fn newest(row: &impl Columns) -> Result<(RunId, (Seq, Timestamp))> {
    let mut cells = Cells::of("runs", row);
    Ok((RunId(cells.take()?), (cells.take()?, cells.instant()?)))
}

pub(super) fn found(row: &impl Columns) -> Result<Found> {
    let mut cells = Cells::of("runs", row);
    let (run_id, project_id, trace_id) = (RunId(cells.take()?), ProjectId(cells.take()?), TraceId(cells.take()?));
    Ok(Found { run_id, project_id, trace_id, start_time: cells.instant()? })
}

pub(super) fn kin(row: &impl Columns) -> Result<Kin> {
    let mut cells = Cells::of("runs", row);
    let (run_id, trace_id) = (RunId(cells.take()?), TraceId(cells.take()?));
    Ok(Kin { run_id, trace_id, parent_run_id: cells.take_or_none()?.map(RunId) })
}

/// A run, if it is complete, without its feedback.
pub(super) fn run(tenant: TenantId, row: &impl Columns) -> Result<Option<StoredRun>> {
    let mut cells = Cells::of("runs", row);
    let (run_id, project) = (RunId(cells.take()?), ProjectId(cells.take()?));
    let changed_seq = cells.take()?;
    let modified_at = cells.instant()?;
    let layers: Layers = unpack_json("run_bodies", cells.take()?)?;
    let run = layers.resolve(tenant, project, run_id, modified_at);
    Ok(run.map(|run| StoredRun { run, feedback: Vec::new(), changed_seq }))
}

/// The complete runs among these rows, save those that do not decode.
pub(super) fn runs<R: Columns>(tenant: TenantId, rows: &[R]) -> Result<Vec<StoredRun>> {
    let mut runs = Vec::with_capacity(rows.len());
    for row in rows {
        match run(tenant, row) {
            Ok(run) => runs.extend(run),
            Err(error @ StoreError::Corrupt { .. }) => {
                pass_over_run(Cells::of("runs", row).take().ok().map(RunId), &error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(runs)
}

/// Gives runs their feedback, which comes oldest first.
pub(super) fn attach(runs: &mut [StoredRun], feedback: Vec<Feedback>) {
    let index: HashMap<RunId, usize> = runs.iter().enumerate().map(|(at, stored)| (stored.run.id, at)).collect();
    for record in feedback {
        let run = record.run_id.and_then(|run| index.get(&run));
        if let Some(stored) = run.and_then(|at| runs.get_mut(*at)) {
            stored.feedback.push(record);
        }
    }
}

pub(super) fn feedback(row: &impl Columns) -> Result<Feedback> {
    Cells::of("feedback", row).json()
}

/// Takes up one row of the rules that are active, with their version, which each row begins with. They are many, so no
/// row is kept.
pub(super) fn join(snapshot: &mut RuleSnapshot, row: &impl Columns) -> Result<()> {
    let mut cells = Cells::of("rules", row);
    snapshot.version = cells.take()?;
    snapshot.rules.extend(if_readable(cells.json_or_none())?.flatten());
    Ok(())
}

pub(super) fn rule(row: &impl Columns) -> Result<Rule> {
    Cells::of("rules", row).json()
}

/// A rule's id and its key.
pub(super) fn rule_key(row: &impl Columns) -> Result<(RuleId, String)> {
    let mut cells = Cells::of("rules", row);
    Ok((RuleId(cells.take()?), cells.take()?))
}

pub(super) fn endpoint(row: &impl Columns) -> Result<Endpoint> {
    let mut cells = Cells::of("endpoints", row);
    Ok(Endpoint {
        tenant_id: TenantId(cells.take()?),
        id: EndpointId(cells.take()?),
        key: cells.take_or_none()?,
        rule_id: cells.take_or_none()?.map(RuleId),
        target: Sealed(cells.take()?),
        shown: cells.json()?,
        format: cells.json()?,
        policy: cells.json()?,
        overrides: cells.json_or_none()?.unwrap_or_default(),
        origin: cells.take_or_none()?,
        disabled: {
            let (at, reason) = (cells.instant_or_none()?, cells.take_or_none()?.unwrap_or_default());
            at.map(|at| Disabled { at, reason })
        },
        health: Health { failing_since: cells.instant_or_none()?, circuit: circuit(&mut cells)? },
        alert_id: cells.take_or_none()?.map(AlertId),
    })
}

/// A circuit: until when it is open, and how often it has opened.
fn circuit(cells: &mut Cells<'_>) -> Result<Option<Circuit>> {
    let (until, openings) = (cells.instant_or_none()?, cells.take_or_none::<i64>()?);
    let openings = openings.map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX));
    Ok(until.map(|until| Circuit { until, openings }))
}

pub(super) fn sealed_target(row: &impl Columns) -> Result<(EndpointId, Sealed)> {
    let mut cells = Cells::of("endpoints", row);
    Ok((EndpointId(cells.take()?), Sealed(cells.take()?)))
}

pub(super) fn change(row: &impl Columns) -> Result<Change> {
    let mut cells = Cells::of("changes", row);
    Ok(Change {
        seq: cells.take()?,
        run_id: RunId(cells.take()?),
        trace_id: TraceId(cells.take()?),
        at: cells.instant()?,
        left: cells.take_or_none()?.map(ThreadId),
    })
}

/// A run with the thread that it is a turn of, if it is one.
pub(super) fn thread_of(row: &impl Columns) -> Result<Option<(RunId, ThreadId)>> {
    let mut cells = Cells::of("runs", row);
    let run = RunId(cells.take()?);
    Ok(cells.take_or_none()?.map(|thread| (run, ThreadId(thread))))
}

pub(super) fn turn(row: &impl Columns) -> Result<Turn> {
    let mut cells = Cells::of("runs", row);
    let (thread, run_id) = (ThreadId(cells.take()?), RunId(cells.take()?));
    Ok(Turn { thread, run_id, start_time: Timestamp(cells.take()?), newest: cells.take()? })
}

pub(super) fn matched(row: &impl Columns) -> Result<(RuleId, RunId)> {
    let mut cells = Cells::of("matches", row);
    Ok((RuleId(cells.take()?), RunId(cells.take()?)))
}

/// A window, and how many runs it found.
pub(super) fn window(tenant_id: TenantId, row: &impl Columns) -> Result<(Window, u32)> {
    let mut cells = Cells::of("windows", row);
    let window = Window {
        id: WindowId(cells.take()?),
        tenant_id,
        project_id: ProjectId(cells.take()?),
        progress: cells.json::<Progress>()?,
        after: cells.take()?,
        through: cells.take()?,
        start_time: cells.instant()?,
        end_time: cells.instant()?,
    };
    Ok((window, cells.count()?))
}

/// How many runs each rule found.
pub(super) fn finds(matches: &[(RuleId, RunId)]) -> Vec<(RuleId, i64)> {
    let mut found: HashMap<RuleId, i64> = HashMap::new();
    for (rule, _) in matches {
        let count = found.entry(*rule).or_default();
        *count = count.saturating_add(1);
    }
    found.into_iter().collect()
}

pub(super) fn cursor(tenant: TenantId, row: &impl Columns) -> Result<(GroupKey, Cursor)> {
    let mut cells = Cells::of("group_cursors", row);
    let key = GroupKey {
        tenant_id: tenant,
        project_id: ProjectId(cells.take()?),
        cadence: cells.json()?,
        settle: Duration::from_micros(cells.take::<i64>()?.cast_unsigned()),
    };
    Ok((key, Cursor { seq: cells.take()?, at: cells.instant()? }))
}

/// How far a project's evaluation has come, in one statement, as it is all moved together: its cursors, its spans, and
/// its last start. Each row has the columns of all three, and those that are not its own are null or 0.
pub(super) const STANDING: &str = "SELECT NULL AS rule_id, cadence, settle_us AS one, seq AS two, seen_at AS three \
     FROM group_cursors WHERE tenant_id = $1 AND project_id = $2 \
     UNION ALL SELECT rule_id, NULL, after_seq, through_seq, 0 FROM rule_spans WHERE tenant_id = $1 AND project_id = $2 \
     UNION ALL SELECT NULL, NULL, coalesce(max(start_seq), 0), 0, 0 FROM rule_starts \
     WHERE tenant_id = $1 AND project_id = $2";

pub(super) fn standing(tenant_id: TenantId, project_id: ProjectId, rows: &[impl Columns]) -> Result<Standing> {
    let mut standing = Standing::default();
    for row in rows {
        let mut cells = Cells::of("standing", row);
        let rule_id = cells.take_or_none()?.map(RuleId);
        let cadence: Option<Cadence> = cells.json_or_none()?;
        let (one, two, at) = (cells.take::<i64>()?, cells.take::<i64>()?, cells.instant()?);
        match (rule_id, cadence) {
            (Some(rule_id), _) => {
                standing.spans.push(Span { tenant_id, project_id, rule_id, after: one, through: two });
            }
            (None, Some(cadence)) => {
                let settle = Duration::from_micros(one.cast_unsigned());
                let key = GroupKey { tenant_id, project_id, cadence, settle };
                standing.groups.insert(key, Cursor { seq: two, at });
            }
            (None, None) => standing.last_start = one,
        }
    }
    Ok(standing)
}

pub(super) fn start(row: &impl Columns) -> Result<((ProjectId, RuleId), Seq)> {
    let mut cells = Cells::of("rule_starts", row);
    Ok(((ProjectId(cells.take()?), RuleId(cells.take()?)), cells.take()?))
}

/// What is left of a span after a window, if anything is.
pub(super) fn rest_of_span(window: &Window, rule_id: RuleId, through: Seq) -> Option<Span> {
    let (tenant_id, project_id) = (window.tenant_id, window.project_id);
    (window.through < through).then_some(Span { tenant_id, project_id, rule_id, after: window.through, through })
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn api_key(row: &impl Columns) -> Result<ApiKey> {
    let mut cells = Cells::of("api_keys", row);
    Ok(ApiKey {
        tenant_id: TenantId(cells.take()?),
        id: ApiKeyId(cells.take()?),
        name: cells.take()?,
        hash: cells.take::<Vec<u8>>()?.try_into().map_err(|_| corrupt("api_keys", &"a hash has not 32 bytes"))?,
        prefix: cells.take()?,
        scopes: cells.take::<&str>()?.parse().map_err(|error| corrupt("api_keys", &error))?,
        created_at: cells.instant()?,
        revoked_at: cells.instant_or_none()?,
    })
}
