//! Places for attempts, and the end of waiting for one.

use std::sync::Arc;

use tokio::sync::watch;

use crate::delivery::share::Load;
use crate::model::id::{EndpointId, TenantId};
use crate::store::outbox::Claim;
use crate::task::Poke;

/// All places. Clones are the same ones.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    taken: Arc<watch::Sender<Taken>>,
    /// How many there are.
    all: usize,
    poke: Poke,
}

#[derive(Debug, Default)]
struct Taken {
    load: Load,
    /// Something is due for which there was no place.
    wanted: bool,
    /// Attempts that have come to their end since it was looked for.
    ended: usize,
}

/// The loop is poked when so many attempts have ended and a third of all, or all to one endpoint: a claim costs the same for
/// one delivery as for a dozen. What is recorded pokes it too, so nothing waits for others that end late.
const ENOUGH: usize = 12;

/// A place for one attempt. However it is left, whoever waits for one hears of it.
#[derive(Debug)]
pub(super) struct Slot {
    of: Slots,
    tenant: TenantId,
    endpoint: EndpointId,
    is_retry: bool,
    is_ended: bool,
    is_left: bool,
}

impl Slots {
    /// So many, and none taken. The loop that is poked takes them.
    pub(super) fn new(all: usize, poke: Poke) -> Self {
        Self { taken: Arc::new(watch::Sender::default()), all, poke }
    }

    /// How many attempts may be recorded together soon: those under way, or none where places are scarce.
    pub(super) fn soon(&self) -> usize {
        let taken = self.taken.borrow().load.all;
        if taken > self.all / 2 { 0 } else { taken }
    }

    /// What is under way.
    pub(super) fn load(&self) -> Load {
        self.taken.borrow().load.clone()
    }

    /// Takes a place for a claimed delivery.
    pub(super) fn take(&self, claim: &Claim) -> Slot {
        let (tenant, endpoint) = (claim.delivery.tenant_id, claim.delivery.endpoint_id);
        let is_retry = claim.delivery.attempts > 0;
        self.taken.send_modify(|taken| taken.load.begin(tenant, endpoint, is_retry));
        Slot { of: self.clone(), tenant, endpoint, is_retry, is_ended: false, is_left: false }
    }

    /// Notes whether something waits for a place: then the loop is poked when one is left.
    pub(super) fn want(&self, wanted: bool) {
        self.taken.send_modify(|taken| (taken.wanted, taken.ended) = (wanted, 0));
    }

    /// Leaves places together, so that the loop finds them all at once.
    pub(super) fn leave(&self, slots: impl IntoIterator<Item = Slot>) {
        let mut slots: Vec<Slot> = slots.into_iter().collect();
        self.free(&mut slots);
    }

    /// Has the loop look at what waits.
    pub(super) fn wake(&self) {
        self.poke.poke();
    }

    /// Resolves when no attempt is under way.
    pub(super) async fn emptied(&self) {
        // An error would mean that all places are gone.
        self.taken.subscribe().wait_for(|taken| taken.load.all == 0).await.map(drop).unwrap_or_default();
    }

    fn free(&self, slots: &mut [Slot]) {
        let mut wanted = false;
        self.taken.send_modify(|taken| {
            for slot in slots.iter_mut().filter(|slot| !slot.is_left) {
                slot.is_left = true;
                if !slot.is_ended {
                    taken.load.end(slot.endpoint, false);
                }
                taken.load.record(slot.tenant, slot.endpoint, slot.is_retry);
            }
            wanted = taken.wanted;
        });
        if wanted {
            self.poke.poke();
        }
    }
}

impl Slot {
    /// Notes that the attempt has come to its end, well and quickly or not. The place is held until it is recorded.
    pub(super) fn end(&mut self, is_quick: bool) {
        self.is_ended = true;
        let (endpoint, mut poke) = (self.endpoint, false);
        self.of.taken.send_modify(|taken| {
            taken.load.end(endpoint, is_quick);
            taken.ended = taken.ended.saturating_add(1);
            let is_enough = taken.ended >= ENOUGH.max(taken.load.all / 3);
            poke = taken.wanted && (is_enough || taken.load.asked(endpoint) == 0);
            if poke {
                taken.ended = 0;
            }
        });
        if poke {
            self.of.poke.poke();
        }
    }

    /// Notes that the endpoint fails or is busy: no more is claimed for it than it is asked at once. It is not done with this
    /// attempt before that is recorded, so that what follows for its circuit is known before it is asked something else.
    pub(super) fn falter(&self) {
        self.of.taken.send_modify(|taken| taken.load.falter(self.endpoint));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.is_left {
            let slots = self.of.clone();
            slots.free(std::slice::from_mut(self));
        }
    }
}
