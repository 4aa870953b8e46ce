//! Feedback that is told of: an event for each record that is new, where somebody subscribes to that.
//!
//! The events are stored after the feedback and before it is acknowledged, under ids that follow from the feedback's. Whoever
//! gets no answer sends again, and what was told is not told twice; a record that is only changed has been told of before.

use std::time::Duration;

use serde_json::json;

use crate::model::event::Event;
use crate::model::feedback::Feedback;
use crate::model::id::{ApplicationId, MessageId, TenantId};
use crate::model::message::{Body, Message, Source};
use crate::model::time::Timestamp;
use crate::store::events::{Reach, Sending};
use crate::store::{Store, StoreError};

const FEEDBACK_CREATED: &str = "feedback.created";

/// A record that says it was changed so long after it was made is not new.
const CHANGED: Duration = Duration::from_secs(1);

/// Tells of feedback. Whether anything is to be sent.
pub(super) async fn tell(
    store: &dyn Store,
    tenant: TenantId,
    feedback: &[Feedback],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let event = Event::of_tenant(FEEDBACK_CREATED);
    if feedback.is_empty() || store.hearers(tenant, &event, Reach::Tenant).await?.is_empty() {
        return Ok(false);
    }
    let mut is_any = false;
    for one in feedback.iter().filter(|one| one.modified_at.since(one.created_at) < CHANGED) {
        let message = message(tenant, one, now);
        is_any |= matches!(store.send_event(message, event.clone(), Reach::Tenant).await?, Sending::Sent(1..));
    }
    Ok(is_any)
}

fn message(tenant_id: TenantId, feedback: &Feedback, created_at: Timestamp) -> Message {
    let body = json!({
        "id": feedback.id, "run_id": feedback.run_id, "trace_id": feedback.trace_id, "session_id": feedback.session_id,
        "key": feedback.key, "score": feedback.score, "value": feedback.value, "comment": feedback.comment,
        "correction": feedback.correction, "feedback_source": feedback.source,
        "created_at": feedback.created_at.to_string(),
    });
    Message {
        tenant_id,
        id: MessageId::of_event(tenant_id, ApplicationId::TENANT, &format!("feedback {}", feedback.id)),
        source: Source::Application(ApplicationId::TENANT),
        window_id: None,
        part: 1,
        parts: 1,
        runs: 0,
        body: Body { json: body.to_string(), links: Vec::new() },
        created_at,
        event_type: Some(FEEDBACK_CREATED.to_owned()),
    }
}
