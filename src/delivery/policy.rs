//! Policies: what follows an attempt. Pure functions of what has been tried.
//!
//! `langsmith` is what LangSmith does for rule webhooks. A delivery that gets no connection, or loses it before an
//! answer, is tried two more times; one answered 5xx is tried two more times; the two are counted apart. Each retry
//! waits longer than the one before. Silence after a connection, a redirect and a 4xx (429 included) end it.
//!
//! Attempts are counted in rounds. An attempt that ended the delivery ended its round, so a replayed delivery has all
//! its retries again although its attempts go on counting.

use std::time::Duration;

use crate::model::delivery::{Attempt, AttemptResult, Outcome};
use crate::model::endpoint::Policy;
use crate::model::time::Timestamp;

/// The waits before the first and the second retry of `langsmith`: exponential, by four.
const BACKOFF: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(8)];

/// How long an attempt waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection: name, route, TLS.
    pub connect: Duration,
    /// Then for the request to be taken and the head of an answer to come.
    pub answer: Duration,
}

/// How long attempts under this policy wait.
#[must_use]
pub fn patience(policy: Policy) -> Patience {
    match policy {
        Policy::Langsmith => Patience { connect: Duration::from_secs(5), answer: Duration::from_secs(5) },
    }
}

/// What follows an attempt that came to `result`, after the `earlier` ones, first first.
#[must_use]
pub fn next(policy: Policy, earlier: &[Attempt], result: &AttemptResult, now: Timestamp) -> Outcome {
    let mut round = Round::default();
    for attempt in earlier {
        if !matches!(step(policy, &mut round, &attempt.result), Step::Again(_)) {
            round = Round::default();
        }
    }
    match step(policy, &mut round, result) {
        Step::Done => Outcome::Delivered,
        Step::Again(wait) => Outcome::Retry(now.after(wait)),
        Step::Over(reason) => Outcome::Failed(reason),
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
}

fn step(policy: Policy, round: &mut Round, result: &AttemptResult) -> Step {
    match policy {
        Policy::Langsmith => langsmith(round, result),
    }
}

fn langsmith(round: &mut Round, result: &AttemptResult) -> Step {
    match result {
        AttemptResult::Answered { status: 200..=299 } => Step::Done,
        AttemptResult::Answered { status: status @ 500..=599 } => {
            again(&mut round.server_errors, || format!("answered {status}"))
        }
        AttemptResult::Answered { status: status @ 300..=399 } => {
            Step::Over(format!("answered {status}: redirects are not followed"))
        }
        AttemptResult::Answered { status } => Step::Over(format!("answered {status}")),
        AttemptResult::NotConnected { reason } => again(&mut round.unconnected, || format!("not connected: {reason}")),
        AttemptResult::Broken { reason } => again(&mut round.unconnected, || format!("connection broke: {reason}")),
        AttemptResult::TimedOut => Step::Over("connected, but no answer in time".to_owned()),
        AttemptResult::Refused { reason } => Step::Over(reason.clone()),
    }
}

fn again(count: &mut usize, reason: impl FnOnce() -> String) -> Step {
    let wait = BACKOFF.get(*count);
    *count = count.saturating_add(1);
    wait.map_or_else(|| Step::Over(format!("{} (tried {count} times)", reason())), |wait| Step::Again(*wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    /// One letter an attempt: digits are the hundreds of a status, `n`ot connected, `b`roken, `t`imed out, `r`efused.
    fn result(letter: char) -> AttemptResult {
        match letter {
            'n' => AttemptResult::NotConnected { reason: "connection refused".to_owned() },
            'b' => AttemptResult::Broken { reason: "reset".to_owned() },
            't' => AttemptResult::TimedOut,
            'r' => AttemptResult::Refused { reason: "10.0.0.1 is not allowed: private".to_owned() },
            digit => AttemptResult::Answered { status: u16::try_from(digit.to_digit(10).unwrap() * 100).unwrap() },
        }
    }

    fn after(letters: &str) -> Outcome {
        let mut results: Vec<AttemptResult> = letters.chars().map(result).collect();
        let last = results.pop().unwrap();
        let earlier: Vec<Attempt> = (1..)
            .zip(results)
            .map(|(number, result)| Attempt { number, started_at: NOW, duration_ms: 1, result })
            .collect();
        next(Policy::Langsmith, &earlier, &last, NOW)
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
            ("54", failed("answered 400")),
            ("1", failed("answered 100")),
            ("6", failed("answered 600")),
        ];
        for (letters, outcome) in table {
            assert_eq!(after(letters), outcome, "{letters}");
        }
    }

    #[test]
    fn missing_connections_and_server_errors_are_counted_apart() {
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
    }

    #[test]
    fn too_many_requests_is_final_under_langsmith() {
        let result = AttemptResult::Answered { status: 429 };
        assert_eq!(next(Policy::Langsmith, &[], &result, NOW), failed("answered 429"));
    }
}
