//! Paths of runs whose clients send none.
//!
//! A child that names its parent but no path gets the parent's path with its own segment, as soon as both are here and
//! the parent's leads from a root. Whichever arrives first: a parent that comes, or gets its own path, tells the strays
//! below it, and they those below them. Clients that send paths cost one look into an empty index.

use std::collections::HashSet;

use sqlx::sqlite::SqliteConnection;

use crate::model::id::{RunId, TenantId};
use crate::model::merge::Standpoint;
use crate::store::Result;
use crate::store::sqlite::accept::drafts::Drafts;
use crate::store::sqlite::row::{Cells, id_list};

/// Stored strays under these parents.
pub(super) const STRAYS: &str = "SELECT r.run_id FROM runs r INDEXED BY runs_stray \
     WHERE r.is_stray AND r.tenant_id = $1 AND r.parent_run_id IN (SELECT unhex(value) FROM json_each($2))";

/// Gives strays their paths.
pub(super) async fn infer(connection: &mut SqliteConnection, tenant: TenantId, drafts: &mut Drafts) -> Result<()> {
    let (mut told, mut settled) = (HashSet::new(), HashSet::new());
    loop {
        let mut stands: Vec<_> = drafts.standpoints().collect();
        if stands.iter().any(|(_, stands, _)| matches!(stands, Standpoint::Under { .. })) {
            load_parents(connection, tenant, drafts).await?;
            while settle(drafts, &mut settled) {}
            stands = drafts.standpoints().collect();
        }
        let rooted = stands.into_iter().filter(|(_, stands, first)| *first && matches!(stands, Standpoint::Rooted(_)));
        let news: Vec<RunId> = rooted.map(|(run, _, _)| run).filter(|run| !told.contains(run)).collect();
        if news.is_empty() || !load_strays(connection, tenant, drafts, &news).await? {
            return Ok(());
        }
        told.extend(news);
    }
}

/// Loads parents of strays that no part is about.
async fn load_parents(connection: &mut SqliteConnection, tenant: TenantId, drafts: &mut Drafts) -> Result<()> {
    let parents = drafts.standpoints().filter_map(|(_, stands, _)| match stands {
        Standpoint::Under { parent, .. } if !drafts.has(parent) => Some(parent),
        _ => None,
    });
    let parents: Vec<RunId> = parents.collect();
    if parents.is_empty() { Ok(()) } else { drafts.load_relatives(connection, tenant, &parents).await }
}

/// Gives those strays a path whose parents have one, each once. Whether there were any.
fn settle(drafts: &mut Drafts, settled: &mut HashSet<RunId>) -> bool {
    let found: Vec<_> = drafts
        .standpoints()
        .filter(|(run, _, _)| !settled.contains(run))
        .filter_map(|(run, stands, _)| match stands {
            Standpoint::Under { parent, start_time } => {
                drafts.path_of(parent, run).map(|path| (run, path.child(start_time, run)))
            }
            Standpoint::Rooted(_) => None,
        })
        .collect();
    for (run, path) in &found {
        settled.insert(*run);
        drafts.infer_path(*run, path);
    }
    !found.is_empty()
}

/// Loads the stored strays under these parents. Whether there were any.
async fn load_strays(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    drafts: &mut Drafts,
    parents: &[RunId],
) -> Result<bool> {
    let ids = id_list(parents.iter().map(|run| run.0));
    let rows = sqlx::query(STRAYS).bind(tenant.0).bind(ids).fetch_all(&mut *connection).await?;
    let strays = rows.iter().map(|row| Cells::of("runs", row).take().map(RunId)).collect::<Result<Vec<_>>>()?;
    let strays: Vec<RunId> = strays.into_iter().filter(|run| !drafts.has(*run)).collect();
    if !strays.is_empty() {
        drafts.load_relatives(connection, tenant, &strays).await?;
    }
    Ok(!strays.is_empty())
}
