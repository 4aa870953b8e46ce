//! Policies: what follows an attempt. Pure functions of what has been tried.
//!
//! `langsmith` is what LangSmith does for rule webhooks. A delivery that gets no connection, or loses it before an
//! answer, is tried two more times; one answered 5xx is tried two more times; the two are counted apart. Each retry
//! waits longer than the one before. Silence after a connection, a redirect and a 4xx (429 included) end it.
//!
//! `standard` is what the Standard Webhooks specification recommends: 15 s for an answer, and retries over three days
//! with growing waits after anything that may pass. `Retry-After` is honoured, 410 disables the endpoint, and what the
//! receiver refuses otherwise ends the delivery.
//!
//! An endpoint may have waits and retries of its own. Attempts are counted in rounds: one that ended the delivery ended
//! its round, so a replayed delivery has all its retries again although its attempts go on counting.

use std::time::Duration;

use crate::model::delivery::{Attempt, AttemptResult, Outcome};
use crate::model::endpoint::{Endpoint, Overrides, Policy};
use crate::model::id::DeliveryId;
use crate::model::time::Timestamp;

/// The waits before the first and the second retry of `langsmith`: exponential, by four.
const LANGSMITH: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(8)];

/// The waits before the retries of `standard`: three days and a few hours in all.
const STANDARD: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];

/// The longest wait a receiver can ask for.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// The least that a delivery may wait for an endpoint that does not answer. LangSmith's ten seconds are for one that is asked.
const SHORTEST_LAST: Duration = Duration::from_hours(24);

/// How much longer or shorter than said `standard` waits at most, in hundredths: those that failed together do not come
/// back together.
const JITTER: u64 = 10;

/// How long an attempt waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection: name, route, TLS.
    pub connect: Duration,
    /// Then for the request to be taken and the head of an answer to come.
    pub answer: Duration,
}

impl Patience {
    /// The longest there is, whatever the policy and the endpoint say: leases last longer.
    pub const LONGEST: Self = Self { connect: Duration::from_secs(5), answer: Overrides::LONGEST_TIMEOUT };

    /// The same with what an endpoint says.
    #[must_use]
    pub fn of(self, overrides: &Overrides) -> Self {
        Self { answer: overrides.timeout.unwrap_or(self.answer), ..self }
    }
}

/// How long attempts under this policy wait.
#[must_use]
pub fn patience(policy: Policy) -> Patience {
    let answer = match policy {
        Policy::Langsmith => Duration::from_secs(5),
        Policy::Standard => Duration::from_secs(15),
    };
    Patience { connect: Duration::from_secs(5), answer }
}

/// By what a delivery goes on.
#[derive(Debug, Clone, Copy)]
pub struct Course<'a> {
    /// The policy.
    pub policy: Policy,
    /// The endpoint's own waits before retries.
    pub retries: Option<&'a [Duration]>,
    /// What its jitter comes from: the same course waits the same.
    pub seed: u64,
}

impl<'a> Course<'a> {
    /// That of a delivery to this endpoint.
    #[must_use]
    pub fn of(endpoint: &'a Endpoint, delivery: DeliveryId) -> Self {
        let (high, low) = delivery.0.as_u64_pair();
        Self { policy: endpoint.policy, retries: endpoint.overrides.retries.as_deref(), seed: high ^ low }
    }

    /// The waits before retries, and their jitter.
    fn waits(&self) -> (&'a [Duration], u64) {
        let (waits, jitter): (&[Duration], u64) = match self.policy {
            Policy::Langsmith => (&LANGSMITH, 0),
            Policy::Standard => (&STANDARD, JITTER),
        };
        (self.retries.unwrap_or(waits), jitter)
    }

    /// How long a delivery may wait for an endpoint that does not answer: at least as long as it would be tried again and
    /// again, in whole hours, and no less than a day.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        let (waits, jitter) = self.waits();
        let seconds = waits.iter().fold(0_u64, |sum, wait| sum.saturating_add(wait.as_secs()));
        let seconds = seconds.saturating_add(seconds.saturating_mul(jitter) / 100);
        Duration::from_hours(seconds.div_ceil(3600)).max(SHORTEST_LAST)
    }

    /// The wait before a retry, when so many were made.
    fn wait(&self, retried: usize) -> Option<Duration> {
        let (waits, jitter) = self.waits();
        let wait = *waits.get(retried)?;
        let spread = jitter.saturating_mul(2).saturating_add(1);
        // Hundredths, from 100 - jitter to 100 + jitter.
        let share = (self.seed.wrapping_add(retried as u64) % spread).saturating_add(100).saturating_sub(jitter);
        let share = u32::try_from(share).unwrap_or(100);
        Some(wait.checked_mul(share).map_or(wait, |wait| wait / 100))
    }
}

/// What follows an attempt that came to `result`, after the `earlier` ones, first first.
#[must_use]
pub fn next(course: &Course<'_>, earlier: &[Attempt], result: &AttemptResult, now: Timestamp) -> Outcome {
    let mut round = Round::default();
    for attempt in earlier {
        if !matches!(step(course, &mut round, &attempt.result), Step::Again(_)) {
            round = Round::default();
        }
    }
    match step(course, &mut round, result) {
        Step::Done => Outcome::Delivered,
        Step::Again(wait) => Outcome::Retry(now.after(wait)),
        Step::Over(reason) => Outcome::Failed(reason),
        Step::Gone(reason) => Outcome::Gone(reason),
    }
}

/// What went wrong since the delivery was made or replayed.
#[derive(Debug, Default)]
struct Round {
    unconnected: usize,
    server_errors: usize,
}

enum Step {
    Done,
    Again(Duration),
    Over(String),
    Gone(String),
}

fn step(course: &Course<'_>, round: &mut Round, result: &AttemptResult) -> Step {
    match course.policy {
        Policy::Langsmith => langsmith(course, round, result),
        Policy::Standard => standard(course, round, result),
    }
}

fn langsmith(course: &Course<'_>, round: &mut Round, result: &AttemptResult) -> Step {
    match result {
        AttemptResult::Answered { status: 200..=299, .. } => Step::Done,
        AttemptResult::Answered { status: 500..=599, .. } => again(course, &mut round.server_errors, result),
        AttemptResult::NotConnected { .. } | AttemptResult::Broken { .. } => {
            again(course, &mut round.unconnected, result)
        }
        AttemptResult::Answered { .. } | AttemptResult::TimedOut | AttemptResult::Refused { .. } => {
            Step::Over(said(result))
        }
    }
}

fn standard(course: &Course<'_>, round: &mut Round, result: &AttemptResult) -> Step {
    match result {
        AttemptResult::Answered { status: 200..=299, .. } => Step::Done,
        AttemptResult::Answered { status: 410, .. } => {
            Step::Gone("answered 410: the receiver is gone for good".to_owned())
        }
        AttemptResult::Answered { status: 408 | 425 | 429 | 500..=599, retry_after, .. } => {
            let asked = Duration::from_secs(retry_after.unwrap_or_default()).min(LONGEST_WAIT);
            match again(course, &mut round.server_errors, result) {
                Step::Again(wait) => Step::Again(wait.max(asked)),
                over => over,
            }
        }
        // One count for all that may pass: the waits are those of the delivery.
        AttemptResult::NotConnected { .. } | AttemptResult::Broken { .. } | AttemptResult::TimedOut => {
            again(course, &mut round.server_errors, result)
        }
        AttemptResult::Answered { .. } | AttemptResult::Refused { .. } => Step::Over(said(result)),
    }
}

fn again(course: &Course<'_>, count: &mut usize, result: &AttemptResult) -> Step {
    let wait = course.wait(*count);
    *count = count.saturating_add(1);
    wait.map_or_else(|| Step::Over(format!("{} (tried {})", said(result), times(*count))), Step::Again)
}

fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn said(result: &AttemptResult) -> String {
    match result {
        AttemptResult::Answered { status: status @ 300..=399, .. } => {
            format!("answered {status}: redirects are not followed")
        }
        AttemptResult::Answered { status, .. } => format!("answered {status}"),
        AttemptResult::NotConnected { reason } => format!("not connected: {reason}"),
        AttemptResult::Broken { reason } => format!("connection broke: {reason}"),
        AttemptResult::TimedOut => "connected, but no answer in time".to_owned(),
        AttemptResult::Refused { reason } => reason.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    const PLAIN: Course<'_> = Course { policy: Policy::Langsmith, retries: None, seed: 0 };

    /// A seed whose first wait is neither longer nor shorter than said.
    const STEADY: Course<'_> = Course { policy: Policy::Standard, retries: None, seed: 10 };

    #[test]
    fn a_delivery_may_wait_as_long_as_it_would_be_tried_and_a_day_at_least() {
        let week = [Duration::from_hours(24 * 7), Duration::from_secs(1)];
        for (course, hours) in [
            (PLAIN, 24),
            (STEADY, 84),
            (Course { retries: Some(&[]), ..STEADY }, 24),
            (Course { retries: Some(&week), ..PLAIN }, 24 * 7 + 1),
        ] {
            assert_eq!(course.lasts(), Duration::from_hours(hours), "{course:?}");
        }
    }

    /// One letter an attempt: digits are the hundreds of a status, `n`ot connected, `b`roken, `t`imed out, `r`efused,
    /// `l`ater (429), `e`arly (425), `w`aited for (408), `g`one (410).
    fn result(letter: char) -> AttemptResult {
        let answered = |status| AttemptResult::answered(status);
        match letter {
            'n' => AttemptResult::NotConnected { reason: "connection refused".to_owned() },
            'b' => AttemptResult::Broken { reason: "reset".to_owned() },
            't' => AttemptResult::TimedOut,
            'r' => AttemptResult::Refused { reason: "10.0.0.1 is not allowed: private".to_owned() },
            'l' => answered(429),
            'e' => answered(425),
            'w' => answered(408),
            'g' => answered(410),
            digit => answered(u16::try_from(digit.to_digit(10).unwrap() * 100).unwrap()),
        }
    }

    fn attempts(results: impl IntoIterator<Item = AttemptResult>) -> Vec<Attempt> {
        let attempt = |(number, result)| Attempt { number, started_at: NOW, duration_ms: 1, request: None, result };
        (1..).zip(results).map(attempt).collect()
    }

    fn by(course: &Course<'_>, letters: &str) -> Outcome {
        let mut results: Vec<AttemptResult> = letters.chars().map(result).collect();
        let last = results.pop().unwrap();
        next(course, &attempts(results), &last, NOW)
    }

    fn after(letters: &str) -> Outcome {
        by(&PLAIN, letters)
    }

    fn retry(seconds: u64) -> Outcome {
        Outcome::Retry(NOW.after(Duration::from_secs(seconds)))
    }

    fn failed(reason: &str) -> Outcome {
        Outcome::Failed(reason.to_owned())
    }

    #[test]
    fn the_langsmith_table_holds() {
        let table = [
            ("2", Outcome::Delivered),
            ("52", Outcome::Delivered),
            ("5", retry(2)),
            ("55", retry(8)),
            ("555", failed("answered 500 (tried 3 times)")),
            ("n", retry(2)),
            ("nn", retry(8)),
            ("nnn", failed("not connected: connection refused (tried 3 times)")),
            ("b", retry(2)),
            ("nb", retry(8)),
            ("bnb", failed("connection broke: reset (tried 3 times)")),
            ("t", failed("connected, but no answer in time")),
            ("nt", failed("connected, but no answer in time")),
            ("r", failed("10.0.0.1 is not allowed: private")),
            ("3", failed("answered 300: redirects are not followed")),
            ("4", failed("answered 400")),
            ("l", failed("answered 429")),
            ("g", failed("answered 410")),
            ("54", failed("answered 400")),
            ("1", failed("answered 100")),
            ("6", failed("answered 600")),
        ];
        for (letters, outcome) in table {
            assert_eq!(after(letters), outcome, "{letters}");
        }
    }

    #[test]
    fn missing_connections_and_server_errors_are_counted_apart_under_langsmith() {
        assert_eq!(after("n5"), retry(2));
        assert_eq!(after("n5n"), retry(8));
        assert_eq!(after("n5n5"), retry(8));
        assert_eq!(after("n5n55"), failed("answered 500 (tried 3 times)"));
        assert_eq!(after("55nn2"), Outcome::Delivered);
    }

    #[test]
    fn a_replayed_delivery_has_all_its_retries_again() {
        assert_eq!(after("5555"), retry(2), "the third ended the first round");
        assert_eq!(after("4n"), retry(2));
        assert_eq!(after("52nn"), retry(8));
        assert_eq!(after("52nnn"), failed("not connected: connection refused (tried 3 times)"));
        assert_eq!(by(&STEADY, &format!("{}5", "5".repeat(10))), by(&STEADY, "5"));
    }

    #[test]
    fn the_standard_table_holds() {
        let again = ["5", "n", "b", "t", "l", "e", "w"];
        for letters in again {
            assert_eq!(by(&STEADY, letters), retry(5), "{letters}");
        }
        let table = [
            ("2", Outcome::Delivered),
            ("nbtlew52", Outcome::Delivered),
            ("1", failed("answered 100")),
            ("3", failed("answered 300: redirects are not followed")),
            ("4", failed("answered 400")),
            ("54", failed("answered 400")),
            ("6", failed("answered 600")),
            ("r", failed("10.0.0.1 is not allowed: private")),
            ("g", Outcome::Gone("answered 410: the receiver is gone for good".to_owned())),
            ("5g", Outcome::Gone("answered 410: the receiver is gone for good".to_owned())),
            ("5555555555", failed("answered 500 (tried 10 times)")),
            ("nbtlewnbtl", failed("answered 429 (tried 10 times)")),
        ];
        for (letters, outcome) in table {
            assert_eq!(by(&STEADY, letters), outcome, "{letters}");
        }
    }

    #[test]
    fn standard_tries_for_three_days_with_waits_that_differ_by_a_tenth() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..21 {
            let course = Course { seed, ..STEADY };
            let mut all = Duration::ZERO;
            for (retried, planned) in STANDARD.into_iter().enumerate() {
                let Outcome::Retry(at) = by(&course, &"5".repeat(retried + 1)) else { panic!("it is tried again") };
                let wait = Duration::from_micros((at.0 - NOW.0).cast_unsigned());
                assert!(wait >= planned * 9 / 10 && wait <= planned * 11 / 10, "{retried}: {wait:?}");
                assert_eq!(by(&course, &"5".repeat(retried + 1)), Outcome::Retry(at), "the same course waits the same");
                all += wait;
                seen.insert(wait.as_micros() * 1000 / planned.as_micros());
            }
            assert!((Duration::from_hours(66)..Duration::from_hours(84)).contains(&all), "{all:?}");
        }
        assert_eq!(seen.len(), 21, "every share of jitter is used");
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_wait_under_standard_and_for_no_shorter_one() {
        let busy = |seconds| AttemptResult::Answered {
            status: 503,
            retry_after: Some(seconds),
            excerpt: String::new(),
            cut: None,
        };
        for (asked, waits) in [(0, 5), (4, 5), (90, 90), (86_400, 86_400), (999_999, 86_400)] {
            assert_eq!(next(&STEADY, &[], &busy(asked), NOW), retry(waits), "{asked}");
        }
        assert_eq!(next(&PLAIN, &[], &busy(90), NOW), retry(2), "langsmith does not listen");
        let earlier = attempts(std::iter::repeat_n(busy(1), 9));
        assert_eq!(next(&STEADY, &earlier, &busy(90), NOW), failed("answered 503 (tried 10 times)"));
    }

    #[test]
    fn an_endpoint_has_waits_of_its_own() {
        let waits = [Duration::from_secs(1), Duration::from_mins(1)];
        let own = Course { retries: Some(&waits), ..PLAIN };
        assert_eq!((by(&own, "5"), by(&own, "55")), (retry(1), retry(60)));
        assert_eq!(by(&own, "555"), failed("answered 500 (tried 3 times)"));
        let none = Course { retries: Some(&[]), ..STEADY };
        assert_eq!(by(&none, "t"), failed("connected, but no answer in time (tried once)"));
        let overrides = Overrides { timeout: Some(Duration::from_secs(9)), ..Overrides::default() };
        assert_eq!(patience(Policy::Standard).of(&overrides).answer, Duration::from_secs(9));
        assert_eq!(patience(Policy::Standard).of(&Overrides::default()).answer, Duration::from_secs(15));
    }
}
