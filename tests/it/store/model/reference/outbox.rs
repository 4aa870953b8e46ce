//! Messages, deliveries and attempts.

use std::time::Duration;

use async_trait::async_trait;
use runhook::model::delivery::{Attempt, Delivery, DeliveryState, Lease, Outcome};
use runhook::model::endpoint::Disabled;
use runhook::model::id::{DeliveryId, EndpointId, MessageId, TenantId};
use runhook::model::message::Message;
use runhook::model::time::Timestamp;
use runhook::store::outbox::{Claim, Claimant, DeliveryQuery, OutboxStore};
use runhook::store::{Result, StoreError};

use super::{Reference, Sent, State};

const LOST: &str = "the endpoint is gone, or its row does not decode";

#[async_trait]
impl OutboxStore for Reference {
    async fn claim_deliveries(&self, claimant: Claimant, limit: u32, crowded: &[EndpointId]) -> Result<Vec<Claim>> {
        self.change(|state| {
            let mut due: Vec<(Timestamp, TenantId, DeliveryId)> = waiting(state, crowded);
            due.retain(|(ready, _, _)| *ready <= claimant.now);
            due.truncate(limit as usize);
            let mut claims = Vec::new();
            for (_, tenant, id) in due {
                claims.extend(claim(state, tenant, id, claimant));
            }
            claims.sort_by_key(|claim| (claim.delivery.due_at, claim.delivery.created_at, claim.delivery.id));
            Ok(claims)
        })
    }

    async fn finish_attempt(&self, lease: &Lease, attempt: Attempt, outcome: Outcome) -> Result<()> {
        self.change(|state| {
            let sent = state.tenants.values_mut().find_map(|tenant| tenant.deliveries.get_mut(&lease.delivery_id));
            let held =
                |sent: &&mut Sent| sent.delivery.state == DeliveryState::Pending && sent.holder == Some(lease.holder);
            let Some(sent) = sent.filter(held) else { return Err(StoreError::Stale("the lease is lost")) };
            let ended = attempt.started_at.after(Duration::from_millis(attempt.duration_ms));
            sent.holder = None;
            sent.delivery.attempts = sent.delivery.attempts.max(attempt.number);
            match outcome {
                Outcome::Retry(at) => (sent.delivery.due_at, sent.ready) = (at, at),
                Outcome::Delivered => {
                    (sent.delivery.state, sent.delivery.finished_at) = (DeliveryState::Delivered, Some(ended));
                }
                Outcome::Failed(ref why) | Outcome::Gone(ref why) => {
                    (sent.delivery.state, sent.delivery.finished_at) =
                        (DeliveryState::Failed(why.clone()), Some(ended));
                }
            }
            sent.attempts.push(attempt);
            if let Outcome::Gone(reason) = outcome {
                let (tenant, to) = (sent.delivery.tenant_id, sent.delivery.endpoint_id);
                let tenant = state.tenant(tenant);
                if let Some(endpoint) = tenant.endpoints.get_mut(&to) {
                    endpoint.disabled = Some(Disabled { at: ended, reason });
                }
                tenant.fail(|delivery| delivery.endpoint_id == to, "endpoint disabled", ended);
            }
            Ok(())
        })
    }

    async fn next_due(&self, crowded: &[EndpointId]) -> Result<Option<Timestamp>> {
        Ok(self.look(|state| waiting(state, crowded).first().map(|(ready, _, _)| *ready)))
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
                .filter(|delivery| query.rule_id.is_none_or(|rule| delivery.rule_id == rule))
                .filter(|delivery| query.endpoint_id.is_none_or(|endpoint| delivery.endpoint_id == endpoint))
                .filter(|delivery| query.since.is_none_or(|since| delivery.created_at >= since))
                .filter(|delivery| query.before.is_none_or(|before| (delivery.created_at, delivery.id) < before))
                .collect();
            found.sort_by_key(|delivery| std::cmp::Reverse((delivery.created_at, delivery.id)));
            found.truncate(query.limit as usize);
            found
        }))
    }

    async fn replay(&self, tenant: TenantId, ids: &[DeliveryId], now: Timestamp) -> Result<u64> {
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
    /// The least number from `limit` on of deliveries a claim can take without a choice between two that are alike.
    pub(in crate::store::model) fn unambiguous(&self, now: Timestamp, limit: u32, crowded: &[EndpointId]) -> u32 {
        let ready: Vec<Timestamp> = self.look(|state| waiting(state, crowded).into_iter().map(|(at, ..)| at).collect());
        let due = ready.iter().take_while(|at| **at <= now).count();
        let mut limit = limit as usize;
        while limit < due && limit > 0 && ready[limit] == ready[limit - 1] {
            limit += 1;
        }
        u32::try_from(limit).unwrap()
    }
}

/// What waits to be sent, what can be claimed first first.
fn waiting(state: &State, crowded: &[EndpointId]) -> Vec<(Timestamp, TenantId, DeliveryId)> {
    let mut waiting = Vec::new();
    for (tenant_id, tenant) in &state.tenants {
        for (id, sent) in &tenant.deliveries {
            let pending = sent.delivery.state == DeliveryState::Pending;
            if pending && !crowded.contains(&sent.delivery.endpoint_id) {
                waiting.push((sent.ready, *tenant_id, *id));
            }
        }
    }
    waiting.sort_unstable();
    waiting
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
    let lease = Lease { delivery_id: id, holder: claimant.holder, until: claimant.until, attempt };
    Some(Claim { lease, delivery: sent.delivery.clone(), endpoint })
}
