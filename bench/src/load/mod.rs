//! The load generator: sends runs (and feedback about them) as the SDKs do, and remembers what was acknowledged.
//!
//! A *closed* loop sends the next body as soon as a connection is free: it finds the most a server takes. An *open* loop
//! sends at a fixed rate, and latency counts from when a request should have been sent, whether or not a connection was
//! free then: a server that stalls cannot hide it. What a server turns away is sent again as the SDKs do it, after the
//! time the server names or with growing pauses, four times in all unless told otherwise.
//!
//! One thread does everything, so that the generator takes as little as possible from the server beside it. How much it
//! took is part of the result.

mod tally;
mod wire;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::time::{sleep, sleep_until};
use uuid::Uuid;

use crate::body::{Body, Kitchen, Recipe, Wire};
use crate::clock::{Clock, thread_cpu};
use crate::load::wire::{Answer, Way};
use crate::record::Ack;
use crate::run_id::{RunId, feedback_id};

pub(crate) use tally::{Latencies, Spread, Tally};

/// How often the SDKs try.
pub(crate) const SDK_ATTEMPTS: u32 = 4;
/// Their first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// Before another server is asked.
const NEXT_SERVER: Duration = Duration::from_millis(50);

/// What a load is to do.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Whom to send to. A connection keeps to one until that fails.
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) recipe: Recipe,
    pub(crate) connections: usize,
    /// Runs a second; none: as fast as it goes.
    pub(crate) rate: Option<f64>,
    /// Ends after so many runs...
    pub(crate) runs: Option<u64>,
    /// ...or after this time.
    pub(crate) time: Option<Duration>,
    /// How often a body is sent at most; none: until it is taken.
    pub(crate) attempts: Option<u32>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) acks: Vec<Ack>,
}

/// Carries a plan out.
pub(crate) async fn run(plan: &Plan, clock: Clock) -> anyhow::Result<Outcome> {
    let mut kitchen = Kitchen::open(plan.recipe.clone());
    let prepared = prepare(plan, &mut kitchen, clock)?;
    let started = Instant::now();
    let cpu = thread_cpu();
    let state = RefCell::new(State { kitchen, prepared, issued: 0, started, counts: Counts::new() });
    let workers = (0..plan.connections.max(1)).map(|number| {
        let worker = Worker { plan, clock, state: &state };
        worker.work(Way::new(&plan.servers, number))
    });
    try_join_all(workers).await?;
    let cpu = thread_cpu().saturating_sub(cpu);
    Ok(state.into_inner().counts.finish(started.elapsed(), cpu))
}

/// Packed bodies are made beforehand: packing costs more than all else the load does.
fn prepare(plan: &Plan, kitchen: &mut Kitchen, clock: Clock) -> anyhow::Result<Option<VecDeque<Body>>> {
    if plan.recipe.wire != Wire::MultipartZstd {
        return Ok(None);
    }
    let runs = plan.runs.context("packed bodies are made beforehand: say how many runs")?;
    let bodies = runs.div_ceil(plan.recipe.batch.max(1) as u64);
    let bodies = (0..bodies).map(|_| kitchen.next(clock.micros())).collect::<std::io::Result<_>>()?;
    Ok(Some(bodies))
}

struct State {
    kitchen: Kitchen,
    prepared: Option<VecDeque<Body>>,
    /// Runs that were given out.
    issued: u64,
    started: Instant,
    counts: Counts,
}

struct Counts {
    requests: u64,
    runs: u64,
    feedback: u64,
    bytes: u64,
    retries: BTreeMap<String, u64>,
    dropped: BTreeMap<String, u64>,
    latencies: Latencies,
    feedback_latencies: Latencies,
    acks: Vec<Ack>,
}

/// A body, and when it is to be sent.
struct Ticket {
    body: Body,
    intended: Instant,
}

impl State {
    fn next(&mut self, plan: &Plan, clock: Clock) -> anyhow::Result<Option<Ticket>> {
        let ended = plan.runs.is_some_and(|runs| self.issued >= runs);
        #[expect(clippy::cast_precision_loss, reason = "counts of runs are far below 2^53")]
        let intended = match plan.rate {
            Some(rate) => self.started + Duration::from_secs_f64(self.issued as f64 / rate.max(0.001)),
            None => Instant::now(),
        };
        let late = plan.time.is_some_and(|time| intended >= self.started + time);
        if ended || late {
            return Ok(None);
        }
        let body = match &mut self.prepared {
            Some(prepared) => prepared.pop_front(),
            None => Some(self.kitchen.next(clock.micros())?),
        };
        self.issued += plan.recipe.batch as u64;
        Ok(body.map(|body| Ticket { body, intended }))
    }
}

impl Counts {
    fn new() -> Self {
        Self {
            requests: 0,
            runs: 0,
            feedback: 0,
            bytes: 0,
            retries: BTreeMap::new(),
            dropped: BTreeMap::new(),
            latencies: Latencies::new(),
            feedback_latencies: Latencies::new(),
            acks: Vec::new(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn finish(self, elapsed: Duration, cpu: Duration) -> Outcome {
        let seconds = elapsed.as_secs_f64();
        let tally = Tally {
            requests: self.requests,
            runs: self.runs,
            feedback: self.feedback,
            retries: self.retries,
            dropped: self.dropped,
            bytes: self.bytes,
            seconds,
            runs_per_second: self.runs as f64 / seconds.max(f64::EPSILON),
            latency_ms: self.latencies.spread(),
            feedback_latency_ms: self.feedback_latencies.spread(),
            own_cpu_s_per_1000: cpu.as_secs_f64() * 1000.0 / (self.runs.max(1)) as f64,
        };
        Outcome { tally, acks: self.acks }
    }
}

/// What is sent.
#[derive(Clone)]
enum Parcel {
    Runs(Wire, Bytes),
    Feedback(Bytes),
}

#[derive(Clone, Copy)]
struct Worker<'a> {
    plan: &'a Plan,
    clock: Clock,
    state: &'a RefCell<State>,
}

impl Worker<'_> {
    async fn work(self, mut way: Way) -> anyhow::Result<()> {
        loop {
            let ticket = self.state.borrow_mut().next(self.plan, self.clock)?;
            let Some(Ticket { body, intended }) = ticket else { return Ok(()) };
            if self.plan.rate.is_some() {
                sleep_until(intended.into()).await;
            }
            let parcel = Parcel::Runs(self.plan.recipe.wire, body.bytes.clone());
            if self.deliver(&mut way, parcel).await {
                self.note_runs(&body, intended);
                self.give_feedback(&mut way, &body.runs).await;
            }
        }
    }

    fn note_runs(&self, body: &Body, intended: Instant) {
        let counts = &mut self.state.borrow_mut().counts;
        counts.requests += 1;
        counts.runs += body.runs.len() as u64;
        counts.bytes += body.bytes.len() as u64;
        counts.latencies.add(intended.elapsed());
        let (intended, acked) = (self.clock.micros_at(intended), self.clock.micros());
        counts.acks.extend(body.runs.iter().map(|run| Ack { run: *run, feedback: false, intended, acked }));
    }

    async fn give_feedback(&self, way: &mut Way, runs: &[Uuid]) {
        for run in runs {
            let Some(RunId { class, .. }) = RunId::of(*run).filter(|id| id.class.feedback) else { continue };
            let begun = Instant::now();
            let score = if class.low { 0.1 } else { 0.9 };
            let body = json!({
                "id": feedback_id(*run), "run_id": run, "key": "user_score", "score": score,
                "comment": "from the thumbs", "feedback_source": {"type": "api", "metadata": {}},
            });
            if self.deliver(way, Parcel::Feedback(body.to_string().into())).await {
                let counts = &mut self.state.borrow_mut().counts;
                counts.feedback += 1;
                counts.feedback_latencies.add(begun.elapsed());
                let (intended, acked) = (self.clock.micros_at(begun), self.clock.micros());
                counts.acks.push(Ack { run: *run, feedback: true, intended, acked });
            }
        }
    }

    /// Sends until it is taken, or given up. Whether it was taken whole.
    async fn deliver(&self, way: &mut Way, parcel: Parcel) -> bool {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let answer = match parcel.clone() {
                Parcel::Runs(wire, body) => way.send_runs(wire, body).await,
                Parcel::Feedback(body) => way.send_feedback(body).await,
            };
            let (why, after) = match answer {
                Answer::Taken { refused: false } => return true,
                Answer::Taken { refused: true } => return self.drop_it("taken only in part".to_owned()),
                Answer::Refused { status, body } => {
                    return self.drop_it(format!("{status}: {}", body.chars().take(300).collect::<String>()));
                }
                Answer::Later { status, after } => (status.to_string(), after),
                Answer::Lost(why) => (why.to_owned(), None),
            };
            if self.plan.attempts.is_some_and(|most| attempt >= most) {
                return self.drop_it(format!("{why}, {attempt} times"));
            }
            *self.state.borrow_mut().counts.retries.entry(why).or_default() += 1;
            let pause = if way.move_on() && after.is_none() { NEXT_SERVER } else { pause(attempt) };
            sleep(after.unwrap_or(pause)).await;
        }
    }

    fn drop_it(&self, why: String) -> bool {
        *self.state.borrow_mut().counts.dropped.entry(why).or_default() += 1;
        false
    }
}

fn pause(attempt: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX)).min(LONGEST_PAUSE)
}
