//! Cutting a window's matches into messages, by count and by size.

use std::ops::Range;

use crate::model::rule::BatchLimits;

/// What a run takes in a message.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    /// The run itself.
    pub(super) bytes: usize,
    /// What is said of it with its thread.
    pub(super) each: usize,
    /// What is said of its thread, once in a message.
    pub(super) head: usize,
    /// Its thread, where runs are told by threads.
    pub(super) thread: Option<usize>,
}

impl Size {
    /// What it adds to a message that has said this of threads, with a comma.
    fn beside(self, before: Option<Self>) -> usize {
        let head = if before.is_some_and(|before| before.thread == self.thread) { 0 } else { self.head };
        self.bytes.saturating_add(self.each).saturating_add(head).saturating_add(1)
    }
}

/// Cuts runs of these sizes into groups that keep their order: each as long as it may be, none empty. A run that is
/// too large for any group gets one of its own, and a thread that would be cut begins a group if that keeps it whole.
/// `envelope` is what a message takes beside its runs.
pub(super) fn groups(sizes: &[Size], envelope: usize, limits: &BatchLimits) -> Vec<Range<usize>> {
    let max_runs = usize::try_from(limits.max_runs).unwrap_or(usize::MAX).max(1);
    let room = room(envelope, limits);
    let mut groups: Vec<Range<usize>> = Vec::new();
    let (mut taken, mut before) = (0_usize, None);
    for (index, size) in sizes.iter().copied().enumerate() {
        let begins = size.thread.is_some() && before.is_none_or(|before: Size| before.thread != size.thread);
        let (runs, bytes) =
            if begins { whole(sizes.get(index..).unwrap_or_default()) } else { (1, size.beside(before)) };
        let alone = runs <= max_runs && bytes <= room;
        let had = taken;
        let fits = |group: &Range<usize>, runs: usize, bytes: usize| {
            group.len().saturating_add(runs) <= max_runs && had.saturating_add(bytes) <= room
        };
        let added = size.beside(before);
        match groups.last_mut() {
            Some(group) if fits(group, runs, bytes) || (!(begins && alone) && fits(group, 1, added)) => {
                group.end = index.saturating_add(1);
                taken = taken.saturating_add(added);
            }
            _ => {
                groups.push(index..index.saturating_add(1));
                taken = size.beside(None);
            }
        }
        before = Some(size);
    }
    groups
}

/// What the thread takes that these runs begin with: runs and bytes.
fn whole(sizes: &[Size]) -> (usize, usize) {
    let thread = sizes.first().and_then(|size| size.thread);
    let (mut runs, mut bytes, mut before) = (0_usize, 0_usize, None);
    for size in sizes.iter().copied().take_while(|size| size.thread == thread) {
        bytes = bytes.saturating_add(size.beside(before));
        runs = runs.saturating_add(1);
        before = Some(size);
    }
    (runs, bytes)
}

/// What a message's runs may take together.
pub(super) fn room(envelope: usize, limits: &BatchLimits) -> usize {
    usize::try_from(limits.max_bytes).unwrap_or(usize::MAX).saturating_sub(envelope)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(max_runs: u32, max_bytes: u64) -> BatchLimits {
        BatchLimits { max_runs, max_bytes, ..BatchLimits::default() }
    }

    fn plain(sizes: &[usize]) -> Vec<Size> {
        sizes.iter().map(|bytes| Size { bytes: *bytes, ..Size::default() }).collect()
    }

    /// Runs of ten bytes, of these threads.
    fn of_threads(threads: &[usize]) -> Vec<Size> {
        threads.iter().map(|thread| Size { bytes: 9, each: 3, head: 7, thread: Some(*thread) }).collect()
    }

    #[test]
    fn a_thread_is_cut_only_where_no_message_holds_it() {
        let threads = of_threads(&[1, 1, 2, 2, 2, 3]);
        assert_eq!(groups(&threads, 0, &limits(9, 1000)).len(), 1);
        assert_eq!(groups(&threads, 0, &limits(4, 1000)), [0..2, 2..6]);
        assert_eq!(groups(&threads, 0, &limits(3, 1000)), [0..2, 2..5, 5..6]);
        assert_eq!(groups(&threads, 0, &limits(2, 1000)), [0..2, 2..4, 4..6]);
        assert_eq!(groups(&threads, 0, &limits(9, 46)), [0..2, 2..5, 5..6]);
    }

    #[test]
    fn groups_are_cut_by_count_and_by_size() {
        let groups = |sizes: &[usize], envelope, limits: &BatchLimits| groups(&plain(sizes), envelope, limits);
        assert_eq!(groups(&[], 10, &limits(2, 100)), Vec::<Range<usize>>::new());
        assert_eq!(groups(&[9; 5], 10, &limits(2, 100)), [0..2, 2..4, 4..5]);
        assert_eq!(groups(&[29, 29, 29, 29], 10, &limits(9, 100)), [0..3, 3..4]);
        assert_eq!(groups(&[9, 500, 9, 9], 10, &limits(9, 100)), [0..1, 1..2, 2..4]);
        assert_eq!(groups(&[9, 9], 10, &limits(0, 0)), [0..1, 1..2]);
    }

    proptest! {
        #[test]
        fn groups_hold_every_run_in_order_within_the_limits(
            sizes in prop::collection::vec(0_usize..300, 0..40),
            max_runs in 0_u32..6,
            max_bytes in 0_u64..900,
        ) {
            let groups = groups(&plain(&sizes), 20, &limits(max_runs, max_bytes));
            let flat: Vec<usize> = groups.iter().cloned().flatten().collect();
            prop_assert_eq!(flat, (0..sizes.len()).collect::<Vec<_>>());
            for group in groups {
                prop_assert!(group.len() <= max_runs.max(1) as usize);
                let bytes: usize = sizes[group.clone()].iter().map(|size| size + 1).sum::<usize>() + 20;
                prop_assert!(group.len() == 1 || bytes as u64 <= max_bytes);
            }
        }
    }
}
