//! An outbox in memory that can be told to misbehave. It keeps the contract of leases; what a database makes of it is
//! the store's own tests' matter.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use runhook::model::delivery::{Attempt, Delivery, DeliveryState, Lease, Outcome};
use runhook::model::endpoint::Endpoint;
use runhook::model::id::{DeliveryId, EndpointId, MessageId, TenantId};
use runhook::model::message::Message;
use runhook::model::time::Timestamp;
use runhook::store::outbox::{Claim, Claimant, DeliveryQuery};
use runhook::store::{OutboxStore, Result, StoreError};

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) delivery: Delivery,
    pub(super) attempts: Vec<Attempt>,
    pub(super) lease: Option<Lease>,
}

#[derive(Debug, Default)]
struct Tables {
    rows: Vec<Row>,
    endpoints: HashMap<EndpointId, Endpoint>,
    messages: HashMap<MessageId, Message>,
    busy_recordings: u32,
}

#[derive(Debug, Default)]
pub(super) struct Outbox(Mutex<Tables>);

impl Outbox {
    pub(super) fn put(&self, delivery: Delivery, endpoint: Endpoint, message: Option<Message>) {
        let mut tables = self.0.lock().unwrap();
        tables.endpoints.insert(endpoint.id, endpoint);
        tables.messages.extend(message.map(|message| (message.id, message)));
        tables.rows.push(Row { delivery, attempts: Vec::new(), lease: None });
    }

    pub(super) fn row(&self, id: DeliveryId) -> Row {
        self.0.lock().unwrap().rows.iter().find(|row| row.delivery.id == id).unwrap().clone()
    }

    pub(super) fn damage_target(&self, id: DeliveryId) {
        let endpoint_id = self.row(id).delivery.endpoint_id;
        let mut tables = self.0.lock().unwrap();
        *tables.endpoints.get_mut(&endpoint_id).unwrap().target.0.last_mut().unwrap() ^= 1;
    }

    pub(super) fn forget_message(&self, id: DeliveryId) {
        let message_id = self.row(id).delivery.message_id;
        self.0.lock().unwrap().messages.remove(&message_id);
    }

    /// The next recordings find the database busy.
    pub(super) fn be_busy(&self, times: u32) {
        self.0.lock().unwrap().busy_recordings = times;
    }
}

#[async_trait]
impl OutboxStore for Outbox {
    async fn claim_deliveries(&self, claimant: Claimant, limit: u32, crowded: &[EndpointId]) -> Result<Vec<Claim>> {
        let mut tables = self.0.lock().unwrap();
        let Tables { rows, endpoints, .. } = &mut *tables;
        let due = rows.iter_mut().filter(|row| {
            row.delivery.state == DeliveryState::Pending
                && !crowded.contains(&row.delivery.endpoint_id)
                && row.delivery.due_at <= claimant.now
                && row.lease.as_ref().is_none_or(|lease| lease.until <= claimant.now)
        });
        let claims = due.take(limit as usize).map(|row| {
            let attempt = row.delivery.attempts + 1;
            let lease = Lease { delivery_id: row.delivery.id, holder: claimant.holder, until: claimant.until, attempt };
            row.lease = Some(lease.clone());
            Claim { lease, delivery: row.delivery.clone(), endpoint: endpoints[&row.delivery.endpoint_id].clone() }
        });
        Ok(claims.collect())
    }

    async fn finish_attempt(&self, lease: &Lease, attempt: Attempt, outcome: Outcome) -> Result<()> {
        let mut tables = self.0.lock().unwrap();
        if tables.busy_recordings > 0 {
            tables.busy_recordings -= 1;
            return Err(StoreError::Busy { retry_after: Duration::from_millis(1) });
        }
        let row = tables.rows.iter_mut().find(|row| row.delivery.id == lease.delivery_id).unwrap();
        if row.lease.as_ref() != Some(lease) {
            return Err(StoreError::Stale("the lease"));
        }
        row.lease = None;
        row.delivery.attempts = attempt.number;
        row.attempts.push(attempt);
        match outcome {
            Outcome::Delivered => row.delivery.state = DeliveryState::Delivered,
            Outcome::Retry(at) => row.delivery.due_at = at,
            Outcome::Failed(reason) | Outcome::Gone(reason) => row.delivery.state = DeliveryState::Failed(reason),
        }
        Ok(())
    }

    async fn next_due(&self, crowded: &[EndpointId]) -> Result<Option<Timestamp>> {
        let tables = self.0.lock().unwrap();
        let pending = tables
            .rows
            .iter()
            .filter(|row| row.delivery.state == DeliveryState::Pending && !crowded.contains(&row.delivery.endpoint_id));
        Ok(pending.map(|row| row.lease.as_ref().map_or(row.delivery.due_at, |lease| lease.until)).min())
    }

    async fn message(&self, _tenant: TenantId, id: MessageId) -> Result<Option<Message>> {
        Ok(self.0.lock().unwrap().messages.get(&id).cloned())
    }

    async fn delivery(&self, _tenant: TenantId, id: DeliveryId) -> Result<Option<(Delivery, Vec<Attempt>)>> {
        let tables = self.0.lock().unwrap();
        let row = tables.rows.iter().find(|row| row.delivery.id == id);
        Ok(row.map(|row| (row.delivery.clone(), row.attempts.clone())))
    }

    async fn list_deliveries(&self, _tenant: TenantId, _query: &DeliveryQuery) -> Result<Vec<Delivery>> {
        Ok(self.0.lock().unwrap().rows.iter().map(|row| row.delivery.clone()).collect())
    }

    async fn replay(&self, _tenant: TenantId, ids: &[DeliveryId], now: Timestamp) -> Result<u64> {
        let mut tables = self.0.lock().unwrap();
        let finished = tables
            .rows
            .iter_mut()
            .filter(|row| ids.contains(&row.delivery.id) && row.delivery.state != DeliveryState::Pending);
        Ok(finished.map(|row| (row.delivery.state, row.delivery.due_at) = (DeliveryState::Pending, now)).count() as u64)
    }
}
