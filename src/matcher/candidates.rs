//! Rules that a run may match, as they are found: kept from run to run, so that nothing is allocated for each.

use crate::matcher::gate::{FREE, Gate, REPEATED, Symbol};
use crate::matcher::index::Slot;

/// Rules that a run may match.
#[derive(Debug, Default)]
pub struct Candidates {
    slots: Vec<Slot>,
    /// The symbols that the run has.
    noted: Vec<Symbol>,
    /// The same, a bit for each symbol there is.
    present: Vec<u64>,
    /// How high it reaches on each gauge.
    reach: Vec<i64>,
}

impl Candidates {
    /// The rules, each once.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Forgets everything. Symbols below `symbols` are to come.
    pub(super) fn begin(&mut self, symbols: usize) {
        self.slots.clear();
        self.reach.clear();
        for symbol in self.noted.drain(..) {
            if let Some(word) = self.present.get_mut(symbol as usize / 64) {
                *word = 0;
            }
        }
        let words = symbols.div_ceil(64);
        if self.present.len() < words {
            self.present.resize(words, 0);
        }
        if symbols > 0 {
            self.note(FREE);
        }
    }

    /// Notes a symbol that the run has.
    pub(super) fn note(&mut self, symbol: Symbol) {
        if let Some(word) = self.present.get_mut(symbol as usize / 64)
            && *word & bit(symbol) == 0
        {
            *word |= bit(symbol);
            self.noted.push(symbol);
        }
    }

    /// The symbol that was noted after so many others.
    pub(super) fn noted(&self, nth: usize) -> Option<Symbol> {
        self.noted.get(nth).copied()
    }

    /// Notes how high the run reaches on the next gauge.
    pub(super) fn reach(&mut self, height: i64) {
        self.reach.push(height);
    }

    /// How high it reaches.
    pub(super) fn reached(&self, gauge: u32) -> i64 {
        self.reach.get(gauge as usize).copied().unwrap_or(i64::MAX)
    }

    /// Takes the rules whose gates the run passes.
    pub(super) fn pass(&mut self, gates: &[Gate]) {
        for gate in gates {
            if gate.height <= self.reached(gate.gauge) && gate.symbols.iter().all(|symbol| self.has(*symbol)) {
                self.slots.push(gate.slot);
            }
        }
    }

    fn has(&self, symbol: Symbol) -> bool {
        self.present.get(symbol as usize / 64).is_some_and(|word| word & bit(symbol) != 0)
    }

    /// Leaves every rule once, without its flag.
    pub(super) fn each_once(&mut self) {
        let found = &mut self.slots;
        let mut single = 0;
        for at in 0..found.len() {
            if found.get(at).is_some_and(|slot| slot & REPEATED == 0) {
                found.swap(at, single);
                single += 1;
            }
        }
        if let Some(repeated) = found.get_mut(single..) {
            for slot in repeated.iter_mut() {
                *slot &= !REPEATED;
            }
            repeated.sort_unstable();
        }
        found.dedup();
    }
}

fn bit(symbol: Symbol) -> u64 {
    1 << (symbol % 64)
}
