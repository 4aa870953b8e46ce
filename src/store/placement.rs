//! Where a rule stands in a project when it arrives, changes its group, or is resumed. Pure; both backends use it.

use crate::model::window::Seq;

/// Where a rule stands after a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The rule ignores changes up to this number.
    pub start: Seq,
    /// Changes its new group has passed and it has not seen: after the first number, through the second.
    pub span: Option<(Seq, Seq)>,
}

/// Places a rule that had seen its project's changes up to `seen` into a group whose cursor is at `cursor`.
#[must_use]
pub fn placed(seen: Seq, cursor: Seq) -> Placement {
    Placement { start: seen, span: (seen < cursor).then_some((seen, cursor)) }
}
