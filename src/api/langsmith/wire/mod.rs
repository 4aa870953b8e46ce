//! A run as LangSmith's clients read it: the keys that were selected, in the order of the documentation.

mod bodies;
mod fields;
mod select;
mod stats;

use std::collections::HashMap;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::api::Api;
use crate::api::problem::Problem;
use crate::model::id::{RunId, TenantId};
use crate::model::run::{Run, StoredRun};
use crate::model::usage::Usage;
use crate::query::{Family, families};
use crate::store::collections::Shelved;

pub(crate) use bodies::{Bodies, Room, whole};
pub(crate) use fields::{
    Key, Shown, counts, feedback_stats, in_dataset, last_queued_at, or_nothing, preview, thread_id, time,
};
pub(crate) use select::Select;
pub(crate) use stats::{Stats, shown as shown_stats};

/// A run with all that is shown of it.
pub(crate) struct View<'a> {
    pub(crate) stored: &'a StoredRun,
    pub(crate) family: Option<&'a Family>,
    pub(crate) shelved: Option<&'a Shelved>,
    pub(crate) bodies: &'a Bodies,
}

/// A run as JSON: these keys of it, in small letters whatever they are selected by.
pub(crate) struct Document<'a> {
    pub(crate) view: View<'a>,
    pub(crate) keys: &'a [Key],
}

impl View<'_> {
    /// The run.
    pub(crate) fn run(&self) -> &Run {
        &self.stored.run
    }

    /// What its whole subtree used.
    pub(crate) fn usage(&self) -> &Usage {
        self.family.map_or(&self.stored.run.usage, |family| &family.usage)
    }
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.keys.len()))?;
        for (name, read) in self.keys {
            map.serialize_entry(&name.to_ascii_lowercase(), &read(&self.view))?;
        }
        map.end()
    }
}

/// Runs with all that a selection of keys needs to show them.
pub(crate) struct Sheet {
    runs: Vec<StoredRun>,
    families: HashMap<RunId, Family>,
    shelved: HashMap<RunId, Shelved>,
    bodies: HashMap<RunId, Bodies>,
    keys: Vec<Key>,
}

impl Sheet {
    /// Gathers it.
    pub(crate) async fn of(
        api: &Api,
        tenant: TenantId,
        runs: Vec<StoredRun>,
        select: &Select,
    ) -> Result<Self, Problem> {
        let families = if select.asks_family() {
            let all: Vec<&Run> = runs.iter().map(|stored| &stored.run).collect();
            families(api.store.as_ref(), tenant, &all).await?
        } else {
            HashMap::new()
        };
        let shelved = if select.asks_shelved() && !runs.is_empty() {
            let all: Vec<RunId> = runs.iter().map(|stored| stored.run.id).collect();
            api.store.shelved(tenant, &all).await?
        } else {
            HashMap::new()
        };
        let (mut bodies, mut room) = (HashMap::new(), Room::default());
        for stored in &runs {
            bodies.insert(stored.run.id, Bodies::load(api, &stored.run, select, &mut room).await?);
        }
        Ok(Self { runs, families, shelved, bodies, keys: select.keys() })
    }

    /// The runs, in order.
    pub(crate) fn documents(&self) -> Vec<Document<'_>> {
        let document = |stored| self.document(stored);
        self.runs.iter().filter_map(document).collect()
    }

    fn document<'a>(&'a self, stored: &'a StoredRun) -> Option<Document<'a>> {
        let bodies = self.bodies.get(&stored.run.id)?;
        let (family, shelved) = (self.families.get(&stored.run.id), self.shelved.get(&stored.run.id));
        let view = View { stored, family, shelved, bodies };
        Some(Document { view, keys: &self.keys })
    }
}
