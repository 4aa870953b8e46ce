//! Which share of the matching runs a rule takes: an answer that is the same everywhere and every time.
//!
//! A run is taken when `fraction(rule, run) < sampling_rate`, where the fraction is XXH3-64 (seed 0) over the 16 bytes
//! of the rule's id followed by the 16 bytes of the run's id, its upper 53 bits divided by 2^53. So a rate of 1 takes
//! every run, 0 takes none, and raising the rate keeps every run that was taken before.

use xxhash_rust::xxh3::xxh3_64;

use crate::model::id::{RuleId, RunId, ThreadId};

/// Whether the rule takes this run.
pub(super) fn takes(rule: RuleId, run: RunId, rate: f64) -> bool {
    rate >= 1.0 || fraction(rule, run) < rate
}

/// Whether the rule takes this thread: all of its turns, or none.
pub(super) fn takes_thread(rule: RuleId, thread: ThreadId, rate: f64) -> bool {
    takes(rule, RunId(thread.0), rate)
}

#[expect(clippy::cast_precision_loss, reason = "53 bits are exactly what a float holds")]
fn fraction(rule: RuleId, run: RunId) -> f64 {
    let mut ids = [0; 32];
    let (first, second) = ids.split_at_mut(16);
    first.copy_from_slice(rule.0.as_bytes());
    second.copy_from_slice(run.0.as_bytes());
    (xxh3_64(&ids) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::id::TenantId;

    fn run(number: u128) -> RunId {
        RunId(Uuid::from_u128(number))
    }

    #[test]
    fn the_fractions_are_the_same_on_every_machine_and_in_every_version() {
        let rule = RuleId::of_key(TenantId::DEFAULT, "low-user-score");
        assert_eq!(rule.to_string(), "7cdbfafe-53be-5490-985f-f31ecde2fd60");
        let fractions: Vec<String> = (1..=4).map(|number| format!("{:.15}", fraction(rule, run(number)))).collect();
        assert_eq!(fractions, ["0.800409806906145", "0.204959696256925", "0.735404101669856", "0.728387295681709"]);
    }

    #[test]
    fn a_rate_of_one_takes_every_run_and_zero_takes_none() {
        let rule = RuleId(Uuid::from_u128(7));
        assert!((0..1000).all(|number| takes(rule, run(number), 1.0)));
        assert!((0..1000).all(|number| !takes(rule, run(number), 0.0)));
    }

    #[test]
    fn a_rate_takes_about_its_share_and_a_higher_one_takes_the_same_runs_and_more() {
        let rule = RuleId(Uuid::from_u128(7));
        let taken = |rate: f64| (0..10_000).filter(|number| takes(rule, run(*number), rate)).collect::<Vec<_>>();
        let (third, half) = (taken(0.3), taken(0.5));
        assert!((2_800..3_200).contains(&third.len()), "{}", third.len());
        assert!(third.iter().all(|number| half.contains(number)));
    }

    #[test]
    fn two_rules_take_different_runs() {
        let taken = |rule: u128| {
            (0..100).filter(|number| takes(RuleId(Uuid::from_u128(rule)), run(*number), 0.5)).collect::<Vec<_>>()
        };
        assert_ne!(taken(1), taken(2));
    }
}
