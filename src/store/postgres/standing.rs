//! How far evaluation has come: cursors, starts and spans.

use std::collections::HashMap;

use uuid::Uuid;

use crate::model::id::{ProjectId, RuleId, TenantId};
use crate::model::window::{Cursor, GroupKey, Progress, Seq, Span, Window};
use crate::store::placement::Moves;
use crate::store::postgres::session::Session;
use crate::store::records::{cursor, micros, rest_of_span, start};
use crate::store::row::json_text;
use crate::store::{Result, StoreError};

const CURSORS: &str = "SELECT project_id, cadence, settle_us, seq, seen_at FROM group_cursors WHERE tenant_id = $1";

const STARTS: &str = "SELECT project_id, rule_id, start_seq FROM rule_starts WHERE tenant_id = $1";

const STARTS_BEYOND: &str = "SELECT project_id, rule_id, start_seq FROM rule_starts \
     WHERE tenant_id = $1 AND project_id = $2 AND start_seq > $3";

const SET_CURSOR: &str = "INSERT INTO group_cursors (tenant_id, project_id, cadence, settle_us, seq, seen_at) \
     VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT (tenant_id, project_id, cadence, settle_us) DO UPDATE SET seq = excluded.seq, \
     seen_at = excluded.seen_at";

/// A cursor that is not there is at 0, so only a window from 0 may make it. One that is there is locked, and its number
/// looked at, as it was last committed.
const MOVE_CURSOR: &str = "INSERT INTO group_cursors (tenant_id, project_id, cadence, settle_us, seq, seen_at) \
     SELECT $1, $2, $3, $4, $5, $6 WHERE $7::bigint = 0 OR EXISTS (SELECT 1 FROM group_cursors \
     WHERE tenant_id = $1 AND project_id = $2 AND cadence = $3 AND settle_us = $4) \
     ON CONFLICT (tenant_id, project_id, cadence, settle_us) DO UPDATE SET seq = excluded.seq, \
     seen_at = excluded.seen_at WHERE group_cursors.seq = $7";

const REACHED: &str = "SELECT 1 FROM group_cursors WHERE tenant_id = $1 AND project_id = $2 AND cadence = $3 \
     AND settle_us = $4 AND seq = $5 AND seen_at = $6";

const SET_START: &str = "INSERT INTO rule_starts (tenant_id, project_id, rule_id, start_seq) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (tenant_id, project_id, rule_id) DO UPDATE SET start_seq = excluded.start_seq";

const ADD_SPAN: &str = "INSERT INTO rule_spans (tenant_id, project_id, rule_id, after_seq, through_seq) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, project_id, rule_id, after_seq) DO UPDATE SET \
     through_seq = greatest(rule_spans.through_seq, excluded.through_seq)";

const TAKE_SPAN: &str = "DELETE FROM rule_spans WHERE tenant_id = $1 AND project_id = $2 AND rule_id = $3 \
     AND after_seq = $4 RETURNING through_seq";

const FORGET: [&str; 2] = [
    "DELETE FROM rule_starts WHERE tenant_id = $1 AND project_id = $2 AND rule_id = $3",
    "DELETE FROM rule_spans WHERE tenant_id = $1 AND project_id = $2 AND rule_id = $3",
];

const FORGET_RULES: [&str; 2] = [
    "DELETE FROM rule_starts WHERE tenant_id = $1 AND rule_id = ANY($2::uuid[])",
    "DELETE FROM rule_spans WHERE tenant_id = $1 AND rule_id = ANY($2::uuid[])",
];

const UNSETTLE: &str =
    "UPDATE projects SET settled_seq = least(settled_seq, $3) WHERE tenant_id = $1 AND project_id = $2";

/// Where rules begin that begin behind a number.
pub(super) async fn starts_beyond(
    connection: &mut Session,
    tenant: TenantId,
    project: ProjectId,
    beyond: Seq,
) -> Result<HashMap<RuleId, Seq>> {
    let query = sqlx::query(STARTS_BEYOND).bind(tenant.0).bind(project.0).bind(beyond);
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| start(row).map(|((_, rule), seq)| (rule, seq))).collect()
}

/// All cursors of a tenant.
pub(super) async fn cursors(connection: &mut Session, tenant: TenantId) -> Result<HashMap<GroupKey, Cursor>> {
    sqlx::query(CURSORS).bind(tenant.0).fetch_all(connection).await?.iter().map(|row| cursor(tenant, row)).collect()
}

/// All starts of a tenant.
pub(super) async fn starts(connection: &mut Session, tenant: TenantId) -> Result<HashMap<(ProjectId, RuleId), Seq>> {
    sqlx::query(STARTS).bind(tenant.0).fetch_all(connection).await?.iter().map(start).collect()
}

/// Writes where rules have come to stand.
pub(super) async fn store_moves(connection: &mut Session, tenant: TenantId, moves: &Moves) -> Result<()> {
    for (project, rule) in &moves.forget {
        for statement in FORGET {
            sqlx::query(statement).bind(tenant.0).bind(project.0).bind(rule.0).execute(&mut *connection).await?;
        }
    }
    for (project, rule, seq) in &moves.starts {
        let query = sqlx::query(SET_START).bind(tenant.0).bind(project.0).bind(rule.0).bind(seq);
        query.execute(&mut *connection).await?;
    }
    for span in &moves.spans {
        add_span(connection, span).await?;
    }
    for (key, cursor) in &moves.cursors {
        let query = sqlx::query(SET_CURSOR).bind(key.tenant_id.0).bind(key.project_id.0);
        let query = query.bind(json_text(&key.cadence)?).bind(micros(key.settle)).bind(cursor.seq).bind(cursor.at.0);
        query.execute(&mut *connection).await?;
    }
    for (project, seq) in &moves.unsettle {
        sqlx::query(UNSETTLE).bind(tenant.0).bind(project.0).bind(seq).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Drops all starts and spans of these rules.
pub(super) async fn forget_rules(connection: &mut Session, tenant: TenantId, rules: &[Uuid]) -> Result<()> {
    for statement in FORGET_RULES {
        sqlx::query(statement).bind(tenant.0).bind(rules).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Moves on what a window is the progress of, if it is where the window begins.
pub(super) async fn advance(connection: &mut Session, window: &Window) -> Result<()> {
    match &window.progress {
        Progress::Group(key) => advance_cursor(connection, window, key).await,
        Progress::Span(rule) => advance_span(connection, window, *rule).await,
    }
}

/// Whether a group's cursor is exactly where this window leaves it.
pub(super) async fn reached(connection: &mut Session, window: &Window) -> Result<bool> {
    let Progress::Group(key) = &window.progress else { return Ok(false) };
    let query = sqlx::query(REACHED).bind(window.tenant_id.0).bind(window.project_id.0);
    let query = query.bind(json_text(&key.cadence)?).bind(micros(key.settle));
    let found = query.bind(window.through).bind(window.end_time.0).fetch_optional(connection).await?;
    Ok(found.is_some())
}

async fn advance_cursor(connection: &mut Session, window: &Window, key: &GroupKey) -> Result<()> {
    let moved = sqlx::query(MOVE_CURSOR)
        .bind(window.tenant_id.0)
        .bind(window.project_id.0)
        .bind(json_text(&key.cadence)?)
        .bind(micros(key.settle))
        .bind(window.through)
        .bind(window.end_time.0)
        .bind(window.after)
        .execute(connection)
        .await?;
    if moved.rows_affected() == 0 {
        return Err(StoreError::Stale("the group's cursor has moved"));
    }
    Ok(())
}

async fn advance_span(connection: &mut Session, window: &Window, rule: RuleId) -> Result<()> {
    let taken: Option<(Seq,)> = sqlx::query_as(TAKE_SPAN)
        .bind(window.tenant_id.0)
        .bind(window.project_id.0)
        .bind(rule.0)
        .bind(window.after)
        .fetch_optional(&mut *connection)
        .await?;
    let Some((through,)) = taken else { return Err(StoreError::Stale("the rule's span has moved")) };
    match rest_of_span(window, rule, through) {
        Some(rest) => add_span(connection, &rest).await,
        None => Ok(()),
    }
}

async fn add_span(connection: &mut Session, span: &Span) -> Result<()> {
    let query = sqlx::query(ADD_SPAN).bind(span.tenant_id.0).bind(span.project_id.0).bind(span.rule_id.0);
    query.bind(span.after).bind(span.through).execute(connection).await?;
    Ok(())
}

/// Hot statements, each with the indexes that serve it.
#[cfg(test)]
pub(super) const PLANNED: &[(&str, &[&str])] = &[
    (crate::store::records::STANDING, &["group_cursors_pkey", "rule_starts_by_seq"]),
    (STARTS_BEYOND, &["rule_starts_by_seq"]),
];
