//! Targets, opened once for all deliveries that were claimed together.
//!
//! What opening takes (unsealing, parsing the URL and the signing secrets, spelling out what must not be read in an answer)
//! is done by the first attempt that needs it, and shared by the others of its claim. It is dropped with the last of them:
//! no secret outlives a claim, so the next one sees a changed endpoint and a rotated key.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::crypto::{Keyring, open_target};
use crate::delivery::request::Ready;
use crate::model::endpoint::Endpoint;
use crate::model::id::EndpointId;
use crate::store::outbox::Claim;

/// The target of an endpoint as it was claimed.
#[derive(Debug, Default)]
pub(super) struct Opening(OnceLock<Result<Ready, &'static str>>);

impl Opening {
    /// The target, ready for requests. An error is a reason without a secret.
    pub(super) fn ready(&self, keyring: &Keyring, endpoint: &Endpoint) -> Result<&Ready, &'static str> {
        self.0.get_or_init(|| open(keyring, endpoint)).as_ref().map_err(|reason| *reason)
    }
}

/// Opens the target of an endpoint.
pub(super) fn open(keyring: &Keyring, endpoint: &Endpoint) -> Result<Ready, &'static str> {
    let target = open_target(keyring, endpoint.id, &endpoint.target)
        .map_err(|_| "the endpoint's secrets do not open with this server's keys")?;
    Ready::of(target)
}

/// Claims that belong together, each with the opening of its endpoint.
pub(super) fn together(claims: Vec<Claim>) -> impl Iterator<Item = (Claim, Arc<Opening>)> {
    let mut openings: HashMap<EndpointId, Arc<Opening>> = HashMap::new();
    claims.into_iter().map(move |claim| {
        let opening = Arc::clone(openings.entry(claim.endpoint.id).or_default());
        (claim, opening)
    })
}
