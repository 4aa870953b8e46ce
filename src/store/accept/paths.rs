//! Paths of runs whose clients send none.
//!
//! A child that names its parent but no path has the parent's path with its own segment, as soon as both are here and the
//! parent has one. Whichever arrives first, and wherever the parent goes later: a run that gets a path, or another one,
//! tells the strays below it, and they those below them. So where a run stands depends on what was said of it and of those
//! above it, never on the order. Runs that are below themselves have no path. Clients that send paths cost one look into an
//! empty index.
//!
//! A child may name its parent by another id than the parent's, under which a signpost is stored together with the parent
//! (`Fields::alias`). Whichever comes later, child or signpost, the child follows the run that is meant from then on.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use crate::model::id::{RunId, TenantId};
use crate::store::Result;
use crate::store::accept::Rows;
use crate::store::accept::drafts::Drafts;

/// Gives strays their paths.
pub(super) async fn infer(rows: &mut dyn Rows, tenant: TenantId, drafts: &mut Drafts) -> Result<()> {
    let mut strays: BTreeSet<RunId> = drafts.lost_strays().collect();
    load_parents(rows, tenant, drafts, &strays).await?;
    let mut told = HashSet::new();
    loop {
        read_signposts(rows, tenant, drafts, &strays).await?;
        settle(drafts, &strays)?;
        let moved = drafts.moved().chain(drafts.signposts());
        let moved: Vec<RunId> = moved.filter(|run| !told.contains(run)).collect();
        if moved.is_empty() {
            return Ok(());
        }
        let below = rows.strays(tenant, &moved).await?;
        let unknown: Vec<RunId> = below.iter().filter(|run| !drafts.has(**run)).copied().collect();
        if !unknown.is_empty() {
            drafts.load_relatives(rows, tenant, &unknown).await?;
        }
        strays.extend(below);
        told.extend(moved);
    }
}

/// Loads parents of strays that no part is about.
async fn load_parents(
    rows: &mut dyn Rows,
    tenant: TenantId,
    drafts: &mut Drafts,
    strays: &BTreeSet<RunId>,
) -> Result<()> {
    let parents = strays.iter().filter_map(|run| drafts.followed(*run)).filter(|parent| !drafts.has(*parent));
    let parents: BTreeSet<RunId> = parents.collect();
    let parents: Vec<RunId> = parents.into_iter().collect();
    if parents.is_empty() { Ok(()) } else { drafts.load_relatives(rows, tenant, &parents).await }
}

/// Has strays whose parents are named by other ids follow those that are meant, and loads these.
async fn read_signposts(
    rows: &mut dyn Rows,
    tenant: TenantId,
    drafts: &mut Drafts,
    strays: &BTreeSet<RunId>,
) -> Result<()> {
    let mut meant = BTreeSet::new();
    for run in strays {
        meant.extend(drafts.read_signpost(*run)?.filter(|parent| !drafts.has(*parent)));
    }
    let meant: Vec<RunId> = meant.into_iter().collect();
    if meant.is_empty() { Ok(()) } else { drafts.load_relatives(rows, tenant, &meant).await }
}

/// Has strays follow their parents, and those that are below them follow them, until all do.
fn settle(drafts: &mut Drafts, strays: &BTreeSet<RunId>) -> Result<()> {
    let mut below: HashMap<RunId, Vec<RunId>> = HashMap::new();
    for run in strays {
        if let Some(parent) = drafts.followed(*run) {
            below.entry(parent).or_default().push(*run);
        }
    }
    let mut waiting: VecDeque<RunId> = strays.iter().copied().collect();
    while let Some(run) = waiting.pop_front() {
        if drafts.follow(run)? {
            waiting.extend(below.get(&run).into_iter().flatten());
        }
    }
    Ok(())
}
