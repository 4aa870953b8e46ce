//! Statistics of the runs that pass a question.
//!
//! What was used is counted once. A run's tokens are those of its whole subtree; so a run that has an ancestor among the
//! runs asked for adds nothing to the sums, because what it used is in what the ancestor used.

use std::collections::{BTreeMap, HashSet};

use rust_decimal::Decimal;

use crate::filter::Filter;
use crate::filter::sql::Order;
use crate::model::id::{ProjectId, RunId, TenantId};
use crate::model::run::{Run, Status};
use crate::model::time::Timestamp;
use crate::model::usage::Usage;
use crate::query::feedback::Summaries;
use crate::query::tree::{self, Place, TRACES};
use crate::query::{Finder, Question, Scope};
use crate::store::{Result, Store};

/// Runs that are looked at together.
const BATCH: u32 = 512;

/// Half of the values are at most the one, 99 of 100 at most the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread<T> {
    /// The middle.
    pub p50: T,
    /// The end.
    pub p99: T,
}

/// What many runs have in common.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// How many there are.
    pub runs: u64,
    /// How many failed.
    pub failed: u64,
    /// How many gave a first token before they ended.
    pub streamed: u64,
    /// When the last one started.
    pub last_start: Option<Timestamp>,
    /// How long they took, in microseconds.
    pub latency: Option<Spread<i64>>,
    /// How long the first token took, in microseconds.
    pub first_token: Option<Spread<i64>>,
    /// Tokens of a run.
    pub tokens: Option<Spread<[i64; 3]>>,
    /// Costs of a run, of those whose cost is known.
    pub costs: Option<Spread<Decimal>>,
    /// What all of them used together.
    pub usage: Usage,
    /// Feedback on them, by key.
    pub feedback: Summaries,
}

#[derive(Default)]
struct Tally {
    stats: Stats,
    latency: Vec<i64>,
    first_token: Vec<i64>,
    tokens: [Vec<i64>; 3],
    costs: Vec<Decimal>,
}

/// Statistics of the runs that pass a question.
pub async fn stats(store: &dyn Store, tenant: TenantId, question: &Question) -> Result<Stats> {
    let mut finder = Finder::new(store, tenant, question, None);
    let mut tally = Tally::default();
    while !finder.has_ended() {
        let mut traces: BTreeMap<Place, HashSet<RunId>> = BTreeMap::new();
        for stored in finder.next(BATCH).await? {
            tally.stats.feedback.add_all(&stored.feedback);
            traces.entry((stored.run.project_id, stored.run.trace_id)).or_default().insert(stored.run.id);
        }
        let traces: Vec<_> = traces.into_iter().collect();
        for batch in traces.chunks(TRACES) {
            let places: Vec<Place> = batch.iter().map(|(place, _)| *place).collect();
            let trees = tree::load(store, tenant, &places).await?;
            for (place, runs) in batch {
                let Some(tree) = trees.get(place) else { continue };
                for stored in runs.iter().filter_map(|id| tree.run(*id)) {
                    tally.count(&stored.run, tree.is_below_another(stored.run.id, question));
                }
            }
        }
    }
    Ok(tally.finished())
}

/// Statistics of the runs of a project, from an instant on if there is one.
pub async fn of_project(
    store: &dyn Store,
    tenant: TenantId,
    project: ProjectId,
    from: Option<Timestamp>,
) -> Result<Stats> {
    let question = Question {
        scope: Scope::Projects(vec![project]),
        filter: from.map_or_else(Filter::default, |from| Filter::started(Order::Gte, from)),
        trace_filter: None,
        tree_filter: None,
        newest_first: true,
    };
    stats(store, tenant, &question).await
}

impl Tally {
    fn count(&mut self, run: &Run, counted_above: bool) {
        let stats = &mut self.stats;
        stats.runs = stats.runs.saturating_add(1);
        stats.failed = stats.failed.saturating_add(u64::from(run.status == Status::Error));
        stats.streamed = stats.streamed.saturating_add(u64::from(run.first_token_time.is_some()));
        stats.last_start = stats.last_start.max(Some(run.start_time));
        let took = |until: Option<Timestamp>| until.map(|until| until.0.saturating_sub(run.start_time.0));
        self.latency.extend(took(run.end_time));
        self.first_token.extend(took(run.first_token_time));
        let usage = &run.usage;
        let tokens = [usage.total_tokens, usage.prompt_tokens, usage.completion_tokens];
        self.tokens.iter_mut().zip(tokens).for_each(|(all, own)| all.push(own));
        self.costs.extend(usage.total_cost);
        if !counted_above {
            stats.usage.add(usage);
        }
    }

    fn finished(mut self) -> Stats {
        let [total, prompt, completion] = self.tokens.map(spread);
        let tokens = total.zip(prompt).zip(completion).map(|((total, prompt), completion)| Spread {
            p50: [total.p50, prompt.p50, completion.p50],
            p99: [total.p99, prompt.p99, completion.p99],
        });
        self.stats.latency = spread(self.latency);
        self.stats.first_token = spread(self.first_token);
        self.stats.costs = spread(self.costs);
        self.stats.tokens = tokens;
        self.stats
    }
}

/// The values at which half, and 99 of 100, are reached.
pub(super) fn spread<T: Ord + Copy>(mut values: Vec<T>) -> Option<Spread<T>> {
    values.sort_unstable();
    let at = |hundredths: usize| {
        let rank = values.len().saturating_mul(hundredths).div_ceil(100);
        values.get(rank.saturating_sub(1)).copied()
    };
    Some(Spread { p50: at(50)?, p99: at(99)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_names_values_that_are_there() {
        assert_eq!(spread::<i64>(Vec::new()), None);
        assert_eq!(spread(vec![7]), Some(Spread { p50: 7, p99: 7 }));
        assert_eq!(spread((1..=200).rev().collect()), Some(Spread { p50: 100, p99: 198 }));
    }
}
