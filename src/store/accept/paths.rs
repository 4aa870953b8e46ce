//! Paths of runs whose clients send none.
//!
//! A child that names its parent but no path gets the parent's path with its own segment, as soon as both are here and
//! the parent's leads from a root. Whichever arrives first: a parent that comes, or gets its own path, tells the strays
//! below it, and they those below them. Clients that send paths cost one look into an empty index.
//!
//! A run that goes by another id, too, is found under it by a signpost that is kept there: a child that names that id
//! gets the run's path, and with it the run for its parent.

use std::collections::HashSet;

use crate::model::id::{RunId, TenantId};
use crate::model::run::Standpoint;
use crate::store::Result;
use crate::store::accept::Rows;
use crate::store::accept::drafts::Drafts;

/// Gives strays their paths.
pub(super) async fn infer(rows: &mut dyn Rows, tenant: TenantId, drafts: &mut Drafts) -> Result<()> {
    let (mut told, mut settled) = (HashSet::new(), HashSet::new());
    loop {
        if drafts.standpoints().any(|(_, stands, _)| matches!(stands, Standpoint::Under { .. })) {
            load_parents(rows, tenant, drafts).await?;
            while settle(drafts, &mut settled)? {}
        }
        let rooted =
            drafts.standpoints().filter(|(_, stands, first)| *first && matches!(stands, Standpoint::Rooted(_)));
        let news = rooted.map(|(run, _, _)| run).chain(drafts.aliases());
        let news: Vec<RunId> = news.filter(|run| !told.contains(run)).collect();
        if news.is_empty() || !load_strays(rows, tenant, drafts, &news).await? {
            return Ok(());
        }
        told.extend(news);
    }
}

/// Loads parents of strays that no part is about, and what signposts lead to that are there in a parent's place.
async fn load_parents(rows: &mut dyn Rows, tenant: TenantId, drafts: &mut Drafts) -> Result<()> {
    let parents: Vec<RunId> = named_parents(drafts).filter(|parent| !drafts.has(*parent)).collect();
    if !parents.is_empty() {
        drafts.load_relatives(rows, tenant, &parents).await?;
    }
    let meant = named_parents(drafts).filter_map(|parent| drafts.meant_by(parent));
    let meant: Vec<RunId> = meant.filter(|run| !drafts.has(*run)).collect();
    if meant.is_empty() { Ok(()) } else { drafts.load_relatives(rows, tenant, &meant).await }
}

fn named_parents(drafts: &Drafts) -> impl Iterator<Item = RunId> {
    drafts.standpoints().filter_map(|(_, stands, _)| match stands {
        Standpoint::Under { parent, .. } => Some(*parent),
        Standpoint::Rooted(_) => None,
    })
}

/// Gives those strays a path whose parents have one, each once. Whether there were any.
fn settle(drafts: &mut Drafts, settled: &mut HashSet<RunId>) -> Result<bool> {
    let found: Vec<_> = drafts
        .standpoints()
        .filter(|(run, _, _)| !settled.contains(run))
        .filter_map(|(run, stands, _)| match stands {
            Standpoint::Under { parent, start_time } => {
                drafts.path_of(*parent, run).map(|path| (run, path.child(*start_time, run)))
            }
            Standpoint::Rooted(_) => None,
        })
        .collect();
    for (run, path) in &found {
        settled.insert(*run);
        drafts.infer_path(*run, path)?;
    }
    Ok(!found.is_empty())
}

/// Loads the stored strays under these parents. Whether there were any.
async fn load_strays(rows: &mut dyn Rows, tenant: TenantId, drafts: &mut Drafts, parents: &[RunId]) -> Result<bool> {
    let strays = rows.strays(tenant, parents).await?;
    let strays: Vec<RunId> = strays.into_iter().filter(|run| !drafts.has(*run)).collect();
    if !strays.is_empty() {
        drafts.load_relatives(rows, tenant, &strays).await?;
    }
    Ok(!strays.is_empty())
}
