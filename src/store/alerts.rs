//! Alerts. Like rules they have endpoints of their own; unlike rules their whole evaluation is one row, so that one
//! comparison of its version makes a state and what is said of it happen once.

use async_trait::async_trait;

use crate::model::alert::{Alert, Kept, Standing};
use crate::model::audit::Entry;
use crate::model::delivery::Delivery;
use crate::model::endpoint::Endpoint;
use crate::model::id::{AlertId, EndpointId, ProjectId, TenantId};
use crate::model::message::Message;
use crate::model::time::Timestamp;
use crate::model::window::Seq;
use crate::store::revision::{RuleRows, put_endpoints};
use crate::store::row::{Cells, Columns, json_text};
use crate::store::{Result, StoreError};

/// An alert to be added or replaced, with its endpoints.
#[derive(Debug, Clone)]
pub struct AlertPut {
    /// The alert.
    pub alert: Alert,
    /// The version it replaces; none when it is new.
    pub before: Option<i64>,
    /// How it stands, unless it goes on standing as it does.
    pub standing: Option<(Standing, Timestamp)>,
    /// Endpoints to add or replace.
    pub put_endpoints: Vec<Endpoint>,
    /// Endpoints to remove.
    pub remove_endpoints: Vec<EndpointId>,
    /// Alerts the tenant may have.
    pub most: u32,
    /// The present.
    pub now: Timestamp,
    /// What the audit log is told, if it is stored.
    pub told: Option<Entry>,
}

/// What an evaluation of an alert found.
#[derive(Debug, Clone)]
pub struct AlertCommit {
    /// Its owner.
    pub tenant_id: TenantId,
    /// The alert.
    pub id: AlertId,
    /// The version that was evaluated.
    pub version: i64,
    /// How it stands now.
    pub standing: Standing,
    /// Up to which minute it was judged.
    pub evaluated_at: Timestamp,
    /// The last change it has seen.
    pub seen: Seq,
    /// Whether the answer may change although nothing else does.
    pub restless: bool,
    /// What is to be said.
    pub messages: Vec<Message>,
    /// To whom.
    pub deliveries: Vec<Delivery>,
}

/// What a put leaves to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is stored.
    Stored,
    /// The tenant has as many alerts as it may have; nothing was stored.
    Full,
}

/// Alerts.
#[async_trait]
pub trait AlertStore: Send + Sync {
    /// Adds an alert, or replaces what it was. `NotFound` when the project is not there, `Stale` when another version
    /// than `before` is. One whose standing is given is evaluated anew from its window's beginning.
    async fn put_alert(&self, put: AlertPut) -> Result<Put>;

    /// Removes an alert of a project with its endpoints; its waiting deliveries fail as `alert removed`. Whether it was
    /// there.
    async fn remove_alert(
        &self,
        tenant: TenantId,
        project: ProjectId,
        id: AlertId,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool>;

    /// An alert.
    async fn alert(&self, tenant: TenantId, id: AlertId) -> Result<Option<Kept>>;

    /// A tenant's alerts, oldest first.
    async fn list_alerts(&self, tenant: TenantId) -> Result<Vec<Kept>>;

    /// Alerts that were not judged up to this minute and whose answer may have changed, `limit` of those after `after`.
    async fn due_alerts(&self, minute: Timestamp, after: Option<(TenantId, AlertId)>, limit: u32) -> Result<Vec<Kept>>;

    /// Commits an evaluation: standing, messages and deliveries. `Stale` if the alert has another version, or is gone:
    /// then nothing was written.
    async fn commit_alert(&self, commit: AlertCommit) -> Result<()>;
}

/// The columns of an alert, with its project's name. One whose project is gone is not there.
pub(super) const COLUMNS: &str = "SELECT a.alert, a.version, a.standing, a.evaluated_at, a.seen_seq, p.name \
     FROM alerts a JOIN projects p ON p.tenant_id = a.tenant_id AND p.project_id = a.project_id";

/// What a row stands for.
pub(super) fn kept(row: &impl Columns) -> Result<Kept> {
    let mut cells = Cells::of("alerts", row);
    Ok(Kept {
        alert: cells.json()?,
        version: cells.take()?,
        standing: cells.json()?,
        evaluated_at: cells.instant()?,
        seen: Some(cells.take()?).filter(|seq| *seq >= 0),
        project: cells.take()?,
    })
}

/// What is written of an evaluation, or of a standing that begins.
pub(super) struct StandingRow {
    pub(super) standing: String,
    pub(super) evaluated_at: i64,
    pub(super) seen: Seq,
    pub(super) restless: i64,
}

impl StandingRow {
    fn beginning(standing: &Standing, at: Timestamp) -> Result<Self> {
        Ok(Self { standing: json_text(standing)?, evaluated_at: at.0, seen: -1, restless: 1 })
    }

    fn of(commit: &AlertCommit) -> Result<Self> {
        Ok(Self {
            standing: json_text(&commit.standing)?,
            evaluated_at: commit.evaluated_at.0,
            seen: commit.seen,
            restless: i64::from(commit.restless),
        })
    }
}

/// The rows behind [`AlertStore`]. A method is a statement or two; nothing here decides.
#[async_trait]
pub(super) trait AlertRows: RuleRows {
    /// Keeps whoever else puts alerts of the tenant away, and the project where it is. Whether that is there.
    async fn hold(&mut self, tenant: TenantId, project: ProjectId) -> Result<bool>;

    /// How many alerts the tenant has.
    async fn count(&mut self, tenant: TenantId) -> Result<i64>;

    /// The version and the text of an alert.
    async fn stored(&mut self, tenant: TenantId, id: AlertId) -> Result<Option<(i64, String, i64)>>;

    /// Adds one.
    async fn insert(&mut self, alert: &Alert, text: &str, standing: &StandingRow) -> Result<()>;

    /// Replaces the text of one of this version. Whether it was there.
    async fn rewrite(&mut self, alert: &Alert, text: &str, before: i64) -> Result<bool>;

    /// Replaces how one of this version stands; the version rises if `rises`. Whether it was there.
    async fn restand(
        &mut self,
        tenant: TenantId,
        id: AlertId,
        standing: &StandingRow,
        before: i64,
        rises: bool,
    ) -> Result<bool>;

    /// Removes one with its endpoints, and ends what waits for it. Whether it was there.
    async fn delete(&mut self, tenant: TenantId, project: ProjectId, id: AlertId, now: Timestamp) -> Result<bool>;

    /// Stores what is said.
    async fn tell(&mut self, tenant: TenantId, messages: &[Message], deliveries: &[Delivery]) -> Result<()>;
}

/// [`AlertStore::put_alert`]. `in_doubt`: it may have happened already.
pub(super) async fn put(rows: &mut dyn AlertRows, put: &AlertPut, in_doubt: bool) -> Result<Put> {
    let (alert, tenant) = (&put.alert, put.alert.tenant_id);
    if !rows.hold(tenant, alert.project_id).await? {
        return Err(StoreError::NotFound("session"));
    }
    let text = json_text(alert)?;
    let stored = rows.stored(tenant, alert.id).await?;
    if in_doubt && stored.as_ref().is_some_and(|(_, there, _)| *there == text) {
        return Ok(Put::Stored);
    }
    match (put.before, stored) {
        (None, Some(_)) => return Err(StoreError::Conflict("an alert with this id".to_owned())),
        (None, None) => {
            if rows.count(tenant).await? >= i64::from(put.most) {
                return Ok(Put::Full);
            }
            let (standing, at) = put.standing.clone().unwrap_or_default();
            rows.insert(alert, &text, &StandingRow::beginning(&standing, at)?).await?;
        }
        (Some(before), _) => {
            if !rows.rewrite(alert, &text, before).await? {
                return Err(StoreError::Stale("the alert"));
            }
            if let Some((standing, at)) = &put.standing {
                let row = StandingRow::beginning(standing, *at)?;
                rows.restand(tenant, alert.id, &row, before.saturating_add(1), false).await?;
            }
        }
    }
    put_endpoints(&mut *rows, tenant, &put.put_endpoints).await?;
    if !put.remove_endpoints.is_empty() {
        rows.remove_endpoints(tenant, &put.remove_endpoints, put.now).await?;
    }
    Ok(Put::Stored)
}

/// [`AlertStore::commit_alert`].
pub(super) async fn commit(rows: &mut dyn AlertRows, commit: &AlertCommit, in_doubt: bool) -> Result<()> {
    let (tenant, id) = (commit.tenant_id, commit.id);
    if rows.restand(tenant, id, &StandingRow::of(commit)?, commit.version, true).await? {
        return rows.tell(tenant, &commit.messages, &commit.deliveries).await;
    }
    let after = (commit.version.saturating_add(1), commit.evaluated_at.0);
    let is_mine = |(version, _, evaluated_at): &(i64, String, i64)| (*version, *evaluated_at) == after;
    match rows.stored(tenant, id).await? {
        // Whoever came first in this minute has said all there is to say.
        Some(stored) if in_doubt && is_mine(&stored) => Ok(()),
        _ => Err(StoreError::Stale("the alert")),
    }
}
