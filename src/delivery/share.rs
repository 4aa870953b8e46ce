//! Who gets the free slots: a pure function of what waits and of what is under way.
//!
//! Slots are given out one by one, each to the tenant, and there to the endpoint, that holds the fewest. Nobody gets so
//! many that others are left without: an endpoint stops when it holds as many as are left, a tenant when it holds seven
//! times as many. So a slow endpoint with a long backlog gets about half of the slots, a second one half of the rest, and
//! the last ones go to endpoints that hold none. Retries hold half of the slots at most, and where both wait for one
//! endpoint, first attempts and retries take turns: however much is to be tried again, what is new gets its chance.
//!
//! An endpoint gets no more than it has room for ([`Room`]): its own concurrency, what its rate leaves, and nothing while
//! its circuit is open. What waits for room waits in its rows. An attempt holds its slot until it is recorded, but the
//! endpoint is done with it when it has answered, unless it has failed: it is asked something else meanwhile. One that answers
//! steadily, well and quickly, has more claimed than it is asked at once, or it would wait for every claim.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::delivery::rate::Left;
use crate::model::id::{EndpointId, TenantId};
use crate::model::time::Timestamp;
use crate::store::outbox::{Share, Waiting};

/// A tenant leaves one slot in so many, and one more, to others.
const LEFT_BY_TENANTS: usize = 7;

/// So many attempts that went well and quickly, one after the other, make an endpoint steady...
const STEADY: usize = 32;

/// ...and a steady one has so many times more claimed than it is asked at once.
const AHEAD: usize = 4;

/// What is under way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Attempts in all.
    pub(super) all: usize,
    /// Those of them that are retries.
    pub(super) retries: usize,
    /// By endpoint.
    pub(super) endpoints: HashMap<EndpointId, usize>,
    /// Those of an endpoint's that have come to their end and are yet to be recorded: the endpoint is done with them.
    pub(super) ended: HashMap<EndpointId, usize>,
    /// How many attempts have gone well and quickly at an endpoint, one after the other, while it holds some.
    pub(super) quick: HashMap<EndpointId, usize>,
    /// By tenant.
    pub(super) tenants: HashMap<TenantId, usize>,
}

/// How many attempts may be under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// In all.
    pub(super) slots: usize,
    /// To one endpoint.
    pub(super) of_endpoint: usize,
}

/// What an endpoint has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Attempts that it is asked at a time.
    pub(super) at_once: usize,
    /// Attempts under way, those among them that are yet to be recorded.
    pub(super) held: usize,
    /// Further attempts now.
    pub(super) more: u32,
    /// When there will be more room, if it is not an attempt's end that makes it.
    pub(super) again: Option<Timestamp>,
}

impl Room {
    /// Of an endpoint to which nothing is sent before an instant.
    fn none_until(at: Timestamp) -> Self {
        Self { at_once: 0, held: 0, more: 0, again: Some(at) }
    }

    /// That of an endpoint, given what its rate leaves.
    pub(super) fn of(waiting: &Waiting, left: Left, now: Timestamp) -> Self {
        let at_once = waiting.pace.concurrency.map_or(usize::MAX, |most| usize::try_from(most.get()).unwrap_or(1));
        let held = match waiting.circuit {
            Some(circuit) if circuit.until > now => return Self::none_until(circuit.until),
            // A probe: what it found must be known before there is another.
            Some(_) => 1,
            None => usize::MAX,
        };
        Self { at_once, held, more: left.count, again: left.again }
    }
}

/// What comes of dividing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Division {
    /// Who gets how many.
    pub(super) shares: Vec<Share>,
    /// Whether something is due that got none: it is looked at again when an attempt ends.
    pub(super) passed_over: bool,
    /// When the next of those that are not due will be.
    pub(super) next: Option<Timestamp>,
}

/// An endpoint for which something is due.
struct Candidate {
    waiting: Waiting,
    firsts: u32,
    retries: u32,
    first_due: bool,
    retry_due: bool,
    room: Room,
}

impl Candidate {
    fn of(waiting: Waiting, room: Room, now: Timestamp) -> Option<Self> {
        let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        let (first_due, retry_due) = (is_due(waiting.first_at), is_due(waiting.retry_at));
        (first_due || retry_due).then_some(Self { waiting, firsts: 0, retries: 0, first_due, retry_due, room })
    }

    /// Whether it was given all that it has room for now.
    fn is_full(&self) -> bool {
        self.firsts.saturating_add(self.retries) >= self.room.more
    }

    /// Takes one more, if there is one it may take. Whether it is a retry.
    fn take(&mut self, retries_left: bool) -> Option<bool> {
        let may_retry = self.retry_due && retries_left;
        if self.first_due && (self.firsts <= self.retries || !may_retry) {
            self.firsts = self.firsts.saturating_add(1);
            return Some(false);
        }
        may_retry.then(|| {
            self.retries = self.retries.saturating_add(1);
            true
        })
    }

    fn share(&self) -> Option<Share> {
        let Self { waiting, firsts, retries, .. } = *self;
        (firsts > 0 || retries > 0).then_some(Share { endpoint_id: waiting.endpoint_id, firsts, retries })
    }
}

impl Load {
    /// One more is under way.
    pub(super) fn begin(&mut self, tenant: TenantId, endpoint: EndpointId, is_retry: bool) {
        self.all = self.all.saturating_add(1);
        self.retries = self.retries.saturating_add(usize::from(is_retry));
        let held = self.endpoints.entry(endpoint).or_default();
        *held = held.saturating_add(1);
        let held = self.tenants.entry(tenant).or_default();
        *held = held.saturating_add(1);
    }

    /// One has come to its end, well and quickly or not.
    pub(super) fn end(&mut self, endpoint: EndpointId, is_quick: bool) {
        let ended = self.ended.entry(endpoint).or_default();
        *ended = ended.saturating_add(1);
        if is_quick {
            let quick = self.quick.entry(endpoint).or_default();
            *quick = quick.saturating_add(1);
        } else {
            self.falter(endpoint);
        }
    }

    /// An endpoint is not steady any more.
    pub(super) fn falter(&mut self, endpoint: EndpointId) {
        self.quick.remove(&endpoint);
    }

    /// How many times what it is asked at once an endpoint may have claimed.
    fn ahead(&self, endpoint: EndpointId) -> usize {
        if self.quick.get(&endpoint).is_some_and(|quick| *quick >= STEADY) { AHEAD } else { 1 }
    }

    /// One that has come to its end is recorded.
    pub(super) fn record(&mut self, tenant: TenantId, endpoint: EndpointId, is_retry: bool) {
        lower(&mut self.ended, &endpoint);
        self.all = self.all.saturating_sub(1);
        self.retries = self.retries.saturating_sub(usize::from(is_retry));
        lower(&mut self.endpoints, &endpoint);
        if !self.endpoints.contains_key(&endpoint) {
            self.quick.remove(&endpoint);
        }
        lower(&mut self.tenants, &tenant);
    }

    /// Attempts that an endpoint is being asked, or will be as soon as it is its turn.
    pub(super) fn asked(&self, endpoint: EndpointId) -> usize {
        self.held(endpoint).saturating_sub(self.ended.get(&endpoint).copied().unwrap_or_default())
    }

    /// Those that an endpoint holds, and those yet to be recorded among them.
    fn held(&self, endpoint: EndpointId) -> usize {
        self.endpoints.get(&endpoint).copied().unwrap_or_default()
    }

    /// What its tenant holds, and what an endpoint is being asked.
    fn of(&self, waiting: &Waiting) -> (usize, usize) {
        let of_tenant = self.tenants.get(&waiting.tenant_id).copied().unwrap_or_default();
        (of_tenant, self.asked(waiting.endpoint_id))
    }
}

fn lower<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, of: &K) {
    if let Some(count) = counts.get_mut(of) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(of);
        }
    }
}

/// When an endpoint must be looked at again, if nothing else happens: when something will be due, or when there will be
/// room for what is.
fn looked_at_again(waiting: &Waiting, room: &Room, now: Timestamp) -> Option<Timestamp> {
    let due = [waiting.first_at, waiting.retry_at].into_iter().flatten();
    match room.again {
        Some(again) if room.more == 0 => due.min().map(|due| due.max(again)),
        _ => due.filter(|at| *at > now).min(),
    }
}

/// Divides the free slots among those that wait and have room, as if all of them had a long backlog.
pub(super) fn divide(now: Timestamp, waiting: &[(Waiting, Room)], load: &Load, bounds: Bounds) -> Division {
    let next = waiting.iter().filter_map(|(one, room)| looked_at_again(one, room, now)).min();
    let mut candidates: Vec<Candidate> =
        waiting.iter().filter_map(|(one, room)| Candidate::of(*one, *room, now)).collect();
    let mut load = load.clone();
    let key = |load: &Load, candidate: &Candidate| load.of(&candidate.waiting);
    let mut queue: BinaryHeap<_> =
        candidates.iter().enumerate().map(|(at, candidate)| Reverse((key(&load, candidate), at))).collect();
    let mut passed_over = false;
    while let Some(Reverse((held, at))) = queue.pop() {
        let Some(candidate) = candidates.get_mut(at) else { continue };
        let (of_tenant, asked) = key(&load, candidate);
        if held != (of_tenant, asked) {
            queue.push(Reverse(((of_tenant, asked), at)));
            continue;
        }
        if candidate.is_full() {
            continue;
        }
        let free = bounds.slots.saturating_sub(load.all);
        let endpoint = candidate.waiting.endpoint_id;
        let at_once = bounds.of_endpoint.min(candidate.room.at_once);
        let may_hold_more = asked < free.min(at_once.saturating_mul(load.ahead(endpoint)))
            && load.held(endpoint) < candidate.room.held
            && of_tenant < free.saturating_mul(LEFT_BY_TENANTS);
        let retries_left = load.retries < (bounds.slots / 2).max(1);
        let taken = if may_hold_more { candidate.take(retries_left) } else { None };
        let Some(is_retry) = taken else {
            passed_over = true;
            continue;
        };
        load.begin(candidate.waiting.tenant_id, candidate.waiting.endpoint_id, is_retry);
        queue.push(Reverse((key(&load, candidate), at)));
    }
    Division { shares: candidates.iter().filter_map(Candidate::share).collect(), passed_over, next }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use uuid::Uuid;

    use super::*;
    use crate::model::health::Circuit;
    use crate::model::pace::Pace;

    const NOW: Timestamp = Timestamp(1_000);
    const DUE: Option<Timestamp> = Some(Timestamp(999));

    fn endpoint(number: u128) -> EndpointId {
        EndpointId(Uuid::from_u128(number))
    }

    fn waiting(tenant: u128, number: u128, first_at: Option<Timestamp>, retry_at: Option<Timestamp>) -> Waiting {
        let tenant_id = TenantId(Uuid::from_u128(tenant));
        Waiting { tenant_id, endpoint_id: endpoint(number), first_at, retry_at, pace: Pace::default(), circuit: None }
    }

    /// With all the room there is.
    fn roomy(waiting: &[Waiting]) -> Vec<(Waiting, Room)> {
        let room = Room { at_once: usize::MAX, held: usize::MAX, more: u32::MAX, again: None };
        waiting.iter().map(|one| (*one, room)).collect()
    }

    /// So many attempts under way by tenant and endpoint, none of them a retry.
    fn load(held: &[(u128, u128, usize)]) -> Load {
        let mut load = Load::default();
        for (tenant, number, count) in held {
            (0..*count).for_each(|_| load.begin(TenantId(Uuid::from_u128(*tenant)), endpoint(*number), false));
        }
        load
    }

    /// Endpoints with what they get, first attempts and retries.
    fn divided(waiting: &[Waiting], load: &Load, slots: usize) -> Vec<(u128, u32, u32)> {
        given(&divide(NOW, &roomy(waiting), load, Bounds { slots, of_endpoint: 32 }))
    }

    fn given(division: &Division) -> Vec<(u128, u32, u32)> {
        let mut shares: Vec<_> =
            division.shares.iter().map(|share| (share.endpoint_id.0.as_u128(), share.firsts, share.retries)).collect();
        shares.sort_unstable();
        shares
    }

    /// Why, who waits, what is under way, how many slots there are, and who gets how many.
    type Case<'a> = (&'a str, &'a [Waiting], Load, usize, &'a [(u128, u32, u32)]);

    #[test]
    fn slots_go_first_to_those_who_hold_fewest_and_some_are_left() {
        let both = [waiting(1, 1, DUE, None), waiting(1, 2, DUE, None)];
        let alone = [waiting(1, 1, DUE, None)];
        let table: [Case<'_>; 8] = [
            ("a single slot is given", &alone, load(&[]), 1, &[(1, 1, 0)]),
            ("one alone gets half", &alone, load(&[]), 16, &[(1, 8, 0)]),
            ("but no more than an endpoint may hold", &alone, load(&[]), 1_000, &[(1, 32, 0)]),
            ("two get the same", &both, load(&[]), 16, &[(1, 6, 0), (2, 5, 0)]),
            ("who holds more gets less", &both, load(&[(1, 1, 4)]), 16, &[(1, 2, 0), (2, 5, 0)]),
            ("who holds as many as are free gets none", &both, load(&[(1, 1, 8)]), 16, &[(2, 4, 0)]),
            ("the last ones are for those who hold none", &both, load(&[(1, 1, 8), (2, 3, 6)]), 16, &[(2, 1, 0)]),
            ("where none is free nobody gets one", &both, load(&[(1, 1, 8), (1, 3, 8)]), 16, &[]),
        ];
        for (why, waiting, load, slots, expected) in table {
            assert_eq!(divided(waiting, &load, slots), expected, "{why}");
        }
    }

    #[test]
    fn a_tenant_with_many_endpoints_leaves_slots_to_others() {
        let crowd: Vec<Waiting> = (1..=100).map(|number| waiting(1, number, DUE, None)).collect();
        let given: u32 = divided(&crowd, &Load::default(), 64).iter().map(|(_, firsts, _)| firsts).sum();
        assert_eq!(given, 56, "an eighth stays");
        let other = [crowd, vec![waiting(2, 200, DUE, None)]].concat();
        let shares = divided(&other, &Load::default(), 64);
        assert_eq!(shares.last(), Some(&(200, 21, 0)), "and fifty times the endpoints is not fifty times the slots");
    }

    #[test]
    fn retries_take_turns_with_first_attempts_and_never_hold_more_than_half() {
        let mixed = [waiting(1, 1, DUE, DUE)];
        assert_eq!(divided(&mixed, &Load::default(), 16), [(1, 4, 4)]);
        let failing: Vec<Waiting> = (1..=50).map(|number| waiting(1, number, None, DUE)).collect();
        let given: u32 = divided(&failing, &Load::default(), 64).iter().map(|(.., retries)| retries).sum();
        assert_eq!(given, 32);
        let fresh = [failing, vec![waiting(1, 200, DUE, None)]].concat();
        assert_eq!(divided(&fresh, &Load::default(), 64).last().map(|share| share.1 > 0), Some(true));
    }

    #[test]
    fn what_is_not_due_is_waited_for_and_what_got_nothing_is_said() {
        let later = Some(Timestamp(1_500));
        let bounds = Bounds { slots: 4, of_endpoint: 32 };
        let both = [waiting(1, 1, later, Some(Timestamp(1_200))), waiting(1, 2, None, Some(Timestamp(2_000)))];
        let none = Division { shares: Vec::new(), passed_over: false, next: Some(Timestamp(1_200)) };
        assert_eq!(divide(NOW, &roomy(&both), &Load::default(), bounds), none);
        let crowded = divide(NOW, &roomy(&[waiting(1, 1, DUE, later)]), &load(&[(1, 1, 2), (1, 9, 1)]), bounds);
        assert_eq!(crowded, Division { shares: Vec::new(), passed_over: true, next: later });
    }

    /// Why, who waits, what its rate leaves, what is under way, who gets how many, and what else is said.
    type Roomed<'a> = (&'a str, Waiting, Left, Load, &'a [(u128, u32, u32)], Option<Timestamp>);

    #[test]
    fn an_endpoint_gets_what_it_has_room_for_and_costs_the_others_nothing() {
        let (full, some) = (Left { count: u32::MAX, again: None }, Left { count: 3, again: None });
        let none = Left { count: 0, again: Some(Timestamp(1_300)) };
        let circuit = |until| Some(Circuit { until: Timestamp(until), openings: 1 });
        let two_at_once = Pace { concurrency: NonZeroU32::new(2), ..Pace::default() };
        let one = waiting(1, 1, DUE, DUE);
        let at = |instant| Some(Timestamp(instant));
        let table: [Roomed<'_>; 8] = [
            ("all of it", one, full, load(&[]), &[(1, 3, 3), (2, 5, 0)], None),
            ("what its rate leaves", one, some, load(&[]), &[(1, 2, 1), (2, 7, 0)], None),
            ("nothing until its rate leaves some", one, none, load(&[]), &[(2, 8, 0)], at(1_300)),
            ("its concurrency", Waiting { pace: two_at_once, ..one }, full, load(&[]), &[(1, 1, 1), (2, 7, 0)], None),
            (
                "what is left of it",
                Waiting { pace: two_at_once, ..one },
                full,
                load(&[(1, 1, 1)]),
                &[(1, 1, 0), (2, 7, 0)],
                None,
            ),
            (
                "nothing while its circuit is open",
                Waiting { circuit: circuit(1_900), ..one },
                full,
                load(&[]),
                &[(2, 8, 0)],
                at(1_900),
            ),
            (
                "a probe when it is half open",
                Waiting { circuit: circuit(1_000), ..one },
                full,
                load(&[]),
                &[(1, 1, 0), (2, 8, 0)],
                None,
            ),
            (
                "and no other beside it",
                Waiting { circuit: circuit(1_000), ..one },
                full,
                load(&[(1, 1, 1)]),
                &[(2, 8, 0)],
                None,
            ),
        ];
        for (why, limited, left, load, expected, next) in table {
            let free = waiting(1, 2, DUE, None);
            let rooms = [(limited, Room::of(&limited, left, NOW)), (free, Room::of(&free, full, NOW))];
            let division = divide(NOW, &rooms, &load, Bounds { slots: 16, of_endpoint: 32 });
            assert_eq!(given(&division), expected, "{why}");
            assert_eq!(division.next, next, "{why}");
        }
    }

    #[test]
    fn an_endpoint_is_done_with_what_it_has_answered_and_a_probe_is_not_before_it_is_recorded() {
        let one = waiting(1, 1, DUE, None);
        let (bounds, mut busy) = (Bounds { slots: 256, of_endpoint: 8 }, load(&[(1, 1, 8)]));
        let given = |load: &Load, one: Waiting| {
            let room = Room::of(&one, Left { count: u32::MAX, again: None }, NOW);
            divide(NOW, &[(one, room)], load, bounds).shares.first().map_or(0, |share| share.firsts)
        };
        assert_eq!(given(&busy, one), 0);
        (0..3).for_each(|_| busy.end(endpoint(1), true));
        assert_eq!(given(&busy, one), 3);
        busy.record(TenantId(Uuid::from_u128(1)), endpoint(1), false);
        assert_eq!((busy.all, given(&busy, one)), (7, 3), "recording it makes no more room there");
        let probed = Waiting { circuit: Some(Circuit { until: NOW, openings: 1 }), ..one };
        let mut probing = load(&[(1, 1, 1)]);
        probing.end(endpoint(1), true);
        assert_eq!(given(&probing, probed), 0);
    }

    #[test]
    fn a_steady_endpoint_has_more_claimed_until_one_attempt_is_slow_or_fails() {
        let one = waiting(1, 1, DUE, None);
        let given = |load: &Load, slots| {
            let bounds = Bounds { slots, of_endpoint: 8 };
            divide(NOW, &roomy(&[one]), load, bounds).shares.first().map_or(0, |share| share.firsts)
        };
        let mut steady = load(&[(1, 1, 1)]);
        (0..STEADY).for_each(|_| steady.end(endpoint(1), true));
        steady.ended.clear();
        assert_eq!(given(&steady, 256), 31);
        assert_eq!(given(&steady, 32), 15, "and never more than are left");
        steady.end(endpoint(1), false);
        steady.ended.clear();
        assert_eq!(given(&steady, 256), 7);
        (0..STEADY).for_each(|_| steady.end(endpoint(1), true));
        steady.ended.clear();
        steady.record(TenantId(Uuid::from_u128(1)), endpoint(1), false);
        assert_eq!(steady, Load::default(), "nothing is remembered of one that holds none");
    }
}
