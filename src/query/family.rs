//! What surrounds a run in its trace, and what it used together with the runs below it.
//!
//! Who is below whom is told by columns. Bodies are read of the runs below those that are asked about, and only of those
//! that the caller does not have at hand: a run without children costs none, and a page of whole traces none either.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::model::id::{ProjectId, RunId, TenantId, TraceId};
use crate::model::run::Run;
use crate::model::usage::{self, Usage};
use crate::store::runs::Kin;
use crate::store::{Result, Store};

/// Traces whose columns are in memory together.
const TRACES: usize = 128;

/// Bodies that are.
const BODIES: usize = 256;

/// What surrounds a run in its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Its children, in the order of their paths.
    pub children: Vec<RunId>,
    /// All runs below it, in that order.
    pub descendants: Vec<RunId>,
    /// What it used together with them.
    pub usage: Usage,
}

/// What counts of a run among its relatives.
struct Member {
    path: String,
    usage: Usage,
}

/// Who is below whom in some traces.
struct Lineages {
    parents: HashMap<RunId, Option<RunId>>,
    children: HashMap<RunId, Vec<RunId>>,
}

/// The family of each of these runs, whose usage is their own.
pub async fn families(store: &dyn Store, tenant: TenantId, runs: &[&Run]) -> Result<HashMap<RunId, Family>> {
    let known: HashMap<RunId, &Run> = runs.iter().map(|run| (run.id, *run)).collect();
    let mut asked: BTreeMap<ProjectId, BTreeMap<TraceId, Vec<RunId>>> = BTreeMap::new();
    for run in known.values() {
        asked.entry(run.project_id).or_default().entry(run.trace_id).or_default().push(run.id);
    }
    let mut found = HashMap::new();
    for (project, asked) in asked {
        gather(store, tenant, project, &asked, &known, &mut found).await?;
    }
    Ok(found)
}

/// What each of these runs of some traces used together with those below it. What a run without children used is left out.
pub async fn sums(
    store: &dyn Store,
    tenant: TenantId,
    project: ProjectId,
    asked: &BTreeMap<TraceId, Vec<RunId>>,
) -> Result<HashMap<RunId, Usage>> {
    let mut found = HashMap::new();
    gather(store, tenant, project, asked, &HashMap::new(), &mut found).await?;
    Ok(found.into_iter().map(|(run, family)| (run, family.usage)).collect())
}

/// The families of the runs that are asked about. One that is not known and has no children is left out.
async fn gather(
    store: &dyn Store,
    tenant: TenantId,
    project: ProjectId,
    asked: &BTreeMap<TraceId, Vec<RunId>>,
    known: &HashMap<RunId, &Run>,
    found: &mut HashMap<RunId, Family>,
) -> Result<()> {
    let traces: Vec<TraceId> = asked.keys().copied().collect();
    for some in traces.chunks(TRACES) {
        let lineages = Lineages::of(&store.kin(tenant, project, some).await?);
        let asked = some.iter().filter_map(|trace| asked.get(trace)).flatten();
        let below: HashMap<RunId, HashSet<RunId>> = asked.map(|run| (*run, lineages.below(*run))).collect();
        let members = members(store, tenant, &below, known).await?;
        let sums = lineages.sums(&members);
        let family = |(run, below): (RunId, HashSet<RunId>)| {
            let in_order = |runs: &mut dyn Iterator<Item = RunId>| {
                let mut runs: Vec<(&str, RunId)> =
                    runs.filter_map(|run| Some((members.get(&run)?.path.as_str(), run))).collect();
                runs.sort_unstable();
                runs.into_iter().map(|(_, run)| run).collect()
            };
            let family = Family {
                children: in_order(&mut lineages.children_of(run)),
                descendants: in_order(&mut below.into_iter()),
                usage: sums.get(&run)?.clone(),
            };
            Some((run, family))
        };
        found.extend(below.into_iter().filter_map(family));
    }
    Ok(())
}

/// Those that are asked about and all below them.
async fn members(
    store: &dyn Store,
    tenant: TenantId,
    below: &HashMap<RunId, HashSet<RunId>>,
    known: &HashMap<RunId, &Run>,
) -> Result<HashMap<RunId, Member>> {
    let asked = below.iter().filter(|(run, below)| known.contains_key(*run) || !below.is_empty()).map(|(run, _)| *run);
    let all: BTreeSet<RunId> = asked.chain(below.values().flatten().copied()).collect();
    let (at_hand, missing): (Vec<RunId>, Vec<RunId>) = all.into_iter().partition(|run| known.contains_key(run));
    let mut members = HashMap::new();
    for run in at_hand.iter().filter_map(|run| known.get(run)) {
        members.insert(run.id, Member { path: run.dotted_order.clone(), usage: run.usage.clone() });
    }
    for some in missing.chunks(BODIES) {
        for stored in store.runs(tenant, some).await? {
            members.insert(stored.run.id, Member { path: stored.run.dotted_order, usage: stored.run.usage });
        }
    }
    Ok(members)
}

impl Lineages {
    fn of(kin: &[Kin]) -> Self {
        let traces: HashMap<RunId, TraceId> = kin.iter().map(|one| (one.run_id, one.trace_id)).collect();
        let mut lineages = Self { parents: HashMap::with_capacity(kin.len()), children: HashMap::new() };
        for one in kin {
            // Who names a parent in another trace is nobody's child.
            let parent = one.parent_run_id.filter(|parent| traces.get(parent) == Some(&one.trace_id));
            lineages.parents.insert(one.run_id, parent);
            if let Some(parent) = parent {
                lineages.children.entry(parent).or_default().push(one.run_id);
            }
        }
        lineages
    }

    fn children_of(&self, run: RunId) -> impl Iterator<Item = RunId> {
        self.children.get(&run).into_iter().flatten().copied()
    }

    /// All runs below one, in no order. Parents may form a circle.
    fn below(&self, run: RunId) -> HashSet<RunId> {
        let (mut found, mut waiting) = (HashSet::new(), vec![run]);
        while let Some(next) = waiting.pop() {
            waiting.extend(self.children_of(next).filter(|child| *child != run && found.insert(*child)));
        }
        found
    }

    fn sums(&self, members: &HashMap<RunId, Member>) -> HashMap<RunId, Usage> {
        let parent = |run| self.parents.get(run).copied().flatten();
        let all: Vec<_> = members.iter().map(|(run, member)| (*run, parent(run), &member.usage)).collect();
        let sums = usage::sums(&all);
        all.into_iter().map(|(run, ..)| run).zip(sums).collect()
    }
}
