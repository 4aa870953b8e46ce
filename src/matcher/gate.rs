//! Gates: the demands of a rule in a few words of memory, in front of the rule.

use crate::matcher::index::Slot;

/// A mark within one index.
pub(super) type Symbol = u32;

/// The symbol that every run has.
pub(super) const FREE: Symbol = 0;

/// Further symbols that a gate asks for.
const ASKED: usize = 4;

/// The gauge of a gate that asks for no height.
const NO_GAUGE: u32 = u32::MAX;

/// Set on a slot that lies under several symbols and so may be found twice.
pub(super) const REPEATED: Slot = 1 << 31;

/// What a run must have to come to a rule, or some of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gate {
    /// The rule, flagged when it lies under several symbols.
    pub(super) slot: Slot,
    pub(super) symbols: [Symbol; ASKED],
    pub(super) gauge: u32,
    pub(super) height: i64,
}

impl Gate {
    /// A gate that asks for the first of these symbols, and for a height of a gauge.
    pub(super) fn new(slot: Slot, repeated: bool, asked: &[Symbol], bound: Option<(u32, i64)>) -> Self {
        let mut symbols = [FREE; ASKED];
        symbols.iter_mut().zip(asked).for_each(|(symbol, asked)| *symbol = *asked);
        let (gauge, height) = bound.unwrap_or((NO_GAUGE, i64::MIN));
        Self { slot: if repeated { slot | REPEATED } else { slot }, symbols, gauge, height }
    }

    /// The gauge it looks at, and the height it asks for.
    pub(super) fn bound(&self) -> Option<(u32, i64)> {
        (self.gauge != NO_GAUGE).then_some((self.gauge, self.height))
    }
}
