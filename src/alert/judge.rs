//! From minutes to a verdict, and from verdicts to states. Pure.

use rust_decimal::Decimal;

use crate::model::alert::{Against, Aggregation, Alert, Bucket, REMEMBERED, Standing, State, beginning_of};

/// What the minutes before one say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// The number, if there is one.
    pub value: Option<Decimal>,
    /// What it is compared with, if there is something.
    pub threshold: Option<Decimal>,
}

/// A change of state that is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The minute at whose beginning it was found.
    pub minute: i64,
    /// What the state is from then on.
    pub state: State,
    /// The number.
    pub value: Decimal,
    /// What it was compared with.
    pub threshold: Decimal,
}

/// What minutes hold together.
#[derive(Default)]
struct Total {
    seen: u64,
    of: u64,
    sum: Decimal,
}

impl Total {
    fn over(buckets: &[Bucket], from: i64, until: i64) -> Self {
        let mut total = Self::default();
        for bucket in buckets.iter().filter(|bucket| (from..until).contains(&bucket.minute)) {
            total.seen = total.seen.saturating_add(bucket.seen);
            total.of = total.of.saturating_add(bucket.of);
            total.sum = total.sum.saturating_add(bucket.sum);
        }
        total
    }

    /// The number. A mean or a share of nothing is none; a sum of nothing is 0.
    fn number(&self, aggregation: Aggregation) -> Option<Decimal> {
        let times = match aggregation {
            Aggregation::Sum => return Some(self.sum),
            Aggregation::Avg => Decimal::ONE,
            Aggregation::Pct => Decimal::ONE_HUNDRED,
        };
        self.sum.checked_mul(times)?.checked_div(Decimal::from(self.of))
    }
}

/// What the minutes before this one say to an alert.
#[must_use]
pub fn reading(alert: &Alert, buckets: &[Bucket], minute: i64) -> Reading {
    let condition = &alert.condition;
    let aggregation = alert.metric.aggregation;
    let begin = minute.saturating_sub(i64::from(condition.window_minutes));
    let value = Total::over(buckets, begin, minute).number(aggregation);
    let threshold = match condition.against {
        Against::Threshold(threshold) => Some(threshold),
        Against::Change { multiplier, window_minutes } => {
            let before = Total::over(buckets, begin.saturating_sub(i64::from(window_minutes)), begin);
            // A sum grows with its window: it is compared with that of as many minutes.
            let scale = match aggregation {
                Aggregation::Sum => Decimal::from(condition.window_minutes).checked_div(Decimal::from(window_minutes)),
                Aggregation::Avg | Aggregation::Pct => Some(Decimal::ONE),
            };
            // Where nothing happened before there is nothing to compare with, not a 0.
            let number = before.number(aggregation).filter(|_| before.seen > 0);
            number.zip(scale).and_then(|(number, scale)| number.checked_mul(scale)?.checked_mul(multiplier))
        }
    };
    Reading { value, threshold }
}

/// What follows from a state when the condition holds, or does not: the new one, if it is another.
#[must_use]
pub fn next(state: State, holds: bool) -> Option<State> {
    match (state, holds) {
        (State::Ok | State::Resolved, true) => Some(State::Firing),
        (State::Firing, false) => Some(State::Resolved),
        (State::Firing, true) | (State::Ok | State::Resolved, false) => None,
    }
}

/// Judges an alert at the beginning of each of these minutes, one after the other. Without a number, or without one to
/// compare it with, its state stays.
pub fn judge(alert: &Alert, standing: &mut Standing, minutes: std::ops::RangeInclusive<i64>) -> Vec<Turn> {
    let first = (*minutes.start()).max(minutes.end().saturating_sub(REMEMBERED));
    let mut turns = Vec::new();
    for minute in first..=*minutes.end() {
        let Reading { value, threshold } = reading(alert, &standing.buckets, minute);
        (standing.value, standing.threshold) = (value, threshold);
        let Some((value, threshold)) = value.zip(threshold) else { continue };
        let holds = alert.condition.operator.holds(value, threshold);
        if let Some(state) = next(standing.state, holds) {
            (standing.state, standing.since) = (state, Some(beginning_of(minute)));
            turns.push(Turn { minute, state, value, threshold });
        }
    }
    turns
}

/// Whether the answer may change although nothing else does: whether a minute that holds something has yet to leave.
#[must_use]
pub fn is_restless(alert: &Alert, standing: &Standing, minute: i64) -> bool {
    let begin = minute.saturating_sub(alert.condition.reach());
    standing.buckets.iter().any(|bucket| bucket.minute >= begin)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::alert::{Attribute, Condition, Metric, Operator};
    use crate::model::id::{AlertId, ProjectId, TenantId};
    use crate::model::time::Timestamp;

    fn alert(aggregation: Aggregation, operator: Operator, window_minutes: u32, against: Against) -> Alert {
        Alert {
            tenant_id: TenantId::DEFAULT,
            id: AlertId(Uuid::from_u128(1)),
            project_id: ProjectId(Uuid::from_u128(2)),
            name: "a".to_owned(),
            description: "b".to_owned(),
            metric: Metric { attribute: Attribute::RunCount, aggregation, filter: None, denominator_filter: None },
            condition: Condition { operator, window_minutes, against },
            actions: Vec::new(),
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn bucket(minute: i64, of: u64, sum: i64) -> Bucket {
        Bucket { minute, seen: of, of, sum: Decimal::from(sum) }
    }

    fn over(threshold: i64) -> Against {
        Against::Threshold(Decimal::from(threshold))
    }

    fn change(multiplier: i64, window_minutes: u32) -> Against {
        Against::Change { multiplier: Decimal::from(multiplier), window_minutes }
    }

    /// States after each minute of 10..=last.
    fn states(alert: &Alert, buckets: &[Bucket], last: i64) -> Vec<State> {
        let mut standing = Standing { buckets: buckets.to_vec(), ..Standing::default() };
        (10..=last)
            .map(|minute| {
                judge(alert, &mut standing, minute..=minute);
                standing.state
            })
            .collect()
    }

    #[test]
    fn a_state_changes_only_to_firing_and_from_there_to_resolved() {
        use State::{Firing, Ok, Resolved};
        for (state, holds, expected) in [
            (Ok, false, None),
            (Ok, true, Some(Firing)),
            (Firing, true, None),
            (Firing, false, Some(Resolved)),
            (Resolved, false, None),
            (Resolved, true, Some(Firing)),
        ] {
            assert_eq!(next(state, holds), expected, "{state:?} {holds}");
        }
    }

    #[test]
    fn every_operator_is_told_from_the_others_at_and_beside_the_threshold() {
        for (operator, expected) in [
            (Operator::Gte, [false, true, true]),
            (Operator::Gt, [false, false, true]),
            (Operator::Lte, [true, true, false]),
            (Operator::Lt, [true, false, false]),
        ] {
            let found = [1, 2, 3].map(|value| operator.holds(Decimal::from(value), Decimal::from(2)));
            assert_eq!(found, expected, "{operator:?}");
        }
    }

    #[test]
    fn a_window_holds_the_minutes_before_and_not_the_one_that_runs() {
        let alert = alert(Aggregation::Sum, Operator::Gte, 3, over(1));
        let buckets: Vec<Bucket> =
            (5..=12).map(|minute| bucket(minute, 1, 10_i64.pow(u32::try_from(minute - 5).unwrap()))).collect();
        let value = reading(&alert, &buckets, 10).value;
        assert_eq!(value, Some(Decimal::from(10_000 + 1_000 + 100)), "minutes 7, 8 and 9");
    }

    #[test]
    fn a_mean_and_a_share_of_nothing_are_none_and_a_sum_of_nothing_is_0() {
        for (aggregation, expected) in
            [(Aggregation::Avg, None), (Aggregation::Pct, None), (Aggregation::Sum, Some(Decimal::ZERO))]
        {
            let alert = alert(aggregation, Operator::Gte, 5, over(1));
            assert_eq!(reading(&alert, &[], 10).value, expected);
        }
        let share = alert(Aggregation::Pct, Operator::Gt, 5, over(5));
        assert_eq!(reading(&share, &[bucket(9, 40, 3)], 10).value, Some(Decimal::new(75, 1)));
    }

    #[test]
    fn without_data_a_mean_keeps_its_state_and_a_count_falls_to_0() {
        use State::{Firing, Ok, Resolved};
        let mean = alert(Aggregation::Avg, Operator::Gt, 1, over(2));
        assert_eq!(
            states(&mean, &[bucket(10, 1, 3), bucket(13, 1, 1)], 15),
            [Ok, Firing, Firing, Firing, Resolved, Resolved]
        );
        let count = alert(Aggregation::Sum, Operator::Gte, 1, over(2));
        assert_eq!(states(&count, &[bucket(10, 3, 3)], 13), [Ok, Firing, Resolved, Resolved]);
        let silence = alert(Aggregation::Sum, Operator::Lt, 2, over(1));
        assert_eq!(states(&silence, &[bucket(11, 1, 1)], 15), [Firing, Firing, Resolved, Resolved, Firing, Firing]);
    }

    #[test]
    fn a_change_is_measured_against_the_minutes_before_the_window() {
        let mean = alert(Aggregation::Avg, Operator::Gt, 1, change(2, 3));
        let buckets = [bucket(6, 1, 1), bucket(7, 1, 1), bucket(8, 2, 4), bucket(9, 1, 4)];
        let found = reading(&mean, &buckets, 10);
        assert_eq!(found, Reading { value: Some(Decimal::from(4)), threshold: Some(Decimal::from(3)) });
    }

    #[test]
    fn a_change_of_a_sum_goes_by_as_many_minutes() {
        let sum = alert(Aggregation::Sum, Operator::Gt, 5, change(3, 20));
        let before = (0..20).map(|minute| bucket(minute, 2, 2));
        let buckets: Vec<Bucket> = before.chain([bucket(22, 31, 31)]).collect();
        let found = reading(&sum, &buckets, 25);
        assert_eq!(found.threshold, Some(Decimal::from(30)), "40 in 20 minutes are 10 in 5");
        assert!(Operator::Gt.holds(found.value.unwrap(), found.threshold.unwrap()));
    }

    #[test]
    fn a_change_from_nothing_is_none_and_one_from_no_errors_is_one() {
        let sum = alert(Aggregation::Sum, Operator::Gt, 1, change(2, 5));
        assert_eq!(reading(&sum, &[bucket(9, 1, 1)], 10).threshold, None);
        let quiet = Bucket { minute: 7, seen: 3, of: 0, sum: Decimal::ZERO };
        assert_eq!(reading(&sum, &[quiet, bucket(9, 1, 1)], 10).threshold, Some(Decimal::ZERO));
    }

    #[test]
    fn minutes_that_were_missed_are_judged_one_by_one_and_not_for_ever() {
        let count = alert(Aggregation::Sum, Operator::Gte, 1, over(2));
        let mut standing = Standing { buckets: vec![bucket(10, 3, 3)], ..Standing::default() };
        let turns = judge(&count, &mut standing, 5..=30);
        let told: Vec<_> = turns.iter().map(|turn| (turn.minute, turn.state)).collect();
        assert_eq!(told, [(11, State::Firing), (12, State::Resolved)]);
        let mut standing = Standing { buckets: vec![bucket(10, 3, 3)], ..Standing::default() };
        assert_eq!(judge(&count, &mut standing, 5..=i64::MAX - 1), [], "what is long past is not told");
    }

    #[test]
    fn an_alert_rests_once_no_minute_that_holds_something_is_left() {
        let alert = alert(Aggregation::Sum, Operator::Gte, 5, change(2, 5));
        let standing = Standing { buckets: vec![bucket(10, 1, 1)], ..Standing::default() };
        assert!(is_restless(&alert, &standing, 20));
        assert!(!is_restless(&alert, &standing, 21));
    }
}
