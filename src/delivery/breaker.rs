//! Circuit breakers: when an endpoint that fails is left alone for a while. A pure function of what its attempts came to.
//!
//! A circuit opens when ten attempts in a row found the endpoint unable to answer, or three in four of the last 32. While
//! it is open, deliveries to that endpoint wait: they hold no slots and make no attempts, so nothing of what their policy
//! grants is used up. When its time is over the circuit is half open: one delivery at a time is tried, those first that
//! wait longest. Such a probe is an attempt like any other, and counts as one under the delivery's policy; an endpoint that
//! answers it closes the circuit, one that does not opens it again for twice as long, up to five minutes, or for as long
//! as `Retry-After` asks.
//!
//! That a circuit is open stands in the endpoint's row, for every replica and every start ([`Circuit`]). What is kept here
//! are the last results of endpoints that fail, and it is no loss to forget them.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::delivery::AttemptResult;
use crate::model::health::{Circuit, Sign, Turn};
use crate::model::id::EndpointId;
use crate::model::time::Timestamp;

/// Failures in a row that open a circuit.
const IN_A_ROW: u32 = 10;

/// Results that are remembered: the bits of a number.
const REMEMBERED: u32 = u32::BITS;

/// Of so many results the share of failures counts.
const ENOUGH: u32 = 20;

/// How long a circuit is open at first, and at most.
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_mins(5);

/// The longest that `Retry-After` keeps a circuit open.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// How much longer a circuit is open than said at most, in hundredths: those that opened together are not probed together.
const JITTER: u64 = 10;

/// An attempt, as a breaker sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noted<'a> {
    pub(super) endpoint: EndpointId,
    /// The circuit as it was when the delivery was claimed: with one, the attempt was a probe.
    pub(super) circuit: Option<Circuit>,
    pub(super) started_at: Timestamp,
    pub(super) result: &'a AttemptResult,
}

/// The breakers of all endpoints.
#[derive(Debug, Default)]
pub(super) struct Breakers(HashMap<EndpointId, Recent>);

/// The last results of an endpoint.
#[derive(Debug, Clone, Copy, Default)]
struct Recent {
    /// One bit each, the newest lowest; set where it failed.
    failures: u32,
    /// How many there are.
    count: u32,
    /// Attempts that began before have been judged.
    judged_until: Option<Timestamp>,
}

impl Recent {
    fn note(&mut self, failed: bool) {
        self.failures = self.failures << 1 | u32::from(failed);
        self.count = self.count.saturating_add(1).min(REMEMBERED);
    }

    fn is_too_bad(self) -> bool {
        let failures = self.failures.count_ones();
        let share_is_high = self.count >= ENOUGH && failures.saturating_mul(4) >= self.count.saturating_mul(3);
        self.failures.trailing_ones() >= IN_A_ROW || share_is_high
    }
}

impl Breakers {
    /// Notes an attempt. What becomes of the circuit, if anything does.
    pub(super) fn note(&mut self, noted: Noted<'_>, now: Timestamp) -> Option<Turn> {
        let Noted { endpoint, circuit, started_at, result } = noted;
        let failed = match result.sign() {
            Sign::Nothing => return None,
            Sign::Unable => true,
            Sign::Taken | Sign::Unwilling => false,
        };
        let recent = self.0.entry(endpoint).or_default();
        if recent.judged_until.is_some_and(|until| started_at < until) {
            return None;
        }
        let turn = match circuit {
            Some(_) if !failed => Some(Turn::Close),
            Some(circuit) => Some(Turn::Open(opened(endpoint, circuit.openings, result, now))),
            None => {
                recent.note(failed);
                (failed && recent.is_too_bad()).then(|| Turn::Open(opened(endpoint, 0, result, now)))
            }
        };
        match turn {
            // What was under way meanwhile says nothing new.
            Some(Turn::Open(_)) => *recent = Recent { judged_until: Some(now), ..Recent::default() },
            Some(Turn::Close) => drop(self.0.remove(&endpoint)),
            None if recent.failures == 0 => drop(self.0.remove(&endpoint)),
            None => {}
        }
        turn
    }
}

/// A circuit that opens now, after it has opened so many times.
fn opened(endpoint: EndpointId, openings: u32, result: &AttemptResult, now: Timestamp) -> Circuit {
    let planned = FIRST.saturating_mul(2_u32.saturating_pow(openings.min(16))).min(LONGEST);
    let (high, low) = endpoint.0.as_u64_pair();
    let more = (high ^ low).wrapping_add(u64::from(openings)) % JITTER.saturating_add(1);
    let wait = planned.saturating_add(planned / 100 * u32::try_from(more).unwrap_or(0));
    let asked = match result {
        AttemptResult::Answered { retry_after: Some(seconds), .. } => Duration::from_secs(*seconds).min(LONGEST_ASKED),
        _ => Duration::ZERO,
    };
    Circuit { until: now.after(wait.max(asked)), openings: openings.saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// An endpoint whose circuits are open for as long as is said.
    const STEADY: EndpointId = EndpointId(Uuid::from_u128(0));

    const START: Timestamp = Timestamp(1_000_000_000);

    /// `.` was taken, `4` answered 404, `5` answered 500, `t` timed out, `n` did not connect, `r` was refused.
    fn result(letter: char) -> AttemptResult {
        match letter {
            '.' => AttemptResult::answered(200),
            '4' => AttemptResult::answered(404),
            '5' => AttemptResult::answered(500),
            't' => AttemptResult::TimedOut,
            'n' => AttemptResult::NotConnected { reason: String::new() },
            _ => AttemptResult::Refused { reason: String::new() },
        }
    }

    /// How many attempts, a second apart, it took to open a circuit.
    fn opens_after(breakers: &mut Breakers, letters: &str) -> Option<usize> {
        letters.chars().enumerate().find_map(|(at, letter)| {
            let started_at = START.after(Duration::from_secs(at as u64));
            let noted = Noted { endpoint: STEADY, circuit: None, started_at, result: &result(letter) };
            matches!(breakers.note(noted, started_at), Some(Turn::Open(_))).then_some(at + 1)
        })
    }

    #[test]
    fn a_circuit_opens_after_ten_failures_in_a_row_or_when_three_in_four_fail() {
        let nine = "n".repeat(9);
        let table = [
            ("nine are not enough", format!("{nine}.{nine}"), None),
            ("ten are, whatever they are", "n5tn5tn5tn5t".to_owned(), Some(10)),
            ("a refusal of a message is an answer", "4".repeat(64), None),
            ("what was never sent says nothing", format!("{nine}{}n", "r".repeat(64)), Some(74)),
            ("three in four, of enough", "555.".repeat(8), Some(21)),
            ("two in three are not", "55.".repeat(20), None),
            ("what was long ago is forgotten", format!("{}{}{nine}", "555.".repeat(4), ".".repeat(32)), None),
        ];
        for (why, letters, expected) in table {
            assert_eq!(opens_after(&mut Breakers::default(), &letters), expected, "{why}: {letters}");
        }
    }

    #[test]
    fn a_probe_decides_and_each_further_opening_lasts_twice_as_long() {
        let mut breakers = Breakers::default();
        let mut circuit = None;
        let mut now = START;
        let mut probe = |circuit, letter, now| {
            let noted = Noted { endpoint: STEADY, circuit, started_at: now, result: &result(letter) };
            breakers.note(noted, now)
        };
        for _ in 0..9 {
            assert_eq!(probe(None, 'n', now), None);
        }
        for (openings, seconds) in [(1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, 300), (7, 300)] {
            let Some(Turn::Open(opened)) = probe(circuit, 'n', now) else { panic!("it opens again") };
            assert_eq!(opened.openings, openings);
            let lasts = opened.until.since(now);
            let planned = Duration::from_secs(seconds);
            assert!(lasts >= planned && lasts <= planned * 11 / 10, "{openings}: {lasts:?}");
            (circuit, now) = (Some(opened), opened.until);
        }
        assert_eq!(probe(circuit, 'r', now), None, "what was not sent decides nothing");
        assert_eq!(probe(circuit, '4', now), Some(Turn::Close), "an endpoint that answers is there");
        assert_eq!(probe(None, 'n', now), None, "and starts afresh");
    }

    #[test]
    fn what_was_under_way_when_a_circuit_opened_does_not_open_it_again() {
        let mut breakers = Breakers::default();
        let late = START.after(Duration::from_secs(5));
        let noted =
            |started_at| Noted { endpoint: STEADY, circuit: None, started_at, result: &AttemptResult::TimedOut };
        let turns: Vec<_> = (0..32).map(|_| breakers.note(noted(START), late)).collect();
        assert_eq!(turns.iter().flatten().count(), 1);
        assert!(turns[9].is_some());
    }

    #[test]
    fn an_endpoint_that_says_when_to_come_again_is_left_alone_for_so_long() {
        let mut breakers = Breakers::default();
        for (asked, waits) in [(1, 10), (90, 90), (999_999, 3600)] {
            let result =
                AttemptResult::Answered { status: 429, retry_after: Some(asked), excerpt: String::new(), cut: None };
            let circuit = Some(Circuit { until: START, openings: 0 });
            let noted = Noted { endpoint: STEADY, circuit, started_at: START, result: &result };
            let Some(Turn::Open(opened)) = breakers.note(noted, START) else { panic!("it opens again") };
            assert_eq!(opened.until.since(START), Duration::from_secs(waits), "{asked}");
        }
    }

    #[test]
    fn nothing_is_remembered_of_endpoints_that_do_well() {
        let mut breakers = Breakers::default();
        assert_eq!(opens_after(&mut breakers, &format!("nnn{}", ".".repeat(32))), None);
        assert!(breakers.0.is_empty());
    }
}
