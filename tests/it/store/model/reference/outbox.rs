//! Messages, deliveries and attempts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runhook::model::audit::Entry;
use runhook::model::delivery::{Attempt, Delivery, DeliveryState, Lease, Outcome};
use runhook::model::endpoint::Disabled;
use runhook::model::health::{Health, Sign};
use runhook::model::id::{DeliveryId, EndpointId, MessageId, TenantId};
use runhook::model::message::{Message, Source};
use runhook::model::pace::Pace;
use runhook::model::time::Timestamp;
use runhook::store::outbox::{Claim, Claimant, DeliveryQuery, Finished, OutboxStore, Share, Waiting};
use runhook::store::{Result, StoreError};

use super::{Reference, Sent, State};

const LOST: &str = "the endpoint is gone, or its row does not decode";

#[async_trait]
impl OutboxStore for Reference {
    async fn waiting(&self, after: Option<EndpointId>, limit: u32) -> Result<Vec<Waiting>> {
        let mut found: BTreeMap<EndpointId, Waiting> = BTreeMap::new();
        for ((tenant_id, endpoint_id, is_retry), ready) in self.look(lanes) {
            let one = found.entry(endpoint_id);
            let one = one.or_insert(Waiting {
                tenant_id,
                endpoint_id,
                first_at: None,
                retry_at: None,
                pace: Pace::default(),
                circuit: None,
            });
            *(if is_retry { &mut one.retry_at } else { &mut one.first_at }) = ready.first().map(|(at, _)| *at);
        }
        let rest = found.into_values().filter(|one| after.is_none_or(|after| one.endpoint_id > after));
        Ok(rest.take(limit as usize).collect())
    }

    async fn claim_deliveries(&self, claimant: Claimant, shares: &[Share]) -> Result<Vec<Claim>> {
        self.change(|state| {
            let mut claims = Vec::new();
            for ((tenant, endpoint, is_retry), ready) in lanes(state) {
                let share = shares.iter().find(|share| share.endpoint_id == endpoint);
                let take = share.map_or(0, |share| if is_retry { share.retries } else { share.firsts });
                for (_, id) in ready.into_iter().filter(|(at, _)| *at <= claimant.now).take(take as usize) {
                    claims.extend(claim(state, tenant, id, claimant));
                }
            }
            claims.sort_by_key(|claim| (claim.delivery.due_at, claim.delivery.created_at, claim.delivery.id));
            Ok(claims)
        })
    }

    async fn finish_attempts(&self, finished: &[Finished]) -> Result<Vec<Result<()>>> {
        let answers: Vec<Result<()>> =
            finished.iter().map(|one| self.change(|state| finish(state, one.clone()))).collect();
        // What was recorded together counts, whichever of them disabled the endpoint.
        let mut kept: Vec<&Finished> =
            finished.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()).map(|(one, _)| one).collect();
        kept.sort_by_key(|one| (one.attempt.started_at, one.attempt.duration_ms));
        for follow in [note, disable] {
            for one in &kept {
                self.change(|state| {
                    follow(state, one);
                    Ok(())
                })?;
            }
        }
        Ok(answers)
    }

    async fn put_back(&self, leases: &[Lease]) -> Result<()> {
        self.change(|state| {
            for lease in leases {
                let sent = state.tenant(lease.tenant_id).deliveries.get_mut(&lease.delivery_id);
                let held = |sent: &&mut Sent| sent.holder == Some(lease.holder);
                if let Some(sent) = sent.filter(held) {
                    (sent.holder, sent.ready) = (None, sent.delivery.due_at);
                }
            }
            Ok(())
        })
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        Ok(self.look(lanes).into_values().flatten().map(|(ready, _)| ready).min())
    }

    async fn message(&self, tenant: TenantId, id: MessageId) -> Result<Option<Message>> {
        Ok(self.look_at(tenant, |tenant| tenant.messages.get(&id).cloned()))
    }

    async fn delivery(&self, tenant: TenantId, id: DeliveryId) -> Result<Option<(Delivery, Vec<Attempt>)>> {
        Ok(self.look_at(tenant, |tenant| {
            let sent = tenant.deliveries.get(&id)?;
            Some((sent.delivery.clone(), sent.attempts.clone()))
        }))
    }

    async fn list_deliveries(&self, tenant: TenantId, query: &DeliveryQuery) -> Result<Vec<Delivery>> {
        Ok(self.look_at(tenant, |tenant| {
            let all = tenant.deliveries.values().map(|sent| sent.delivery.clone());
            let mut found: Vec<Delivery> = all
                .filter(|delivery| query.state.as_ref().is_none_or(|state| delivery.state.as_str() == state))
                .filter(|delivery| query.rule_id.is_none_or(|rule| delivery.source == Source::Rule(rule)))
                .filter(|delivery| query.endpoint_id.is_none_or(|endpoint| delivery.endpoint_id == endpoint))
                .filter(|delivery| query.since.is_none_or(|since| delivery.created_at >= since))
                .filter(|delivery| query.before.is_none_or(|before| (delivery.created_at, delivery.id) < before))
                .collect();
            found.sort_by_key(|delivery| std::cmp::Reverse((delivery.created_at, delivery.id)));
            found.truncate(query.limit as usize);
            found
        }))
    }

    async fn replay(&self, tenant: TenantId, ids: &[DeliveryId], now: Timestamp, _: Option<Entry>) -> Result<u64> {
        self.change(|state| {
            let tenant = state.tenant(tenant);
            let mut replayed = 0;
            for (id, sent) in &mut tenant.deliveries {
                let there = tenant.endpoints.contains_key(&sent.delivery.endpoint_id);
                if ids.contains(id) && sent.delivery.state != DeliveryState::Pending && there {
                    sent.delivery.state = DeliveryState::Pending;
                    (sent.delivery.due_at, sent.ready, sent.delivery.finished_at, sent.holder) = (now, now, None, None);
                    replayed += 1;
                }
            }
            Ok(replayed)
        })
    }
}

impl Reference {
    /// Shares of this many or a few more, so that no claim has to choose between two that are alike.
    pub(in crate::store::model) fn unambiguous(
        &self,
        now: Timestamp,
        limit: u32,
        without: &[EndpointId],
    ) -> Vec<Share> {
        let mut shares: BTreeMap<EndpointId, Share> = BTreeMap::new();
        for ((_, endpoint_id, is_retry), ready) in self.look(lanes) {
            let due = ready.iter().take_while(|(at, _)| *at <= now).count();
            let mut take = limit as usize;
            while take < due && take > 0 && ready[take].0 == ready[take - 1].0 {
                take += 1;
            }
            let share = shares.entry(endpoint_id).or_insert(Share { endpoint_id, firsts: 0, retries: 0 });
            *(if is_retry { &mut share.retries } else { &mut share.firsts }) = u32::try_from(take).unwrap();
        }
        shares.into_values().filter(|share| !without.contains(&share.endpoint_id)).collect()
    }
}

/// Whose, where to, and whether it was tried.
type Lane = (TenantId, EndpointId, bool);

/// What waits to be sent by lane, what can be claimed first first.
fn lanes(state: &State) -> BTreeMap<Lane, Vec<(Timestamp, DeliveryId)>> {
    let mut lanes: BTreeMap<Lane, Vec<(Timestamp, DeliveryId)>> = BTreeMap::new();
    for (tenant_id, tenant) in &state.tenants {
        let pending = || tenant.deliveries.iter().filter(|(_, sent)| sent.delivery.state == DeliveryState::Pending);
        let is_before = |one: &Delivery, other: &Delivery| {
            (one.endpoint_id, one.source) == (other.endpoint_id, other.source) && one.created_at < other.created_at
        };
        let waits = |delivery: &Delivery| {
            matches!(delivery.source, Source::Alert(_))
                && pending().any(|(_, sent)| is_before(&sent.delivery, delivery))
        };
        for (id, sent) in pending().filter(|(_, sent)| !waits(&sent.delivery)) {
            let lane = (*tenant_id, sent.delivery.endpoint_id, sent.delivery.attempts > 0);
            lanes.entry(lane).or_default().push((sent.ready, *id));
        }
    }
    for ready in lanes.values_mut() {
        ready.sort_unstable();
    }
    lanes
}

fn finish(state: &mut State, Finished { lease, attempt, outcome, .. }: Finished) -> Result<()> {
    let sent = state.tenant(lease.tenant_id).deliveries.get_mut(&lease.delivery_id);
    let held = |sent: &&mut Sent| sent.delivery.state == DeliveryState::Pending && sent.holder == Some(lease.holder);
    let Some(sent) = sent.filter(held) else { return Err(StoreError::Stale("the lease is lost")) };
    let ended = attempt.started_at.after(Duration::from_millis(attempt.duration_ms));
    sent.holder = None;
    sent.delivery.attempts = sent.delivery.attempts.max(attempt.number);
    match outcome {
        Outcome::Retry(at) => (sent.delivery.due_at, sent.ready) = (at, at),
        Outcome::Delivered => {
            (sent.delivery.state, sent.delivery.finished_at) = (DeliveryState::Delivered, Some(ended));
        }
        Outcome::Failed(why) | Outcome::Gone(why) => {
            (sent.delivery.state, sent.delivery.finished_at) = (DeliveryState::Failed(why), Some(ended));
        }
    }
    sent.attempts.push(attempt);
    Ok(())
}

/// Notes since when the endpoint of a delivery fails.
fn note(state: &mut State, Finished { lease, attempt, .. }: &Finished) {
    let ended = attempt.started_at.after(Duration::from_millis(attempt.duration_ms));
    let Some(endpoint) = state.tenant(lease.tenant_id).endpoints.get_mut(&lease.endpoint_id) else { return };
    match attempt.result.sign() {
        Sign::Taken => endpoint.health.failing_since = None,
        Sign::Unwilling | Sign::Unable => {
            endpoint.health.failing_since.get_or_insert(ended);
        }
        Sign::Nothing => {}
    }
}

/// Disables the endpoint of a delivery and ends what waits for it, if that is what follows its attempt.
fn disable(state: &mut State, Finished { lease, attempt, outcome, .. }: &Finished) {
    let Outcome::Gone(reason) = outcome else { return };
    let ended = attempt.started_at.after(Duration::from_millis(attempt.duration_ms));
    let tenant = state.tenant(lease.tenant_id);
    let to = lease.endpoint_id;
    let Some(endpoint) = tenant.endpoints.get_mut(&to).filter(|endpoint| endpoint.disabled.is_none()) else { return };
    endpoint.disabled = Some(Disabled { at: ended, reason: reason.clone() });
    endpoint.health = Health::default();
    tenant.fail(|delivery| delivery.endpoint_id == to, "endpoint disabled", ended);
}

/// Leases a delivery, or ends all that go where it goes, if there is no such place.
fn claim(state: &mut State, tenant: TenantId, id: DeliveryId, claimant: Claimant) -> Option<Claim> {
    let tenant = state.tenant(tenant);
    let sent = tenant.deliveries.get_mut(&id)?;
    let to = sent.delivery.endpoint_id;
    let Some(endpoint) = tenant.endpoints.get(&to).cloned() else {
        tenant.fail(|delivery| delivery.endpoint_id == to, LOST, claimant.now);
        return None;
    };
    if endpoint.disabled.is_some() {
        tenant.fail(|delivery| delivery.endpoint_id == to, "endpoint disabled", claimant.now);
        return None;
    }
    (sent.ready, sent.holder) = (claimant.until, Some(claimant.holder));
    let attempt = sent.delivery.attempts + 1;
    let Claimant { holder, until, .. } = claimant;
    let lease = Lease { tenant_id: sent.delivery.tenant_id, delivery_id: id, endpoint_id: to, holder, until, attempt };
    let message = tenant.messages.get(&sent.delivery.message_id).cloned().map(Arc::new);
    Some(Claim { lease, delivery: sent.delivery.clone(), endpoint: Arc::new(endpoint), message })
}
