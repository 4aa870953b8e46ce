//! The loop: once a minute, every alert whose answer may have changed.
//!
//! An alert that fails is left to the next pass, and holds up no other. Of several replicas that evaluate the same alert
//! the first one commits; the others find that out and go on.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::alert::judge::{self, Turn};
use crate::alert::measure;
use crate::alert::notice::{self, Place};
use crate::model::alert::{Kept, beginning_of, minute_of};
use crate::model::id::{AlertId, TenantId};
use crate::model::time::{Clock, Timestamp};
use crate::store::alerts::AlertCommit;
use crate::store::{Result, Store, StoreError};
use crate::task::{Activity, Next, Poke};

/// Alerts read in one statement.
const PAGE: u32 = 100;

/// When an alert that failed is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// What a [`Watcher`] is made of.
pub struct Parts {
    /// Where runs are read and notices committed.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Wakes the delivery loop.
    pub delivery: Poke,
    /// How this server is reached, for the links in notices.
    pub public_url: Url,
}

/// Watches alerts.
pub struct Watcher {
    parts: Parts,
}

impl Watcher {
    /// A watcher.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// Evaluates all that is due. Whether all went well.
    async fn evaluate_due(&self, minute: i64) -> Result<bool> {
        let mut after: Option<(TenantId, AlertId)> = None;
        let mut is_well = true;
        loop {
            let due = self.parts.store.due_alerts(beginning_of(minute), after, PAGE).await?;
            let Some(last) = due.last() else { return Ok(is_well) };
            after = Some((last.alert.tenant_id, last.alert.id));
            for kept in &due {
                is_well &= self.evaluated(kept, minute).await;
            }
        }
    }

    async fn evaluated(&self, kept: &Kept, minute: i64) -> bool {
        match self.evaluate(kept, minute).await {
            // Stale: another replica was first, or the alert was changed or removed.
            Ok(()) | Err(StoreError::Stale(_)) => true,
            Err(error) => {
                tracing::error!(alert = %kept.alert.id, %error, "an alert was not evaluated; it will be again");
                metrics::counter!("runhook_alert_evaluations_total", "outcome" => "failed").increment(1);
                false
            }
        }
    }

    async fn evaluate(&self, kept: &Kept, minute: i64) -> Result<()> {
        let (alert, until) = (&kept.alert, beginning_of(minute));
        let mut standing = kept.standing.clone();
        let seen = measure::count(self.parts.store.as_ref(), kept, &mut standing, until).await?;
        let was_restless =
            kept.seen.is_none() || judge::is_restless(alert, &kept.standing, minute_of(kept.evaluated_at));
        if kept.seen == Some(seen) && !was_restless {
            return Ok(());
        }
        let turns = judge::judge(alert, &mut standing, unjudged(kept, minute));
        let restless = judge::is_restless(alert, &standing, minute);
        let now = self.parts.clock.now();
        let place = Place { public_url: &self.parts.public_url, project: &kept.project };
        // An alert that tells nobody has nothing to say.
        let said: &[Turn] = if alert.actions.is_empty() { &[] } else { turns.as_slice() };
        // Turns that are found together are told one after the other: each is from its own instant.
        let behind = (0..said.len()).rev().filter_map(|left| u64::try_from(left).ok());
        let instants = behind.map(|left| now.before(Duration::from_micros(left)));
        let messages: Vec<_> =
            said.iter().zip(instants).map(|(turn, at)| notice::message(alert, &place, turn, at)).collect();
        let deliveries: Vec<_> = messages.iter().flat_map(|message| notice::deliveries(alert, message)).collect();
        let is_told = !deliveries.is_empty();
        let commit = AlertCommit {
            tenant_id: alert.tenant_id,
            id: alert.id,
            version: kept.version,
            standing,
            evaluated_at: until,
            seen,
            restless,
            messages,
            deliveries,
        };
        self.parts.store.commit_alert(commit).await?;
        metrics::counter!("runhook_alert_evaluations_total", "outcome" => "done").increment(1);
        for turn in &turns {
            told(kept, turn);
        }
        if is_told {
            self.parts.delivery.poke();
        }
        Ok(())
    }
}

/// The minutes that are yet to be judged. An alert that was never evaluated is judged as it is now.
fn unjudged(kept: &Kept, minute: i64) -> RangeInclusive<i64> {
    let first = if kept.seen.is_some() { minute_of(kept.evaluated_at).saturating_add(1) } else { minute };
    first.min(minute)..=minute
}

fn told(kept: &Kept, turn: &Turn) {
    metrics::counter!("runhook_alert_turns_total").increment(1);
    tracing::info!(alert = %kept.alert.id, state = ?turn.state, value = %turn.value, threshold = %turn.threshold, "an alert");
}

#[async_trait::async_trait]
impl Activity for Watcher {
    fn name(&self) -> &'static str {
        "alerts"
    }

    async fn pass(&mut self) -> std::result::Result<Next, Box<dyn std::error::Error + Send + Sync>> {
        let minute = minute_of(self.parts.clock.now());
        let is_well = self.evaluate_due(minute).await?;
        let next: Timestamp = beginning_of(minute.saturating_add(1));
        Ok(Next::At(if is_well { next } else { next.min(self.parts.clock.now().after(PAUSE)) }))
    }
}
