//! Cutting a window's matches into messages, by count and by size.

use std::ops::Range;

use crate::model::rule::BatchLimits;

/// Cuts runs of these sizes into groups that keep their order: each as long as it may be, none empty. A run that is
/// too large for any group gets one of its own. `envelope` is what a message takes beside its runs.
pub(super) fn groups(sizes: &[usize], envelope: usize, limits: &BatchLimits) -> Vec<Range<usize>> {
    let max_runs = usize::try_from(limits.max_runs).unwrap_or(usize::MAX).max(1);
    let room = room(envelope, limits);
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut taken = 0_usize;
    for (index, size) in sizes.iter().enumerate() {
        // One more for the comma.
        let size = size.saturating_add(1);
        match groups.last_mut() {
            Some(group) if group.len() < max_runs && taken.saturating_add(size) <= room => {
                group.end = index.saturating_add(1);
                taken = taken.saturating_add(size);
            }
            _ => {
                groups.push(index..index.saturating_add(1));
                taken = size;
            }
        }
    }
    groups
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

    #[test]
    fn groups_are_cut_by_count_and_by_size() {
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
            let groups = groups(&sizes, 20, &limits(max_runs, max_bytes));
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
