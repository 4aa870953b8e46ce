//! The runs that pass a question, in its order, batch by batch.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::filter::Facts;
use crate::filter::sql::Clause;
use crate::model::id::{RunId, TenantId};
use crate::model::run::StoredRun;
use crate::query::tree::{self, Place, TRACES};
use crate::query::{Position, Question, Scope};
use crate::store::search::{Found, Search, Within};
use crate::store::{Result, Store};

/// Bodies that are in memory together.
const BODIES: usize = 256;

/// Looks for runs.
pub struct Finder<'a> {
    store: &'a dyn Store,
    tenant: TenantId,
    question: &'a Question,
    search: Search,
    judging: Judging,
    ended: bool,
}

/// What is left to judge of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judging {
    /// Nothing: the store's word is final.
    Nothing,
    /// The run.
    Runs,
    /// The run in its trace.
    Traces,
}

impl<'a> Finder<'a> {
    /// Looks for what comes behind a position, or from the beginning.
    #[must_use]
    pub fn new(store: &'a dyn Store, tenant: TenantId, question: &'a Question, after: Option<Position>) -> Self {
        let run = question.filter.narrowing();
        let of_trace = |filter: Option<&crate::filter::Filter>| filter.map(crate::filter::Filter::narrowing);
        let (root, tree) = (of_trace(question.trace_filter.as_ref()), of_trace(question.tree_filter.as_ref()));
        let judging = match (&root, &tree) {
            // Which of several roots is meant the store does not know.
            (Some(_), _) => Judging::Traces,
            (None, Some(tree)) if !tree.exact => Judging::Traces,
            _ if question.filter.needs().usage => Judging::Traces,
            _ if run.exact => Judging::Nothing,
            _ => Judging::Runs,
        };
        let clause = |narrowing: Option<crate::filter::sql::Narrowing>| {
            narrowing.map_or(Clause::Always, |narrowing| narrowing.clause)
        };
        let search = Search {
            within: Within::Runs(Vec::new()),
            run: run.clause,
            root: clause(root),
            tree: clause(tree),
            newest_first: question.newest_first,
            after: after.map(|at| (at.start_time, at.run_id)),
            limit: 0,
        };
        Self { store, tenant, question, search, judging, ended: false }
    }

    /// Whether there are no more candidates.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether candidates are what is looked for.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.judging == Judging::Nothing
    }

    /// Where the candidates that were looked at end.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.search.after.map(|(start_time, run_id)| Position { start_time, run_id })
    }

    /// Looks at the next candidates, so many at most. Those that pass.
    pub async fn next(&mut self, most: u32) -> Result<Vec<StoredRun>> {
        let candidates = self.candidates(most).await?;
        self.ended = candidates.len() < most as usize;
        if let Some(last) = candidates.last() {
            self.search.after = Some((last.start_time, last.run_id));
        }
        let mut passing = HashMap::new();
        match self.judging {
            Judging::Traces => {
                let mut traces: BTreeMap<Place, HashSet<RunId>> = BTreeMap::new();
                for found in &candidates {
                    traces.entry((found.project_id, found.trace_id)).or_default().insert(found.run_id);
                }
                let traces: Vec<_> = traces.into_iter().collect();
                for batch in traces.chunks(TRACES) {
                    self.judge_traces(batch, &mut passing).await?;
                }
            }
            Judging::Nothing | Judging::Runs => {
                for batch in candidates.chunks(BODIES) {
                    self.judge_runs(batch, &mut passing).await?;
                }
            }
        }
        Ok(candidates.iter().filter_map(|found| passing.remove(&found.run_id)).collect())
    }

    async fn judge_runs(&self, batch: &[Found], passing: &mut HashMap<RunId, StoredRun>) -> Result<()> {
        let ids: Vec<RunId> = batch.iter().map(|found| found.run_id).collect();
        for stored in self.store.runs(self.tenant, &ids).await? {
            if self.is_certain() || self.question.filter.matches(&Facts::of(&stored)) {
                passing.insert(stored.run.id, stored);
            }
        }
        Ok(())
    }

    async fn judge_traces(
        &self,
        batch: &[(Place, HashSet<RunId>)],
        passing: &mut HashMap<RunId, StoredRun>,
    ) -> Result<()> {
        let places: Vec<Place> = batch.iter().map(|(place, _)| *place).collect();
        let trees = tree::load(self.store, self.tenant, &places).await?;
        for (place, runs) in batch {
            let Some(tree) = trees.get(place) else { continue };
            let found = tree.passing(self.question, runs);
            passing.extend(found.into_iter().filter_map(|id| Some((id, tree.bare(id)?))));
        }
        Ok(())
    }

    async fn candidates(&self, most: u32) -> Result<Vec<Found>> {
        let within: Vec<Within> = match &self.question.scope {
            Scope::Projects(projects) => projects.iter().map(|project| Within::Project(*project)).collect(),
            Scope::Trace(trace) => vec![Within::Trace(*trace)],
            Scope::Runs(runs) => vec![Within::Runs(runs.clone())],
        };
        let mut found = Vec::new();
        for within in within {
            let search = Search { within, limit: most, ..self.search.clone() };
            found.extend(self.store.search_runs(self.tenant, &search).await?);
        }
        let place = |found: &Found| (found.start_time, found.run_id);
        if self.question.newest_first {
            found.sort_by_key(|one| std::cmp::Reverse(place(one)));
        } else {
            found.sort_by_key(place);
        }
        found.truncate(most as usize);
        Ok(found)
    }
}
