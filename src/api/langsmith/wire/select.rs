//! Which keys of a run are shown.

use crate::api::langsmith::wire::fields::{ALWAYS, CONTENT, IDENTITY, Key, UNKNOWN};

/// A selection of keys.
#[derive(Clone)]
pub(crate) struct Select {
    /// The names, or nothing for all that a client may want to see unasked.
    names: Option<Vec<String>>,
    table: &'static [&'static [Key]],
    /// Whether some keys are always shown.
    is_first: bool,
    /// Large values are left where they are.
    without_blobs: bool,
    /// What a run used is what it says itself, without what is below it.
    own_usage: bool,
}

/// Every key there is.
const TABLE: &[&[Key]] = &[IDENTITY, CONTENT, UNKNOWN];

/// What is shown only to those who ask: the same under another name, or nothing.
const ON_REQUEST: [&str; 11] = [
    "inputs_or_signed_url",
    "inputs_preview",
    "outputs_or_signed_url",
    "outputs_preview",
    "extra_or_signed_url",
    "error_or_signed_url",
    "events_or_signed_url",
    "serialized_or_signed_url",
    "manifest",
    "messages",
    "inserted_at",
];

/// What is summed over a run's subtree.
const USAGE: [&str; 10] = [
    "total_tokens",
    "prompt_tokens",
    "completion_tokens",
    "total_cost",
    "prompt_cost",
    "completion_cost",
    "prompt_token_details",
    "completion_token_details",
    "prompt_cost_details",
    "completion_cost_details",
];

impl Select {
    /// All of a run.
    pub(crate) fn all() -> Self {
        Self { names: None, table: TABLE, is_first: true, without_blobs: false, own_usage: false }
    }

    /// These keys, beside those that every answer has. The first one that is unknown, if one is.
    pub(crate) fn of(names: Vec<String>) -> Result<Self, String> {
        let known = |name: &String| TABLE.iter().copied().flatten().any(|(key, _)| key == name);
        match names.iter().find(|name| !known(name)) {
            Some(unknown) => Err(unknown.clone()),
            None => {
                Ok(Self { names: Some(names), table: TABLE, is_first: true, without_blobs: false, own_usage: false })
            }
        }
    }

    /// These keys of another table.
    pub(crate) fn from(table: &'static [&'static [Key]], names: Vec<String>) -> Self {
        Self { names: Some(names), table, is_first: false, without_blobs: false, own_usage: false }
    }

    /// The same without what lives in blob storage.
    pub(crate) fn without_blobs(self, without: bool) -> Self {
        Self { without_blobs: without, ..self }
    }

    /// The same with or without what is below a run in what it used.
    pub(crate) fn own_usage(self, own: bool) -> Self {
        Self { own_usage: own, ..self }
    }

    /// The same without one key.
    pub(crate) fn without(self, name: &str) -> Self {
        let names = self.keys().into_iter().map(|(key, _)| key.to_owned()).filter(|key| key != name);
        Self { names: Some(names.collect()), ..self }
    }

    /// The keys.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let every = self.table.iter().copied().flatten().copied();
        every.filter(|(key, _)| self.has(key)).collect()
    }

    fn has(&self, key: &str) -> bool {
        match &self.names {
            None => !ON_REQUEST.contains(&key),
            Some(names) => (self.is_first && ALWAYS.contains(&key)) || names.iter().any(|name| name == key),
        }
    }

    fn has_any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.has(key))
    }

    /// Whether the rest of the trace matters.
    pub(crate) fn asks_family(&self) -> bool {
        let usage = !self.own_usage && USAGE.iter().any(|key| self.has(key) || self.has(&key.to_uppercase()));
        usage || self.has_any(&["child_run_ids", "direct_child_run_ids"])
    }

    /// Whether what datasets and queues hold does.
    pub(crate) fn asks_shelved(&self) -> bool {
        self.has_any(&["in_dataset", "last_queued_at", "IS_IN_DATASET", "LAST_QUEUED_AT"])
    }

    /// Whether inputs do.
    pub(crate) fn asks_inputs(&self) -> bool {
        let names = ["inputs", "inputs_or_signed_url", "inputs_preview", "inputs_s3_urls", "INPUTS", "INPUTS_PREVIEW"];
        !self.without_blobs && self.has_any(&names)
    }

    /// Whether outputs do.
    pub(crate) fn asks_outputs(&self) -> bool {
        let names =
            ["outputs", "outputs_or_signed_url", "outputs_preview", "outputs_s3_urls", "OUTPUTS", "OUTPUTS_PREVIEW"];
        !self.without_blobs && self.has_any(&names)
    }

    /// Whether attachments do.
    pub(crate) fn asks_attachments(&self) -> bool {
        !self.without_blobs && self.has_any(&["s3_urls", "ATTACHMENTS"])
    }
}
