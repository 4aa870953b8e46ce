//! A pure part as something that can be measured: what is prepared once, and what is then done again and again.

/// How much is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// What the targets speak of.
    Whole,
    /// As much as can be prepared under an emulator.
    Small,
}

/// Something that can be measured.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// How many of its objects one turn handles.
    pub(crate) objects: u64,
    /// What they are.
    pub(crate) unit: &'static str,
    /// Prepares it, and hands back one turn.
    pub(crate) prepare: fn(Size) -> Turn,
}

/// What is measured. Its result is something that depends on all that it did.
pub(crate) type Turn = Box<dyn FnMut() -> usize>;
