//! The way in: decode, normalise, offload, store, wake the scheduler.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::blob::BlobStore;
use crate::config::Limits;
use crate::ingest::body::Incoming;
use crate::ingest::budget::Budget;
use crate::ingest::error::{IngestError, Invalid};
use crate::ingest::otlp::{Encoding, Traced};
use crate::ingest::receipt::{Receipt, Refused};
use crate::ingest::{batch, multipart, normalise, offload, opening, otlp, told};
use crate::model::feedback::Feedback;
use crate::model::id::{RunId, TenantId};
use crate::model::merge;
use crate::model::price::Prices;
use crate::model::project::ProjectRef;
use crate::model::run::{Fields, Part, PartKind};
use crate::model::time::Clock;
use crate::store::Store;
use crate::store::runs::Batch;
use crate::task::Poke;

/// Takes requests in. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    /// Where runs and feedback go.
    pub store: Arc<dyn Store>,
    /// Where large values go.
    pub blobs: Arc<dyn BlobStore>,
    /// The time of arrival.
    pub clock: Arc<dyn Clock>,
    /// What is too large.
    pub limits: Arc<Limits>,
    /// What tokens cost, unless clients say.
    pub prices: Arc<Prices>,
    /// How much may be in memory, over all requests.
    pub budget: Budget,
    /// Wakes the scheduler.
    pub scheduler: Poke,
    /// Wakes the delivery loop.
    pub delivery: Poke,
}

/// What a request for one run is about.
#[derive(Debug, Clone, Copy)]
pub struct Single {
    /// Post or patch.
    pub kind: PartKind,
    /// The run, when the request's path names it.
    pub named: Option<RunId>,
    /// The run's id if neither path nor body names one.
    pub fresh: RunId,
}

/// What a request brought, read but not stored.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) parts: Vec<Loose>,
    pub(crate) feedback: Vec<Feedback>,
    pub(crate) refused: Vec<Refused>,
}

/// A part whose files are still with it.
#[derive(Debug)]
pub(crate) struct Loose {
    pub(crate) run_id: RunId,
    pub(crate) kind: PartKind,
    pub(crate) project: Option<ProjectRef>,
    pub(crate) fields: Fields,
    pub(crate) files: Vec<File>,
}

/// A file that came with a run.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) mime_type: String,
    pub(crate) bytes: Bytes,
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").finish_non_exhaustive()
    }
}

impl Intake {
    /// Takes in a multipart request.
    pub async fn multipart(&self, tenant: TenantId, incoming: Incoming) -> Result<Receipt, IngestError> {
        let boundary = multipart::boundary(incoming.content_type.as_deref())?;
        // What is read of the body outlives it, as parts and files, until they are stored.
        let share = self.budget.share();
        let body = incoming.decoded(&self.limits, Arc::clone(&share))?;
        let gathered = multipart::read(body, boundary, &self.limits, self.clock.now()).await?;
        let receipt = self.accept(tenant, gathered).await;
        drop(share);
        receipt
    }

    /// Takes in `{"post": [...], "patch": [...]}`.
    pub async fn batch(&self, tenant: TenantId, incoming: Incoming) -> Result<Receipt, IngestError> {
        let json = incoming.collect(&self.limits, &self.budget).await?;
        let gathered = batch::read(&json, &self.limits)?;
        self.accept(tenant, gathered).await
    }

    /// Takes in what an OpenTelemetry exporter sends, into this project whatever its spans say.
    pub async fn traces(
        &self,
        tenant: TenantId,
        encoding: Encoding,
        project: Option<String>,
        incoming: Incoming,
    ) -> Result<Traced, IngestError> {
        let body = incoming.collect(&self.limits, &self.budget).await?;
        let spans = otlp::read(&body, encoding, project, &self.limits)?;
        let received = spans.received;
        let receipt = match self.accept(tenant, spans.gathered).await {
            // The protocol has a place for refusals in the answer of a request that was done.
            Err(IngestError::Nothing(refused)) => Receipt { refused, ..Receipt::default() },
            other => other?,
        };
        drop(body);
        Ok(Traced { rejected: received.saturating_sub(receipt.parts), refused: receipt.refused })
    }

    /// Takes in one run, and says which.
    pub async fn run(&self, tenant: TenantId, single: Single, incoming: Incoming) -> Result<RunId, IngestError> {
        let json = incoming.collect(&self.limits, &self.budget).await?;
        let draft = normalise::run(&json, single.kind, single.named, self.limits.json_depth)
            .map_err(|invalid| malformed_or(invalid, &json))?;
        opening::check(single.kind, &draft.fields)?;
        let run_id = draft.run_id.unwrap_or(single.fresh);
        let loose =
            Loose { run_id, kind: single.kind, project: draft.project, fields: draft.fields, files: Vec::new() };
        let receipt = self.accept(tenant, Gathered { parts: vec![loose], ..Gathered::default() }).await;
        match receipt {
            // The request is one part, so that its refusal is the request's.
            Err(IngestError::Nothing(refused)) => {
                let reason = refused.into_iter().map(|refused| refused.error).next().unwrap_or_default();
                Err(Invalid::new("run", format!("was refused: {reason}")).into())
            }
            other => other.map(|_| run_id),
        }
    }

    /// Takes in one feedback record.
    pub async fn feedback(&self, tenant: TenantId, feedback: Feedback) -> Result<(), IngestError> {
        let gathered = Gathered { feedback: vec![feedback], ..Gathered::default() };
        self.accept(tenant, gathered).await.map(drop)
    }

    /// The whole decoded body of a request, within the limits.
    pub async fn body(&self, incoming: Incoming) -> Result<Bytes, IngestError> {
        incoming.collect(&self.limits, &self.budget).await
    }

    async fn accept(&self, tenant: TenantId, mut gathered: Gathered) -> Result<Receipt, IngestError> {
        offload::offload(tenant, &mut gathered.parts, self.blobs.as_ref(), &self.limits).await?;
        let mut parts: Vec<Part> = gathered.parts.into_iter().map(finished).collect();
        let now = self.clock.now();
        opening::complete(tenant, &mut parts, self.store.as_ref(), now).await?;
        let (mut sent, feedback) = (parts.len(), gathered.feedback.len());
        let mut refused = gathered.refused;
        let signposts: Vec<Part> = parts.iter().filter_map(signpost).collect();
        let posts: HashSet<RunId> = signposts.iter().map(|part| part.run_id).collect();
        parts.extend(signposts);
        if sent > 0 || feedback > 0 {
            let given = gathered.feedback.clone();
            let batch = Batch { parts, feedback: gathered.feedback, prices: Arc::clone(&self.prices) };
            let accepted = self.store.accept(tenant, batch, now).await?;
            if told::tell(self.store.as_ref(), tenant, &given, now).await? {
                self.delivery.poke();
            }
            let told = accepted.refused.iter().filter(|refusal| !posts.contains(&refusal.run_id));
            let told = told.map(|refusal| Refused::new(&refusal.run_id.to_string(), &refusal.reason));
            let before = refused.len();
            refused.extend(told);
            sent = sent.saturating_sub(refused.len().saturating_sub(before));
            if accepted.changed {
                self.scheduler.poke();
            }
        }
        count(sent, feedback, &refused);
        if sent == 0 && feedback == 0 && !refused.is_empty() {
            return Err(IngestError::Nothing(refused));
        }
        Ok(Receipt { parts: sent, feedback, refused })
    }
}

/// A document that is no JSON at all is malformed; one that is, is only wrong.
fn malformed_or(invalid: Invalid, json: &[u8]) -> IngestError {
    match serde_json::from_slice::<IgnoredAny>(json) {
        Err(error) => IngestError::Malformed(format!("the body is not valid JSON: {error}")),
        Ok(_) => invalid.into(),
    }
}

/// The digest is of what the client said, before anything that depends on what is stored, or on the clock, is
/// added to it: the same request a second time is a repeat.
pub(super) fn finished(loose: Loose) -> Part {
    let digest = merge::digest(&loose.fields, loose.kind, loose.run_id);
    Part { run_id: loose.run_id, kind: loose.kind, project: loose.project, fields: loose.fields, digest }
}

/// What is kept under the other id of a run that goes by two.
fn signpost(part: &Part) -> Option<Part> {
    let run_id = part.fields.alias?;
    let (kind, fields) = (PartKind::Patch, Fields { alias: Some(part.run_id), ..Fields::default() });
    let digest = merge::digest(&fields, kind, run_id);
    Some(Part { run_id, kind, project: part.project.clone(), fields, digest })
}

fn count(parts: usize, feedback: usize, refused: &[Refused]) {
    metrics::counter!("runhook_parts_accepted_total").increment(parts as u64);
    metrics::counter!("runhook_feedback_accepted_total").increment(feedback as u64);
    metrics::counter!("runhook_parts_refused_total").increment(refused.len() as u64);
    for refused in refused.iter().take(10) {
        tracing::warn!(part = refused.part, error = refused.error, "a part of a request was refused");
    }
}
