//! An outbox in memory that can be told to misbehave. It keeps the contract of leases; what a database makes of it is
//! the store's own tests' matter.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use runhook::model::audit::Entry;
use runhook::model::delivery::{Attempt, Delivery, DeliveryState, Lease, Outcome};
use runhook::model::endpoint::Endpoint;
use runhook::model::health::{Circuit, Turn};
use runhook::model::id::{DeliveryId, EndpointId, MessageId, TenantId};
use runhook::model::message::Message;
use runhook::model::time::Timestamp;
use runhook::store::outbox::{Claim, Claimant, DeliveryQuery, Finished, Share, Waiting};
use runhook::store::{OutboxStore, Result, StoreError};

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) delivery: Delivery,
    pub(super) attempts: Vec<Attempt>,
    pub(super) lease: Option<Lease>,
}

impl Row {
    /// When it can be claimed.
    fn ready_at(&self) -> Timestamp {
        self.lease.as_ref().map_or(self.delivery.due_at, |lease| lease.until)
    }
}

#[derive(Debug, Default)]
struct Tables {
    rows: Vec<Row>,
    endpoints: HashMap<EndpointId, Endpoint>,
    messages: HashMap<MessageId, Message>,
    busy_recordings: u32,
    /// How many attempts each recording held.
    recordings: Vec<usize>,
    /// As if all messages were large.
    without_messages: bool,
}

#[derive(Debug, Default)]
pub(super) struct Outbox(Mutex<Tables>);

impl Outbox {
    pub(super) fn put(&self, delivery: Delivery, endpoint: Endpoint, message: Option<Message>) {
        let mut tables = self.0.lock().unwrap();
        tables.endpoints.entry(endpoint.id).or_insert(endpoint);
        tables.messages.extend(message.map(|message| (message.id, message)));
        tables.rows.push(Row { delivery, attempts: Vec::new(), lease: None });
    }

    pub(super) fn row(&self, id: DeliveryId) -> Row {
        self.0.lock().unwrap().rows.iter().find(|row| row.delivery.id == id).unwrap().clone()
    }

    /// How many rows are so.
    pub(super) fn count(&self, is_so: impl Fn(&Row) -> bool) -> usize {
        self.0.lock().unwrap().rows.iter().filter(|row| is_so(row)).count()
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

    /// The circuit of a delivery's endpoint.
    pub(super) fn circuit(&self, id: DeliveryId) -> Option<Circuit> {
        let endpoint_id = self.row(id).delivery.endpoint_id;
        self.0.lock().unwrap().endpoints[&endpoint_id].health.circuit
    }

    /// How many attempts were recorded in each transaction.
    pub(super) fn recordings(&self) -> Vec<usize> {
        self.0.lock().unwrap().recordings.clone()
    }

    /// From now on, claims bring no messages.
    pub(super) fn claim_without_messages(&self) {
        self.0.lock().unwrap().without_messages = true;
    }

    /// The next recordings find the database busy.
    pub(super) fn be_busy(&self, times: u32) {
        self.0.lock().unwrap().busy_recordings = times;
    }
}

#[async_trait]
impl OutboxStore for Outbox {
    async fn waiting(&self, after: Option<EndpointId>, limit: u32) -> Result<Vec<Waiting>> {
        let tables = self.0.lock().unwrap();
        let mut found: BTreeMap<EndpointId, Waiting> = BTreeMap::new();
        for row in tables.rows.iter().filter(|row| row.delivery.state == DeliveryState::Pending) {
            let Delivery { tenant_id, endpoint_id, attempts, .. } = row.delivery;
            let one = found.entry(endpoint_id);
            let one = one.or_insert(Waiting {
                tenant_id,
                endpoint_id,
                first_at: None,
                retry_at: None,
                pace: tables.endpoints[&endpoint_id].overrides.pace,
                circuit: tables.endpoints[&endpoint_id].health.circuit,
            });
            let at = if attempts == 0 { &mut one.first_at } else { &mut one.retry_at };
            *at = [*at, Some(row.ready_at())].into_iter().flatten().min();
        }
        let rest = found.into_values().filter(|one| after.is_none_or(|after| one.endpoint_id > after));
        Ok(rest.take(limit as usize).collect())
    }

    async fn claim_deliveries(&self, claimant: Claimant, shares: &[Share]) -> Result<Vec<Claim>> {
        let mut tables = self.0.lock().unwrap();
        let Tables { rows, endpoints, messages, without_messages, .. } = &mut *tables;
        let mut claims = Vec::new();
        for Share { endpoint_id, firsts, retries } in shares {
            let mut left = [*firsts, *retries];
            for row in rows.iter_mut().filter(|row| row.delivery.endpoint_id == *endpoint_id) {
                let left = &mut left[usize::from(row.delivery.attempts > 0)];
                if row.delivery.state != DeliveryState::Pending || row.ready_at() > claimant.now || *left == 0 {
                    continue;
                }
                *left -= 1;
                let Delivery { tenant_id, id: delivery_id, attempts, .. } = row.delivery;
                let Claimant { holder, until, .. } = claimant;
                let lease =
                    Lease { tenant_id, delivery_id, endpoint_id: *endpoint_id, holder, until, attempt: attempts + 1 };
                row.lease = Some(lease.clone());
                let message = messages.get(&row.delivery.message_id).filter(|_| !*without_messages);
                let message = message.cloned().map(Arc::new);
                let endpoint = Arc::new(endpoints[endpoint_id].clone());
                claims.push(Claim { lease, delivery: row.delivery.clone(), endpoint, message });
            }
        }
        Ok(claims)
    }

    async fn finish_attempts(&self, finished: &[Finished]) -> Result<Vec<Result<()>>> {
        let mut tables = self.0.lock().unwrap();
        if tables.busy_recordings > 0 {
            tables.busy_recordings -= 1;
            return Err(StoreError::Busy { retry_after: Duration::from_millis(1) });
        }
        tables.recordings.push(finished.len());
        Ok(finished.iter().map(|one| finish(&mut tables, one)).collect())
    }

    async fn put_back(&self, leases: &[Lease]) -> Result<()> {
        let mut tables = self.0.lock().unwrap();
        for row in tables.rows.iter_mut().filter(|row| row.lease.as_ref().is_some_and(|lease| leases.contains(lease))) {
            row.lease = None;
        }
        Ok(())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        let tables = self.0.lock().unwrap();
        let pending = tables.rows.iter().filter(|row| row.delivery.state == DeliveryState::Pending);
        Ok(pending.map(Row::ready_at).min())
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

    async fn replay(&self, _: TenantId, ids: &[DeliveryId], now: Timestamp, _: Option<Entry>) -> Result<u64> {
        let mut tables = self.0.lock().unwrap();
        let finished = tables
            .rows
            .iter_mut()
            .filter(|row| ids.contains(&row.delivery.id) && row.delivery.state != DeliveryState::Pending);
        Ok(finished.map(|row| (row.delivery.state, row.delivery.due_at) = (DeliveryState::Pending, now)).count() as u64)
    }
}

fn finish(tables: &mut Tables, Finished { lease, attempt, outcome, aftermath }: &Finished) -> Result<()> {
    let row = tables.rows.iter_mut().find(|row| row.delivery.id == lease.delivery_id).unwrap();
    if row.lease.as_ref() != Some(lease) {
        return Err(StoreError::Stale("the lease"));
    }
    row.lease = None;
    if let Some(turn) = aftermath.turn {
        let circuit = if let Turn::Open(circuit) = turn { Some(circuit) } else { None };
        tables.endpoints.get_mut(&lease.endpoint_id).unwrap().health.circuit = circuit;
    }
    row.delivery.attempts = attempt.number;
    row.attempts.push(attempt.clone());
    match outcome {
        Outcome::Delivered => row.delivery.state = DeliveryState::Delivered,
        Outcome::Retry(at) => row.delivery.due_at = *at,
        Outcome::Failed(reason) | Outcome::Gone(reason) => row.delivery.state = DeliveryState::Failed(reason.clone()),
    }
    Ok(())
}
