//! What the rows stand for of messages, and of their way out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::audit::Entry;
use crate::model::delivery::{Attempt, Delivery, DeliveryState, Lease, Outcome};
use crate::model::endpoint::{Disabled, Endpoint};
use uuid::Uuid;

use crate::model::health::{Sign, Turn};
use crate::model::id::{AlertId, ApplicationId, DeliveryId, EndpointId, MessageId, RuleId, TenantId, WindowId};
use crate::model::message::{Body, Message, Source};
use crate::model::pace::Pace;
use crate::model::time::Timestamp;
use crate::store::body::unpack;
use crate::store::outbox::{Claim, Claimant, Finished, GivenUp, Notice, Overdue, Waiting};
use crate::store::row::{Cells, Columns, corrupt};
use crate::store::{Result, StoreError};

use super::{DELIVERED, ENDPOINT_DISABLED, ENDPOINT_LOST, FAILED, PENDING, circuit};

pub(in crate::store) fn delivery(row: &impl Columns) -> Result<Delivery> {
    let mut cells = Cells::of("deliveries", row);
    Ok(Delivery {
        tenant_id: TenantId(cells.take()?),
        id: DeliveryId(cells.take()?),
        message_id: MessageId(cells.take()?),
        endpoint_id: EndpointId(cells.take()?),
        source: source(&mut cells)?,
        state: state_of_columns(cells.take()?, cells.take_or_none()?)?,
        attempts: cells.count()?,
        due_at: cells.instant()?,
        created_at: cells.instant()?,
        finished_at: cells.instant_or_none()?,
    })
}

/// What two columns say of a delivery's state.
pub(in crate::store) fn state_of_columns(state: i64, reason: Option<String>) -> Result<DeliveryState> {
    match state {
        PENDING => Ok(DeliveryState::Pending),
        DELIVERED => Ok(DeliveryState::Delivered),
        FAILED => Ok(DeliveryState::Failed(reason.unwrap_or_default())),
        other => Err(corrupt("deliveries", &format!("state {other} is not known"))),
    }
}

/// What a message speaks for, as its two columns.
pub(in crate::store) fn source(cells: &mut Cells<'_>) -> Result<Source> {
    let id = cells.take()?;
    match cells.take_or_none::<&str>()? {
        None => Ok(Source::Rule(RuleId(id))),
        Some(Source::ALERT) => Ok(Source::Alert(AlertId(id))),
        Some(Source::ENDPOINT) => Ok(Source::Endpoint(EndpointId(id))),
        Some(Source::APPLICATION) => Ok(Source::Application(ApplicationId(id))),
        Some(other) => Err(corrupt("messages", &format!("the source {other} is not known"))),
    }
}

/// The window a message was found in, as its column.
pub(in crate::store) fn window_column(window: Option<WindowId>) -> Uuid {
    window.map_or(Uuid::nil(), |window| window.0)
}

/// A delivery's state as its two columns.
pub(in crate::store) fn state_columns(state: &DeliveryState) -> (i64, Option<String>) {
    match state {
        DeliveryState::Pending => (PENDING, None),
        DeliveryState::Delivered => (DELIVERED, None),
        DeliveryState::Failed(reason) => (FAILED, Some(reason.clone())),
    }
}

/// The stored number of a state's word. No state has the number of a word that is none.
pub(in crate::store) fn state_of_word(word: &str) -> i64 {
    match word {
        "pending" => PENDING,
        "delivered" => DELIVERED,
        "failed" => FAILED,
        _ => -1,
    }
}

/// What an attempt makes of its delivery.
pub(in crate::store) struct Verdict {
    pub(in crate::store) state: i64,
    pub(in crate::store) reason: Option<String>,
    pub(in crate::store) due: Option<i64>,
    pub(in crate::store) finished: Option<i64>,
}

/// What attempts that were recorded together tell of one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) struct Upshot {
    pub(in crate::store) tenant_id: TenantId,
    pub(in crate::store) endpoint_id: EndpointId,
    /// Whether an attempt has succeeded.
    pub(in crate::store) recovered: bool,
    /// When the first one failed since, or at all.
    pub(in crate::store) failing_since: Option<Timestamp>,
    /// Whether a delivery failed for good.
    pub(in crate::store) lost: bool,
    pub(in crate::store) turn: Option<Turn>,
    pub(in crate::store) overdue: Option<Overdue>,
    pub(in crate::store) end: Option<End>,
}

/// That an endpoint is disabled.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) struct End {
    pub(in crate::store) disabled: Disabled,
    /// Since when it must have failed for that; nothing where its receiver said so.
    pub(in crate::store) since: Option<Timestamp>,
    pub(in crate::store) notice: Option<Notice>,
    pub(in crate::store) told: Option<Entry>,
}

impl Upshot {
    fn of(lease: &Lease) -> Self {
        let (tenant_id, endpoint_id) = (lease.tenant_id, lease.endpoint_id);
        let (recovered, failing_since, lost) = (false, None, false);
        Self { tenant_id, endpoint_id, recovered, failing_since, lost, turn: None, overdue: None, end: None }
    }

    /// Whether its endpoint's row says something, or might.
    pub(in crate::store) fn is_noted(&self) -> bool {
        self.recovered || self.failing_since.is_some()
    }

    /// Whether more follows for its endpoint than that it does well.
    pub(in crate::store) fn is_grave(&self) -> bool {
        self.lost || self.failing_since.is_some() || self.turn.is_some() || self.overdue.is_some() || self.end.is_some()
    }

    fn note(&mut self, Finished { attempt, outcome, aftermath, .. }: &Finished) {
        let ended = attempt.started_at.after(Duration::from_millis(attempt.duration_ms));
        match attempt.result.sign() {
            Sign::Taken => (self.recovered, self.failing_since) = (true, None),
            Sign::Unwilling | Sign::Unable => self.failing_since = self.failing_since.or(Some(ended)),
            Sign::Nothing => {}
        }
        self.lost |= failure(attempt, outcome).is_some();
        self.turn = aftermath.turn.or(self.turn);
        self.overdue = aftermath.overdue.clone().or(self.overdue.take());
        let end = match (outcome, &aftermath.given_up) {
            (Outcome::Gone(reason), _) => Some((Disabled { at: ended, reason: reason.clone() }, None)),
            (_, Some(GivenUp { failing_since, disabled })) => Some((disabled.clone(), Some(*failing_since))),
            _ => None,
        };
        if let (None, Some((disabled, since))) = (&self.end, end) {
            let (notice, told) = (aftermath.notice.clone(), aftermath.told.clone());
            self.end = Some(End { disabled, since, notice, told });
        }
    }
}

/// What recorded attempts tell of their endpoints, in the order of their ids: whoever writes them takes them in one order.
pub(in crate::store) fn upshots<'a>(recorded: impl Iterator<Item = &'a Finished>) -> Vec<Upshot> {
    let mut finished: Vec<&Finished> = recorded.collect();
    finished.sort_by_key(|one| (one.attempt.started_at.0, one.attempt.duration_ms));
    let mut upshots: BTreeMap<EndpointId, Upshot> = BTreeMap::new();
    for one in finished {
        upshots.entry(one.lease.endpoint_id).or_insert_with(|| Upshot::of(&one.lease)).note(one);
    }
    upshots.into_values().collect()
}

/// The delivery of a notice.
pub(in crate::store) fn notice_delivery(message: &Message, endpoint_id: EndpointId) -> Delivery {
    Delivery {
        tenant_id: message.tenant_id,
        id: DeliveryId::of(message.id, endpoint_id),
        message_id: message.id,
        endpoint_id,
        source: message.source,
        state: DeliveryState::Pending,
        attempts: 0,
        due_at: message.created_at,
        created_at: message.created_at,
        finished_at: None,
    }
}

/// Why and when a delivery failed for good, if that is what follows.
pub(in crate::store) fn failure<'o>(attempt: &Attempt, outcome: &'o Outcome) -> Option<(&'o str, Timestamp)> {
    let (Outcome::Failed(why) | Outcome::Gone(why)) = outcome else { return None };
    Some((why, attempt.started_at.after(Duration::from_millis(attempt.duration_ms))))
}

pub(in crate::store) fn verdict(attempt: &Attempt, outcome: &Outcome) -> Verdict {
    let ended = attempt.started_at.after(Duration::from_millis(attempt.duration_ms)).0;
    match outcome {
        Outcome::Delivered => Verdict { state: DELIVERED, reason: None, due: None, finished: Some(ended) },
        Outcome::Retry(Timestamp(at)) => Verdict { state: PENDING, reason: None, due: Some(*at), finished: None },
        Outcome::Failed(why) | Outcome::Gone(why) => {
            Verdict { state: FAILED, reason: Some(why.clone()), due: None, finished: Some(ended) }
        }
    }
}

/// A message whose stored body is larger than this does not come with the claim of its deliveries.
pub(in crate::store) const LARGEST_CLAIMED: i64 = 32 * 1024;

/// Claimed deliveries with their endpoints, oldest due first, and where those wanted to go that cannot, each with why.
pub(in crate::store) fn claims(
    claimant: Claimant,
    mut deliveries: Vec<Delivery>,
    endpoints: Vec<Endpoint>,
) -> (Vec<Claim>, Vec<(TenantId, EndpointId, &'static str)>) {
    deliveries.sort_by_key(|delivery| (delivery.due_at, delivery.created_at, delivery.id));
    let endpoints: HashMap<EndpointId, Arc<Endpoint>> =
        endpoints.into_iter().map(|endpoint| (endpoint.id, Arc::new(endpoint))).collect();
    let (mut claims, mut lost) = (Vec::with_capacity(deliveries.len()), Vec::new());
    for delivery in deliveries {
        let Some(endpoint) = endpoints.get(&delivery.endpoint_id) else {
            lost.push((delivery.tenant_id, delivery.endpoint_id, ENDPOINT_LOST));
            continue;
        };
        if endpoint.disabled.is_some() {
            lost.push((delivery.tenant_id, delivery.endpoint_id, ENDPOINT_DISABLED));
            continue;
        }
        let lease = Lease {
            tenant_id: delivery.tenant_id,
            delivery_id: delivery.id,
            endpoint_id: delivery.endpoint_id,
            holder: claimant.holder,
            until: claimant.until,
            attempt: delivery.attempts.saturating_add(1),
        };
        claims.push(Claim { lease, delivery, endpoint: Arc::clone(endpoint), message: None });
    }
    (claims, lost)
}

/// Claims with their messages. Claims of one message share it.
pub(in crate::store) fn with_messages(mut claims: Vec<Claim>, messages: Vec<Message>) -> Vec<Claim> {
    let messages: HashMap<MessageId, Arc<Message>> =
        messages.into_iter().map(|message| (message.id, Arc::new(message))).collect();
    for claim in &mut claims {
        claim.message = messages.get(&claim.delivery.message_id).map(Arc::clone);
    }
    claims
}

/// The messages of deliveries, each once.
pub(in crate::store) fn messages_of(deliveries: &[Delivery]) -> HashSet<(TenantId, MessageId)> {
    deliveries.iter().map(|delivery| (delivery.tenant_id, delivery.message_id)).collect()
}

pub(in crate::store) fn waiting_for(row: &impl Columns) -> Result<Waiting> {
    let mut cells = Cells::of("deliveries", row);
    Ok(Waiting {
        endpoint_id: EndpointId(cells.take()?),
        tenant_id: TenantId(cells.take()?),
        first_at: cells.instant_or_none()?,
        retry_at: cells.instant_or_none()?,
        // An endpoint that does not decode is found out by the claim.
        pace: cells.json_or_none::<Pace>().ok().flatten().unwrap_or_default(),
        circuit: circuit(&mut cells)?,
    })
}

/// The answers for attempts, when those of `recorded` were.
pub(in crate::store) fn answers(finished: &[Finished], recorded: &HashSet<DeliveryId>) -> Vec<Result<()>> {
    let is_recorded = |one: &Finished| recorded.contains(&one.lease.delivery_id);
    let lost = || StoreError::Stale("the lease is lost");
    finished.iter().map(|one| is_recorded(one).then_some(()).ok_or_else(lost)).collect()
}

/// A delivery, as what an attempt made of it is written.
pub(in crate::store) fn recorded(row: &impl Columns) -> Result<DeliveryId> {
    Cells::of("deliveries", row).take().map(DeliveryId)
}

pub(in crate::store) fn message(row: &impl Columns) -> Result<Message> {
    let mut cells = Cells::of("messages", row);
    Ok(Message {
        tenant_id: TenantId(cells.take()?),
        id: MessageId(cells.take()?),
        source: source(&mut cells)?,
        window_id: Some(cells.take()?).filter(|id: &Uuid| !id.is_nil()).map(WindowId),
        part: cells.count()?,
        parts: cells.count()?,
        runs: cells.count()?,
        body: {
            let links = cells.json()?;
            let json = unpack("messages", cells.take()?)?;
            Body { json: String::from_utf8(json).map_err(|error| corrupt("messages", &error))?, links }
        },
        created_at: cells.instant()?,
        event_type: cells.take_or_none()?,
    })
}
