//! Which rules a run may match, without asking them all.
//!
//! What rules ask for are marks, and each mark has a symbol here. Each rule lies under the symbols of one of its demands,
//! the rarest, so that only runs that have such a mark come to it. Rules that demand nothing that can be looked up lie
//! under a symbol that every run has. Where many rules lie together, those that set a threshold on one measure are sorted
//! by it, and a run comes to those it reaches only. In front of each rule is a gate: a few more of its demands, small
//! enough that thousands are looked at in the time that it takes to ask a few rules.
//!
//! What is found are candidates: all rules that match are among them, and each has to be asked. An index is made once
//! and never changed.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::filter::demand::{Choice, Demands};
use crate::filter::mark::{Places, Reading};
use crate::filter::measure::{Bound, Gauge};
use crate::filter::{Facts, Filter};
use crate::matcher::candidates::Candidates;
use crate::matcher::gate::{FREE, Gate, Symbol};
use crate::matcher::survey::Survey;

/// A rule's place among the rules of its set.
pub type Slot = u32;

/// Rules that lie together before thresholds are sorted.
const CROWD: usize = 32;

/// Thresholds on one gauge that are worth being sorted.
const WORTH_SORTING: usize = 8;

/// Candidates by what a run has.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Where marks lie.
    places: Places,
    symbols: HashMap<u64, Symbol, BuildHasherDefault<Identity>>,
    gauges: Box<[Gauge]>,
    /// By symbol.
    buckets: Box<[Bucket]>,
}

/// Rules that lie together.
#[derive(Debug, Default)]
struct Bucket {
    gates: Box<[Gate]>,
    sorted: Box<[Thresholds]>,
}

/// Rules with a threshold on the same gauge, by its height.
#[derive(Debug)]
struct Thresholds {
    gauge: u32,
    heights: Box<[i64]>,
    gates: Box<[Gate]>,
}

/// What an index is made from.
#[derive(Default)]
struct Draft {
    places: Places,
    symbols: HashMap<u64, Symbol, BuildHasherDefault<Identity>>,
    gauges: Vec<Gauge>,
    buckets: HashMap<Symbol, Vec<Gate>>,
}

impl Index {
    /// The index of these filters.
    pub(super) fn of<'f>(filters: impl Iterator<Item = (Slot, &'f Filter)>) -> Self {
        let demanded: Vec<(Slot, Demands)> = filters.map(|(slot, filter)| (slot, filter.demands())).collect();
        let survey = Survey::of(demanded.iter().map(|(_, demands)| demands));
        let choices: Vec<Option<&Choice>> = demanded.iter().map(|(_, demands)| survey.lightest(demands)).collect();
        let mut draft = Draft::default();
        for mark in choices.iter().flatten().copied().flatten() {
            draft.places.add(mark.place);
        }
        for ((slot, demands), choice) in demanded.iter().zip(choices) {
            draft.place(*slot, demands, choice, &survey);
        }
        draft.finish()
    }

    /// All rules that may match, each once, in no order. What was found before is forgotten.
    pub(super) fn candidates(&self, facts: &Facts<'_>, found: &mut Candidates) {
        found.begin(self.buckets.len());
        if self.buckets.is_empty() {
            return;
        }
        facts.marks(self.places, |mark| {
            if let Some(symbol) = self.symbols.get(&mark) {
                found.note(*symbol);
            }
        });
        self.gauges.iter().for_each(|gauge| found.reach(gauge.reach(facts)));
        for nth in 0.. {
            let Some(symbol) = found.noted(nth) else { break };
            if let Some(bucket) = self.buckets.get(symbol as usize) {
                bucket.collect(found);
            }
        }
        found.each_once();
    }
}

impl Draft {
    /// Puts a rule where the runs come that have one mark of the choice.
    fn place(&mut self, slot: Slot, demands: &Demands, choice: Option<&Choice>, survey: &Survey) {
        let bound = demands.bounds.first().map(|bound| self.bound(*bound));
        let mut asked: Vec<&Choice> = demands.choices.iter().filter(|other| Some(*other) != choice).collect();
        asked.sort_by_key(|choice| survey.weight(choice));
        let mut symbols = Vec::new();
        for other in asked {
            if let [mark] = other[..]
                && (self.places.have(mark.place) || mark.place.reading() == Reading::Nothing)
            {
                self.places.add(mark.place);
                symbols.push(self.symbol(mark.hash));
            }
        }
        let under: Vec<Symbol> = match choice {
            Some(choice) => choice.iter().map(|mark| self.symbol(mark.hash)).collect(),
            None => vec![FREE],
        };
        let gate = Gate::new(slot, under.len() > 1, &symbols, bound);
        for symbol in under {
            self.buckets.entry(symbol).or_default().push(gate);
        }
    }

    fn symbol(&mut self, mark: u64) -> Symbol {
        let next = Symbol::try_from(self.symbols.len()).map_or(FREE, |before| before + FREE + 1);
        *self.symbols.entry(mark).or_insert(next)
    }

    fn bound(&mut self, bound: Bound) -> (u32, i64) {
        let gauge = self.gauges.iter().position(|gauge| *gauge == bound.gauge).unwrap_or_else(|| {
            self.gauges.push(bound.gauge);
            self.gauges.len() - 1
        });
        (u32::try_from(gauge).unwrap_or(u32::MAX), bound.height)
    }

    fn finish(mut self) -> Index {
        let last = if self.buckets.is_empty() { None } else { self.symbols.values().copied().max().or(Some(FREE)) };
        let symbols = last.map(|last| FREE..=last).into_iter().flatten();
        let buckets = symbols.map(|symbol| Bucket::of(self.buckets.remove(&symbol).unwrap_or_default())).collect();
        Index { places: self.places, symbols: self.symbols, gauges: self.gauges.into(), buckets }
    }
}

impl Bucket {
    fn of(gates: Vec<Gate>) -> Self {
        if gates.len() <= CROWD {
            return Self { gates: gates.into(), sorted: Box::default() };
        }
        let mut by_gauge: HashMap<u32, Vec<(i64, Gate)>> = HashMap::new();
        let mut rest = Vec::new();
        for gate in gates {
            match gate.bound() {
                Some((gauge, height)) => by_gauge.entry(gauge).or_default().push((height, gate)),
                None => rest.push(gate),
            }
        }
        let mut sorted = Vec::new();
        for (gauge, mut thresholds) in by_gauge {
            if thresholds.len() < WORTH_SORTING {
                rest.extend(thresholds.into_iter().map(|(_, gate)| gate));
                continue;
            }
            thresholds.sort_by_key(|(height, _)| *height);
            let (heights, gates): (Vec<_>, Vec<_>) = thresholds.into_iter().unzip();
            sorted.push(Thresholds { gauge, heights: heights.into(), gates: gates.into() });
        }
        Self { gates: rest.into(), sorted: sorted.into() }
    }

    fn collect(&self, found: &mut Candidates) {
        found.pass(&self.gates);
        for thresholds in &self.sorted {
            let reach = found.reached(thresholds.gauge);
            let passed = thresholds.heights.partition_point(|height| *height <= reach);
            found.pass(thresholds.gates.get(..passed).unwrap_or_default());
        }
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
