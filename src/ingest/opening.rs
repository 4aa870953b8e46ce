//! What a post must say for its run to be seen: its name and its type. The start can be told without the client.
//!
//! A run without a name or a type is kept out of every list and every window, and nothing else would ever tell its
//! client, so such a post is refused. Patches are not: they may arrive before their post. A post whose own request also
//! carries the missing word in another part of the same run is whole.

use std::collections::HashMap;

use crate::ingest::error::Invalid;
use crate::ingest::intake::Loose;
use crate::model::dotted_order::DottedOrder;
use crate::model::id::{RunId, TenantId};
use crate::model::run::{Fields, Part, PartKind};
use crate::model::time::Timestamp;
use crate::store::{Result, RunStore};

/// What parts say of a run's name and type.
#[derive(Clone, Copy, Default)]
struct Said {
    name: bool,
    run_type: bool,
}

impl Said {
    fn by(fields: &Fields) -> Self {
        Self { name: fields.name.is_some(), run_type: fields.run_type.is_some() }
    }

    fn or(self, other: Self) -> Self {
        Self { name: self.name || other.name, run_type: self.run_type || other.run_type }
    }

    fn missing(self) -> Option<Invalid> {
        let field = match self {
            Self { name: false, .. } => "name",
            Self { run_type: false, .. } => "run_type",
            Self { .. } => return None,
        };
        Some(Invalid::new(field, "is missing: a run is posted with its `name` and its `run_type`"))
    }
}

/// What is wrong with a part that is all its request says of the run.
pub(crate) fn check(kind: PartKind, fields: &Fields) -> std::result::Result<(), Invalid> {
    let missing = (kind == PartKind::Post).then(|| Said::by(fields).missing()).flatten();
    missing.map_or(Ok(()), Err)
}

/// The parts without the posts that leave their runs unseen, each of which is refused under its name.
pub(crate) fn whole(parts: Vec<(String, Loose)>, mut refuse: impl FnMut(&str, &Invalid)) -> Vec<Loose> {
    let mut said: HashMap<RunId, Said> = HashMap::new();
    for (_, loose) in &parts {
        let entry = said.entry(loose.run_id).or_default();
        *entry = entry.or(Said::by(&loose.fields));
    }
    let keep = |(name, loose): (String, Loose)| {
        let missing = said.get(&loose.run_id).and_then(|said| said.missing());
        match missing.filter(|_| loose.kind == PartKind::Post) {
            Some(invalid) => {
                refuse(&name, &invalid);
                None
            }
            None => Some(loose),
        }
    };
    parts.into_iter().filter_map(keep).collect()
}

/// Fills in when posted runs started that nobody says the start of: from their own segment of the path, else from the
/// time inside their id, else now. A run whose start is known keeps it.
pub(crate) async fn complete(
    tenant: TenantId,
    parts: &mut [Part],
    store: &(impl RunStore + ?Sized),
    now: Timestamp,
) -> Result<()> {
    let is_open = |part: &Part| part.kind == PartKind::Post && part.fields.start_time.is_none();
    let open: Vec<RunId> = parts.iter().filter(|part| is_open(part)).map(|part| part.run_id).collect();
    if open.is_empty() {
        return Ok(());
    }
    let mut known: HashMap<RunId, Timestamp> =
        parts.iter().filter_map(|part| Some((part.run_id, part.fields.start_time?))).collect();
    known.extend(store.runs(tenant, &open).await?.iter().map(|stored| (stored.run.id, stored.run.start_time)));
    for part in parts.iter_mut().filter(|part| is_open(part)) {
        if !known.contains_key(&part.run_id) {
            let start = start(part.run_id, part.fields.dotted_order.as_deref()).unwrap_or(now);
            part.fields.start_time = Some(start);
        }
    }
    Ok(())
}

fn start(run_id: RunId, path: Option<&str>) -> Option<Timestamp> {
    let own = path.and_then(|text| Some(DottedOrder::parse(text).ok()?.last()?.start_time));
    own.or_else(|| inside(run_id))
}

/// The time inside a version 7 UUID: milliseconds in its first 48 bits.
fn inside(run_id: RunId) -> Option<Timestamp> {
    let millis = i64::try_from(run_id.0.as_u128() >> 80).ok()?;
    (run_id.0.get_version_num() == 7).then(|| Timestamp(millis.saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_in_the_path_or_in_the_id_or_nowhere() {
        let id = |text: &str| text.parse::<RunId>().unwrap();
        let seven = "01a2010f-f272-74d0-816b-895478208850";
        let path = format!("20261122T022234197283Z{seven}");
        let at = |path: Option<&str>, run| start(id(run), path).map(|at| at.to_string());
        assert_eq!(at(Some(&path), seven).as_deref(), Some("2026-11-22T02:22:34.197283Z"));
        assert_eq!(
            inside(id("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")).unwrap().to_string(),
            "2022-02-22T19:22:22.000000Z"
        );
        assert_eq!(at(None, "691753af-99d4-4de3-9b4b-678bffa9aa39"), None);
    }
}
