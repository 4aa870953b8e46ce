//! How far evaluation has come: cursors, starts and spans.

use std::collections::HashMap;

use sqlx::sqlite::SqliteConnection;

use crate::model::id::{ProjectId, RuleId, TenantId};
use crate::model::window::{Cursor, GroupKey, Progress, Seq, Span, Window};
use crate::store::placement::Moves;
use crate::store::records::{cursor, micros, rest_of_span, start};
use crate::store::row::json_text;
use crate::store::sqlite::row::{Insert, insert};
use crate::store::{Result, StoreError};

const CURSORS: &str = "SELECT project_id, cadence, settle_us, seq, seen_at FROM group_cursors WHERE tenant_id = $1";

const STARTS: &str = "SELECT project_id, rule_id, start_seq FROM rule_starts WHERE tenant_id = $1";

const STARTS_BEYOND: &str = "SELECT project_id, rule_id, start_seq FROM rule_starts \
     WHERE tenant_id = $1 AND project_id = $2 AND start_seq > $3";

const SET_CURSOR: Insert = Insert {
    head: "INSERT INTO group_cursors (tenant_id, project_id, cadence, settle_us, seq, seen_at) VALUES",
    columns: 6,
    tail: "ON CONFLICT (tenant_id, project_id, cadence, settle_us) DO UPDATE SET seq = excluded.seq, \
           seen_at = excluded.seen_at",
};

/// A cursor that is not there is at 0, so only a window from 0 may make it.
const MOVE_CURSOR: &str = "INSERT INTO group_cursors (tenant_id, project_id, cadence, settle_us, seq, seen_at) \
     SELECT $1, $2, $3, $4, $5, $6 WHERE $7 = 0 OR EXISTS (SELECT 1 FROM group_cursors \
     WHERE tenant_id = $1 AND project_id = $2 AND cadence = $3 AND settle_us = $4) \
     ON CONFLICT (tenant_id, project_id, cadence, settle_us) DO UPDATE SET seq = excluded.seq, \
     seen_at = excluded.seen_at WHERE group_cursors.seq = $7";

const SET_START: Insert = Insert {
    head: "INSERT INTO rule_starts (tenant_id, project_id, rule_id, start_seq) VALUES",
    columns: 4,
    tail: "ON CONFLICT (tenant_id, project_id, rule_id) DO UPDATE SET start_seq = excluded.start_seq",
};

const ADD_SPAN: Insert = Insert {
    head: "INSERT INTO rule_spans (tenant_id, project_id, rule_id, after_seq, through_seq) VALUES",
    columns: 5,
    tail: "ON CONFLICT (tenant_id, project_id, rule_id, after_seq) DO UPDATE SET \
           through_seq = max(through_seq, excluded.through_seq)",
};

const TAKE_SPAN: &str = "DELETE FROM rule_spans WHERE tenant_id = $1 AND project_id = $2 AND rule_id = $3 \
     AND after_seq = $4 RETURNING through_seq";

const FORGET_START: &str = "DELETE FROM rule_starts WHERE tenant_id = $1 AND project_id = $2 AND rule_id = $3";

const FORGET_SPANS: &str = "DELETE FROM rule_spans WHERE tenant_id = $1 AND project_id = $2 AND rule_id = $3";

const FORGET_RULES: [&str; 2] = [
    "DELETE FROM rule_starts WHERE tenant_id = $1 AND rule_id IN (SELECT unhex(value) FROM json_each($2))",
    "DELETE FROM rule_spans WHERE tenant_id = $1 AND rule_id IN (SELECT unhex(value) FROM json_each($2))",
];

const UNSETTLE: &str =
    "UPDATE projects SET settled_seq = min(settled_seq, $3) WHERE tenant_id = $1 AND project_id = $2";

/// Where rules begin that begin behind a number.
pub(super) async fn starts_beyond(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    project: ProjectId,
    beyond: Seq,
) -> Result<HashMap<RuleId, Seq>> {
    let query = sqlx::query(STARTS_BEYOND).bind(tenant.0).bind(project.0).bind(beyond);
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| start(row).map(|((_, rule), seq)| (rule, seq))).collect()
}

/// All cursors of a tenant.
pub(super) async fn cursors(connection: &mut SqliteConnection, tenant: TenantId) -> Result<HashMap<GroupKey, Cursor>> {
    sqlx::query(CURSORS).bind(tenant.0).fetch_all(connection).await?.iter().map(|row| cursor(tenant, row)).collect()
}

/// All starts of a tenant.
pub(super) async fn starts(
    connection: &mut SqliteConnection,
    tenant: TenantId,
) -> Result<HashMap<(ProjectId, RuleId), Seq>> {
    sqlx::query(STARTS).bind(tenant.0).fetch_all(connection).await?.iter().map(start).collect()
}

/// Writes where rules have come to stand.
pub(super) async fn store_moves(connection: &mut SqliteConnection, tenant: TenantId, moves: &Moves) -> Result<()> {
    for (project, rule) in &moves.forget {
        for text in [FORGET_START, FORGET_SPANS] {
            sqlx::query(text).bind(tenant.0).bind(project.0).bind(rule.0).execute(&mut *connection).await?;
        }
    }
    insert(connection, &SET_START, &moves.starts, |values, (project, rule, seq)| {
        values.push(tenant.0).push(project.0).push(rule.0).push(*seq);
    })
    .await?;
    insert(connection, &ADD_SPAN, &moves.spans, push_span).await?;
    let cursors = moves
        .cursors
        .iter()
        .map(|(key, cursor)| Ok((key, json_text(&key.cadence)?, cursor)))
        .collect::<Result<Vec<_>>>()?;
    insert(connection, &SET_CURSOR, &cursors, |values, (key, cadence, cursor)| {
        values.push(key.tenant_id.0).push(key.project_id.0).push(cadence.as_str()).push(micros(key.settle));
        values.push(cursor.seq).push(cursor.at.0);
    })
    .await?;
    for (project, seq) in &moves.unsettle {
        sqlx::query(UNSETTLE).bind(tenant.0).bind(project.0).bind(seq).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Drops all starts and spans of these rules.
pub(super) async fn forget_rules(connection: &mut SqliteConnection, tenant: TenantId, rules: &str) -> Result<()> {
    for text in FORGET_RULES {
        sqlx::query(text).bind(tenant.0).bind(rules).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Moves on what a window is the progress of, if it is where the window begins.
pub(super) async fn advance(connection: &mut SqliteConnection, window: &Window) -> Result<()> {
    match &window.progress {
        Progress::Group(key) => advance_cursor(connection, window, key).await,
        Progress::Span(rule) => advance_span(connection, window, *rule).await,
    }
}

async fn advance_cursor(connection: &mut SqliteConnection, window: &Window, key: &GroupKey) -> Result<()> {
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

async fn advance_span(connection: &mut SqliteConnection, window: &Window, rule: RuleId) -> Result<()> {
    let taken: Option<(Seq,)> = sqlx::query_as(TAKE_SPAN)
        .bind(window.tenant_id.0)
        .bind(window.project_id.0)
        .bind(rule.0)
        .bind(window.after)
        .fetch_optional(&mut *connection)
        .await?;
    let Some((through,)) = taken else { return Err(StoreError::Stale("the rule's span has moved")) };
    if let Some(rest) = rest_of_span(window, rule, through) {
        insert(connection, &ADD_SPAN, &[rest], push_span).await?;
    }
    Ok(())
}

fn push_span(values: &mut crate::store::sqlite::row::Values, span: &Span) {
    values.push(span.tenant_id.0).push(span.project_id.0).push(span.rule_id.0).push(span.after).push(span.through);
}

/// Further statements that requests and loops run, each with the step its plan must have.
#[cfg(test)]
pub(super) const PLANNED: [(&str, &str); 6] = [
    (crate::store::records::STANDING, "SEARCH group_cursors USING PRIMARY KEY (tenant_id=? AND project_id=?)"),
    (
        crate::store::records::STANDING,
        "SEARCH rule_starts USING COVERING INDEX rule_starts_by_seq (tenant_id=? AND project_id=?)",
    ),
    (
        STARTS_BEYOND,
        "SEARCH rule_starts USING COVERING INDEX rule_starts_by_seq (tenant_id=? AND project_id=? AND start_seq>?)",
    ),
    (crate::store::records::STANDING, "SEARCH rule_spans USING PRIMARY KEY (tenant_id=? AND project_id=?)"),
    (TAKE_SPAN, "SEARCH rule_spans USING PRIMARY KEY (tenant_id=? AND project_id=? AND rule_id=? AND after_seq=?)"),
    (
        MOVE_CURSOR,
        "SEARCH group_cursors USING PRIMARY KEY (tenant_id=? AND project_id=? AND cadence=? AND settle_us=?)",
    ),
];
