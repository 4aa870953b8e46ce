//! How data leaves by age: each operation drops a bounded number of rows, oldest first, in one transaction.
//!
//! Runs are found through the log of their project, whose changes are numbered in the order of their arrival: the oldest
//! are its beginning, and no other index has to be kept for them. Two laws make that complete. The newest change of a run
//! stays in the log for as long as the run is stored; and a run is dropped only when no run of its trace has changed
//! since, so that a trace goes whole and no rule ever looks at half of one. Changes that are not the newest of a run go by
//! themselves.
//!
//! How old is old, and what every group has seen, is for the caller to say; what is dropped under other rules than those
//! it looked at is `Stale`. Any number of replicas may drop at the same time: what one holds the others pass over.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use serde::Deserialize;

use crate::model::audit::Entry;
use crate::model::id::{DeliveryId, ProjectId, RunId, TenantId, TraceId};
use crate::model::message::Message;
use crate::model::run::{BlobKey, Fields, Layers};
use crate::model::time::Timestamp;
use crate::model::window::Seq;
use crate::store::Result;
use crate::store::body::unpack_json;

/// A project whose oldest change is old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aged {
    /// The owner.
    pub tenant_id: TenantId,
    /// The project.
    pub project_id: ProjectId,
    /// Its name.
    pub name: String,
    /// Its newest change.
    pub last_seq: Seq,
}

/// Which runs may be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldRuns {
    /// The owner.
    pub tenant_id: TenantId,
    /// The project.
    pub project_id: ProjectId,
    /// Changes up to this number were looked at before.
    pub after: Seq,
    /// Changes up to this number are old, and every group has seen them.
    pub through: Seq,
    /// The rules that was found out with.
    pub rules_version: i64,
    /// At most so many changes are looked at.
    pub limit: u32,
    /// The present.
    pub now: Timestamp,
}

/// What became of old runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DroppedRuns {
    /// Runs that are gone, with their feedback.
    pub runs: u64,
    /// Changes that are gone.
    pub changes: u64,
    /// Where to go on; none when nothing is left to be looked at.
    pub next: Option<Seq>,
}

/// A place among deliveries that have ended: by when, then by id.
pub type Ended = (Timestamp, DeliveryId);

/// What became of old messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DroppedMessages {
    /// Messages that are gone.
    pub messages: u64,
    /// Deliveries that are gone, with their attempts.
    pub deliveries: u64,
    /// Where to go on; none when nothing is left to be looked at.
    pub next: Option<Ended>,
}

/// What became of other old things.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many are gone.
    pub rows: u64,
    /// Whether there may be more.
    pub more: bool,
}

/// Dropping what is past its age.
#[async_trait]
pub trait RetentionStore: Send + Sync {
    /// Projects whose oldest change was accepted before an instant.
    async fn aged_projects(&self, before: Timestamp) -> Result<Vec<Aged>>;

    /// Looks at the oldest changes of a project. Runs they are the newest of are dropped with their feedback, unless a run
    /// of their trace has changed behind `through`; changes that are the newest of no run are dropped. It is noted with
    /// the matches of a dropped run when that was. `Stale` if the rules have another version: a rule that has just
    /// arrived may have to see these changes.
    async fn drop_runs(&self, old: OldRuns) -> Result<DroppedRuns>;

    /// Drops all runs of these traces of a project with their feedback and their newest changes, because somebody asks for
    /// it and whatever their age. It is noted with their matches when that was. How many runs there were; if there were
    /// none nothing is told. A run of which something is sent again begins anew.
    async fn drop_traces(
        &self,
        tenant: TenantId,
        project: ProjectId,
        traces: &[TraceId],
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<u64>;

    /// Looks at up to `limit` deliveries that ended before an instant, and behind a place, in that order. A message all
    /// of whose deliveries did is dropped with them, their attempts and its links; one of which a single delivery is
    /// pending, or ended later, stays whole.
    async fn drop_messages(&self, before: Timestamp, after: Option<Ended>, limit: u32) -> Result<DroppedMessages>;

    /// Drops up to `limit` windows that ended before an instant.
    async fn drop_windows(&self, before: Timestamp, limit: u32) -> Result<Dropped>;

    /// Drops what is stored of up to `limit` runs that are not complete and of which nothing was heard since an instant:
    /// parts that wait, fragments, and feedback.
    async fn drop_incomplete(&self, before: Timestamp, limit: u32) -> Result<Dropped>;

    /// Forgets up to `limit` matches of runs that were dropped before an instant. A run that is there again keeps its
    /// matches.
    async fn forget_matches(&self, before: Timestamp, limit: u32) -> Result<Dropped>;

    /// Those of these blobs that nothing names: not the run they belong to, not a part of it that waits, not a message. A
    /// run that has changed since `quiet_since` keeps all of its blobs: a message that is about to be committed may tell
    /// what the run said before.
    async fn unnamed_blobs(
        &self,
        tenant: TenantId,
        blobs: &[(RunId, BlobKey)],
        quiet_since: Timestamp,
    ) -> Result<Vec<BlobKey>>;

    /// Goes on with what removed projects held: drops up to `limit` rows of a kind.
    async fn drop_removed(&self, limit: u32) -> Result<Dropped>;

    /// Takes it on to look through all blobs, unless somebody has since an instant. Whether that is the caller now.
    async fn begin_sweep(&self, now: Timestamp, since: Timestamp) -> Result<bool>;
}

/// An old change, and where its run stands.
pub(in crate::store) struct Candidate {
    pub(in crate::store) seq: Seq,
    pub(in crate::store) run_id: RunId,
    /// The run's newest change and its trace; none if there is no such run.
    pub(in crate::store) stands: Option<(Seq, TraceId)>,
}

/// What to do about old changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Plan {
    /// Changes that are the newest of no run.
    pub(in crate::store) superseded: Vec<Seq>,
    /// Runs to be dropped, each with its newest change.
    pub(in crate::store) runs: HashMap<RunId, Seq>,
    /// Where to go on.
    pub(in crate::store) next: Option<Seq>,
}

/// The traces of the runs that candidates are the newest changes of.
pub(in crate::store) fn traces_of(candidates: &[Candidate]) -> Vec<TraceId> {
    let newest = candidates.iter().filter_map(|candidate| candidate.stands.filter(|(seq, _)| *seq == candidate.seq));
    let traces: HashSet<TraceId> = newest.map(|(_, trace)| trace).collect();
    traces.into_iter().collect()
}

/// Decides on candidates, given which of their traces have changed behind what is old.
pub(in crate::store) fn plan(candidates: &[Candidate], living: &HashSet<TraceId>, limit: u32) -> Plan {
    let mut plan = Plan::default();
    for candidate in candidates {
        match candidate.stands {
            Some((newest, trace)) if newest == candidate.seq => {
                if !living.contains(&trace) {
                    plan.runs.insert(candidate.run_id, candidate.seq);
                }
            }
            _ => plan.superseded.push(candidate.seq),
        }
    }
    let all_there_are = u32::try_from(candidates.len()).is_ok_and(|read| read < limit);
    plan.next = candidates.last().filter(|_| !all_there_are).map(|last| last.seq);
    plan
}

impl Plan {
    /// The changes to drop when these runs were.
    pub(in crate::store) fn changes(&self, dropped: &[RunId]) -> Vec<Seq> {
        let newest = dropped.iter().filter_map(|run| self.runs.get(run));
        self.superseded.iter().chain(newest).copied().collect()
    }

    /// What came of it.
    pub(in crate::store) fn outcome(&self, dropped: &[RunId], changes: u64) -> DroppedRuns {
        DroppedRuns { runs: dropped.len() as u64, changes, next: self.next }
    }
}

/// Deliveries that have ended, with the tenant and the message of each, in order.
pub(in crate::store) type Endings = Vec<(TenantId, crate::model::id::MessageId, Ended)>;

/// Where to go on behind the endings that were looked at.
pub(in crate::store) fn next_ending(endings: &Endings, limit: u32) -> Option<Ended> {
    let all_there_are = u32::try_from(endings.len()).is_ok_and(|read| read < limit);
    endings.last().filter(|_| !all_there_are).map(|(_, _, ended)| *ended)
}

/// Things of many tenants, by tenant, each once.
pub(in crate::store) fn by_tenant<T: Ord>(things: impl IntoIterator<Item = (TenantId, T)>) -> Vec<(TenantId, Vec<T>)> {
    let mut grouped: HashMap<TenantId, Vec<T>> = HashMap::new();
    for (tenant, thing) in things {
        grouped.entry(tenant).or_default().push(thing);
    }
    let mut grouped: Vec<_> = grouped.into_iter().collect();
    grouped.sort_unstable_by_key(|(tenant, _)| *tenant);
    for (_, things) in &mut grouped {
        things.sort_unstable();
        things.dedup();
    }
    grouped
}

/// The blobs that each message's links open, each once.
pub(in crate::store) fn links_of(messages: &[Message]) -> Vec<(&Message, &str)> {
    let mut seen = HashSet::new();
    let links = messages.iter().flat_map(|message| message.body.links.iter().map(move |link| (message, &link.key)));
    links
        .filter(|(message, key)| seen.insert((message.id, *key)))
        .map(|(message, key)| (message, key.0.as_str()))
        .collect()
}

/// What is stored of the runs that some blobs belong to.
#[derive(Default)]
pub(in crate::store) struct Naming {
    /// Runs: what is known of each, packed, and when it last changed if it is complete.
    pub(in crate::store) bodies: Vec<(RunId, Vec<u8>, Option<Timestamp>)>,
    /// Parts that wait, packed.
    pub(in crate::store) parts: Vec<(RunId, Vec<u8>)>,
    /// Those of the blobs that messages link to.
    pub(in crate::store) linked: HashSet<String>,
}

/// A part that waits, as far as it names blobs.
#[derive(Deserialize)]
struct Waiting {
    fields: Fields,
}

impl Naming {
    /// Those of these blobs that nothing names. What does not decode may name any blob of its run, and a run that is not
    /// complete may change at any moment.
    pub(in crate::store) fn unnamed(self, blobs: &[(RunId, BlobKey)], quiet_since: Timestamp) -> Vec<BlobKey> {
        let mut named: HashSet<BlobKey> = HashSet::new();
        let mut untouchable: HashSet<RunId> = HashSet::new();
        for (run, body, changed) in self.bodies {
            match unpack_json::<Layers>("run_bodies", &body) {
                Ok(layers) if changed.is_some_and(|at| at < quiet_since) => {
                    named.extend(layers.post.blobs().chain(layers.patch.blobs()).cloned());
                }
                _ => _ = untouchable.insert(run),
            }
        }
        for (run, part) in self.parts {
            match unpack_json::<Waiting>("waiting_parts", &part) {
                Ok(part) => named.extend(part.fields.blobs().cloned()),
                Err(_) => _ = untouchable.insert(run),
            }
        }
        let is_named = |key: &BlobKey| named.contains(key) || self.linked.contains(&key.0);
        let unnamed = blobs.iter().filter(|(run, key)| !untouchable.contains(run) && !is_named(key));
        unnamed.map(|(_, key)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::json::RawJson;
    use crate::model::run::{BlobRef, Payload};
    use crate::store::body::pack_json;

    /// A part as it waits.
    #[derive(serde::Serialize)]
    struct Waits {
        kind: &'static str,
        fields: Fields,
    }

    fn run(number: u128) -> RunId {
        RunId(Uuid::from_u128(number))
    }

    fn candidate(seq: Seq, number: u128, stands: Option<Seq>) -> Candidate {
        Candidate { seq, run_id: run(number), stands: stands.map(|newest| (newest, run(number).into())) }
    }

    #[test]
    fn a_run_goes_with_its_newest_change_and_older_changes_go_alone() {
        let candidates =
            [candidate(1, 1, Some(3)), candidate(2, 2, Some(2)), candidate(3, 1, Some(3)), candidate(4, 9, None)];
        let plan = plan(&candidates, &HashSet::new(), 10);
        assert_eq!(plan.superseded, [1, 4]);
        assert_eq!(plan.runs, HashMap::from([(run(2), 2), (run(1), 3)]));
        assert_eq!(plan.next, None);
        let mut changes = plan.changes(&[run(2)]);
        changes.sort_unstable();
        assert_eq!(changes, [1, 2, 4], "a run that was not dropped keeps its newest change");
    }

    #[test]
    fn a_run_of_a_trace_that_lives_stays_with_its_newest_change() {
        let candidates = [candidate(1, 1, Some(1)), candidate(2, 2, Some(2))];
        let plan = plan(&candidates, &HashSet::from([run(1).into()]), 2);
        assert_eq!((plan.superseded, plan.runs, plan.next), (vec![], HashMap::from([(run(2), 2)]), Some(2)));
    }

    #[test]
    fn a_blob_is_named_by_either_layer_by_a_part_that_waits_and_by_a_message() {
        let key = |name: &str| BlobKey(format!("t/r/{name}"));
        let blob = |name: &str| {
            let extract = RawJson::parse("{}".to_owned()).unwrap();
            Some(Payload::Blob(BlobRef { key: key(name), bytes: 1, extract }))
        };
        let layers = Layers {
            post: Fields { inputs: blob("a"), ..Fields::default() },
            patch: Fields { outputs: blob("b"), ..Fields::default() },
            ..Layers::default()
        };
        let part = Waits { kind: "patch", fields: Fields { outputs: blob("c"), ..Fields::default() } };
        let naming = |changed| Naming {
            bodies: vec![(run(1), pack_json(&layers).unwrap(), changed)],
            parts: vec![(run(2), pack_json(&part).unwrap())],
            linked: HashSet::from([key("d").0]),
        };
        let blobs: Vec<(RunId, BlobKey)> = [(1, "a"), (1, "b"), (2, "c"), (3, "d"), (1, "e"), (2, "f"), (3, "g")]
            .map(|(number, name)| (run(number), key(name)))
            .into();
        let quiet = Timestamp(10);
        assert_eq!(naming(Some(Timestamp(9))).unnamed(&blobs, quiet), [key("e"), key("f"), key("g")]);
        assert_eq!(naming(Some(quiet)).unnamed(&blobs, quiet), [key("f"), key("g")], "the run has just changed");
        assert_eq!(naming(None).unnamed(&blobs, quiet), [key("f"), key("g")], "the run is not complete");
        let broken = Naming { bodies: vec![(run(1), vec![9], Some(Timestamp(0)))], ..Naming::default() };
        assert!(!broken.unnamed(&blobs, quiet).iter().any(|named| *named == key("e")), "a row that does not decode");
    }
}
