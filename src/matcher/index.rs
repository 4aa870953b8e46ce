//! Which rules a run may match, without asking them all.
//!
//! Each rule is put under the marks of one of its demands, the rarest, so that only runs that have such a mark come to
//! it. Rules that demand nothing that can be looked up lie apart,
//! for every run. Where many rules lie together, those that set a threshold on one measure are sorted by it, and a run
//! comes to those on its side only.
//!
//! What is found are candidates: all rules that match are among them, and each has to be asked. An index is made once
//! and never changed.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::filter::demand::Demands;
use crate::filter::mark::Places;
use crate::filter::measure::{Bound, Measure, Side};
use crate::filter::{Facts, Filter};
use crate::matcher::survey::Survey;

/// A rule's place among the rules of its set.
pub type Slot = u32;

/// Set on a slot that lies under several marks and so may be found twice.
const REPEATED: Slot = 1 << 31;

/// Rules that lie together before thresholds are sorted.
const CROWD: usize = 32;

/// Thresholds on one side of a measure that are worth being sorted.
const WORTH_SORTING: usize = 8;

/// Candidates by what a run has.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Where marks lie.
    places: Places,
    by_mark: HashMap<u64, Bucket, BuildHasherDefault<Identity>>,
    /// Rules that every run comes to.
    rest: Bucket,
}

/// Rules that lie together.
#[derive(Debug, Default)]
struct Bucket {
    slots: Box<[Slot]>,
    sorted: Box<[Thresholds]>,
}

/// Rules with a threshold on the same side of the same measure, by threshold.
#[derive(Debug)]
struct Thresholds {
    measure: Measure,
    side: Side,
    at: Box<[i64]>,
    slots: Box<[Slot]>,
}

/// A rule that is to lie somewhere.
type Posting = (Slot, Option<Bound>);

impl Index {
    /// The index of these filters.
    pub(super) fn of<'f>(filters: impl Iterator<Item = (Slot, &'f Filter)>) -> Self {
        let demanded: Vec<(Slot, Demands)> = filters.map(|(slot, filter)| (slot, filter.demands())).collect();
        let survey = Survey::of(demanded.iter().map(|(_, demands)| demands));
        let mut places = Places::default();
        let mut by_mark: HashMap<u64, Vec<Posting>> = HashMap::new();
        let mut rest = Vec::new();
        for (slot, demands) in &demanded {
            let bound = demands.bounds.first().copied();
            let Some(choice) = survey.lightest(demands) else {
                rest.push((*slot, bound));
                continue;
            };
            let slot = if choice.len() > 1 { slot | REPEATED } else { *slot };
            for mark in choice {
                places.add(mark.place);
                by_mark.entry(mark.hash).or_default().push((slot, bound));
            }
        }
        let by_mark = by_mark.into_iter().map(|(mark, postings)| (mark, Bucket::of(postings))).collect();
        Self { places, by_mark, rest: Bucket::of(rest) }
    }

    /// All rules that may match, each once, in no order. What was in `found` is forgotten.
    pub(super) fn candidates(&self, facts: &Facts<'_>, found: &mut Vec<Slot>) {
        found.clear();
        self.rest.collect(facts, found);
        facts.marks(self.places, |mark| {
            if let Some(bucket) = self.by_mark.get(&mark) {
                bucket.collect(facts, found);
            }
        });
        once(found);
    }
}

/// Leaves every slot once, without its flag.
fn once(found: &mut Vec<Slot>) {
    let mut single = 0;
    for at in 0..found.len() {
        if found.get(at).is_some_and(|slot| slot & REPEATED == 0) {
            found.swap(at, single);
            single += 1;
        }
    }
    if single < found.len() {
        let mut repeated = found.split_off(single);
        repeated.iter_mut().for_each(|slot| *slot &= !REPEATED);
        repeated.sort_unstable();
        repeated.dedup();
        found.append(&mut repeated);
    }
}

impl Bucket {
    fn of(postings: Vec<Posting>) -> Self {
        if postings.len() <= CROWD {
            return Self { slots: slots(&postings), sorted: Box::default() };
        }
        let mut sides: HashMap<(Measure, Side), Vec<(i64, Slot)>> = HashMap::new();
        let mut rest = Vec::new();
        for (slot, bound) in &postings {
            match bound {
                Some(bound) => sides.entry((bound.measure, bound.side)).or_default().push((bound.at, *slot)),
                None => rest.push(*slot),
            }
        }
        let mut sorted = Vec::new();
        for ((measure, side), mut thresholds) in sides {
            if thresholds.len() < WORTH_SORTING {
                rest.extend(thresholds.into_iter().map(|(_, slot)| slot));
                continue;
            }
            thresholds.sort_unstable();
            let (at, slots): (Vec<_>, Vec<_>) = thresholds.into_iter().unzip();
            sorted.push(Thresholds { measure, side, at: at.into(), slots: slots.into() });
        }
        Self { slots: rest.into(), sorted: sorted.into() }
    }

    fn collect(&self, facts: &Facts<'_>, found: &mut Vec<Slot>) {
        found.extend_from_slice(&self.slots);
        for thresholds in &self.sorted {
            found.extend_from_slice(thresholds.passed(facts));
        }
    }
}

fn slots(postings: &[Posting]) -> Box<[Slot]> {
    postings.iter().map(|(slot, _)| *slot).collect()
}

impl Thresholds {
    /// Those whose threshold the run may have passed.
    fn passed(&self, facts: &Facts<'_>) -> &[Slot] {
        let Some(extent) = self.measure.extent(facts) else { return &[] };
        match self.side {
            Side::Above => self.slots.get(..self.at.partition_point(|at| *at <= extent.greatest)),
            Side::Below => self.slots.get(self.at.partition_point(|at| *at < extent.least)..),
        }
        .unwrap_or_default()
    }
}

/// A mark is a hash already.
#[derive(Debug, Default, Clone, Copy)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, mark: u64) {
        self.0 = mark;
    }
}
