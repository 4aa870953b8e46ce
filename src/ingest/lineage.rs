//! The trace of a child whose client names only its parent: hand-written clients of the single-run endpoint do.
//!
//! The parent is looked for in the same request, then in the store. A child that arrives before its parent stays the
//! root of its own trace until its client says more.

use std::collections::HashMap;

use crate::model::dotted_order::DottedOrder;
use crate::model::id::{RunId, TenantId, TraceId};
use crate::model::run::{Fields, Part};
use crate::store::{Result, RunStore};

/// Where a run stands: its trace, and its path from the root.
type Standing = (TraceId, Option<DottedOrder>);

/// Fills in trace and path where only the parent is named.
pub(crate) async fn complete(tenant: TenantId, parts: &mut [Part], store: &(impl RunStore + ?Sized)) -> Result<()> {
    if !parts.iter().any(|part| is_lost(&part.fields)) {
        return Ok(());
    }
    let mut known: HashMap<RunId, Standing> = HashMap::new();
    let parents: Vec<RunId> =
        parts.iter().filter(|part| is_lost(&part.fields)).filter_map(|part| part.fields.parent_run_id).collect();
    for stored in store.runs(tenant, &parents).await? {
        known.insert(stored.run.id, (stored.run.trace_id, DottedOrder::parse(&stored.run.dotted_order).ok()));
    }
    for part in parts {
        let run_id = part.run_id;
        let fields = &mut part.fields;
        if is_lost(fields)
            && let Some((trace, path)) = fields.parent_run_id.and_then(|parent| known.get(&parent))
        {
            fields.trace_id = Some(*trace);
            let path = path.as_ref().zip(fields.start_time).map(|(path, start)| path.child(start, run_id));
            fields.dotted_order = path.map(|path| path.to_string());
        }
        if let Some(standing) = standing(run_id, fields) {
            known.insert(run_id, standing);
        }
    }
    Ok(())
}

/// Whether only the parent is named.
fn is_lost(fields: &Fields) -> bool {
    fields.parent_run_id.is_some() && fields.trace_id.is_none()
}

fn standing(run_id: RunId, fields: &Fields) -> Option<Standing> {
    let path = fields.dotted_order.as_deref().and_then(|text| DottedOrder::parse(text).ok());
    let root = || fields.start_time.map(|start| DottedOrder::root(start, run_id));
    match (fields.trace_id, fields.parent_run_id) {
        (Some(trace), None) => Some((trace, path.or_else(root))),
        (Some(trace), Some(_)) => Some((trace, path)),
        (None, None) => Some((run_id.into(), path.or_else(root))),
        (None, Some(_)) => None,
    }
}
