//! The shape of a rule file, for editors: what `schemas/rule.schema.json` is generated from.
//!
//! Files are read by `lower`, which says more about a mistake than a schema can. A test holds the two to the same keys.
#![expect(dead_code, reason = "the types are their own documentation, and nothing is ever read into them")]

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::model::endpoint::Policy;
use crate::model::signing::Signature;

/// Rules of Runhook: which runs are notified, when, and where to.
#[derive(JsonSchema)]
#[schemars(title = "Runhook rule file", deny_unknown_fields)]
pub(super) struct File {
    /// The version of this format.
    version: Version,
    /// The rules.
    #[schemars(default)]
    rules: Vec<Rule>,
    /// Endpoints that rules name.
    #[schemars(default)]
    endpoints: Vec<Endpoint>,
}

/// Which runs of which projects are notified, when, and where to.
#[derive(JsonSchema)]
#[schemars(
    deny_unknown_fields,
    extend("anyOf" = [
        {"required": ["webhooks"]}, {"required": ["add_to_dataset_id"]}, {"required": ["add_to_annotation_queue_id"]}
    ])
)]
pub(super) struct Rule {
    /// Its stable identity: the same key is the same rule, another key is another rule.
    key: Key,
    /// Its name for people; the key when absent.
    name: Option<String>,
    /// The projects it watches: a name, or a glob such as `support-*`.
    project: String,
    /// What the run must be, in the filter language.
    filter: Option<String>,
    /// What the root of its trace must be.
    trace_filter: Option<String>,
    /// What some run of its trace must be.
    tree_filter: Option<String>,
    /// The share of matching runs that are notified.
    #[schemars(range(min = 0.0, max = 1.0))]
    sampling_rate: Option<f64>,
    /// `immediate`, or an interval such as `1m` (the default).
    every: Option<Every>,
    /// A cron expression of five or six fields, instead of `every`.
    cron: Option<String>,
    /// The time zone of `cron`: an IANA name; UTC when absent.
    timezone: Option<String>,
    /// How long a trace must be quiet, such as `10s`.
    settle: Option<Duration>,
    /// From when on runs count that arrived before the rule: ISO 8601.
    backfill_from: Option<String>,
    /// Whether it is told by threads, once they have been idle, instead of by runs.
    group_by: Option<Group>,
    /// How long a thread must have been idle: `10m` when absent. Only with `group_by`.
    idle: Option<Duration>,
    /// How batches are cut.
    batch: Option<Batch>,
    /// Where its notifications go. A rule that adds to a dataset or a queue may do without.
    #[schemars(length(min = 1))]
    webhooks: Option<Vec<Webhook>>,
    /// The dataset that gets an example of each matching run.
    add_to_dataset_id: Option<Id>,
    /// Whether a correction given as feedback stands in for the run's outputs in its example.
    add_to_dataset_prefer_correction: Option<bool>,
    /// The annotation queue that each matching run is put into.
    add_to_annotation_queue_id: Option<Id>,
}

/// What a rule is told by.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum Group {
    /// The threads that the metadata of root runs names.
    ThreadId,
}

/// How batches are cut.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Batch {
    /// Runs in one message: 250 when absent.
    #[schemars(range(min = 1, max = 10_000))]
    max_runs: Option<u32>,
    /// Bytes of one message's body: 4MiB when absent.
    max_bytes: Option<Size>,
    /// Bytes of inputs or outputs that still travel inside the body: 64KiB when absent.
    inline_bytes: Option<Size>,
}

/// A URL with what is sent to it, or the name of an endpoint.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [{"required": ["url"]}, {"required": ["endpoint"]}]))]
pub(super) struct Webhook {
    /// The key of an entry of `endpoints`; then nothing else is written here.
    endpoint: Option<String>,
    /// Where notifications go. Sealed when stored. `${VAR}` comes from the environment.
    url: Option<String>,
    /// Query parameters to set. Sealed when stored.
    query: Option<BTreeMap<String, Text>>,
    /// Headers to send. Sealed when stored.
    headers: Option<BTreeMap<String, Text>>,
    /// The shape of what is sent: `langsmith` when absent.
    format: Option<FormatName>,
    /// The body, for `format: template`: JSON with `{{ rule_name }}` and the like.
    template: Option<String>,
    /// What goes into the body and is secret: `routing_key` of `pagerduty`, `secrets.NAME` in a template. Sealed when stored.
    secrets: Option<BTreeMap<String, Text>>,
    /// How a delivery is tried: `langsmith` for the format of that name when absent, `standard` for others.
    policy: Option<Policy>,
    /// What attempts are signed with: base64, or `whsec_…`, or the private key `whsk_…`. Sealed when stored.
    signing_secret: Option<String>,
    /// Which header carries the signature: `standard` when absent.
    signature: Option<Signature>,
    /// How long it may take to answer, up to `15s`: as the policy says when absent.
    timeout: Option<Duration>,
    /// The waits before its retries, such as `[5s, 1m, 10m]`: as the policy says when absent.
    #[schemars(length(max = 20))]
    retries: Option<Vec<Duration>>,
    /// How often it is sent to, such as `10/s`, `300/m` or `1000/h`: as the server's limits say when absent.
    rate: Option<RateText>,
    /// How many follow one another at once after a rest: as many as `rate` has in a second when absent.
    #[schemars(range(min = 1, max = 100_000))]
    burst: Option<u32>,
    /// How many attempts are under way at a time, at most as many as the server's limits say.
    #[schemars(range(min = 1, max = 10_000))]
    concurrency: Option<u32>,
}

/// An endpoint that rules name.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Endpoint {
    /// Its name.
    key: Key,
    /// Where notifications go. Sealed when stored. `${VAR}` comes from the environment.
    url: String,
    /// Query parameters to set. Sealed when stored.
    query: Option<BTreeMap<String, Text>>,
    /// Headers to send. Sealed when stored.
    headers: Option<BTreeMap<String, Text>>,
    /// The shape of what is sent: `langsmith` when absent.
    format: Option<FormatName>,
    /// The body, for `format: template`: JSON with `{{ rule_name }}` and the like.
    template: Option<String>,
    /// What goes into the body and is secret: `routing_key` of `pagerduty`, `secrets.NAME` in a template. Sealed when stored.
    secrets: Option<BTreeMap<String, Text>>,
    /// How a delivery is tried: `langsmith` for the format of that name when absent, `standard` for others.
    policy: Option<Policy>,
    /// What attempts are signed with: base64, or `whsec_…`, or the private key `whsk_…`. Sealed when stored.
    signing_secret: Option<String>,
    /// Which header carries the signature: `standard` when absent.
    signature: Option<Signature>,
    /// How long it may take to answer, up to `15s`: as the policy says when absent.
    timeout: Option<Duration>,
    /// The waits before its retries, such as `[5s, 1m, 10m]`: as the policy says when absent.
    #[schemars(length(max = 20))]
    retries: Option<Vec<Duration>>,
    /// How often it is sent to, such as `10/s`, `300/m` or `1000/h`: as the server's limits say when absent.
    rate: Option<RateText>,
    /// How many follow one another at once after a rest: as many as `rate` has in a second when absent.
    #[schemars(range(min = 1, max = 100_000))]
    burst: Option<u32>,
    /// How many attempts are under way at a time, at most as many as the server's limits say.
    #[schemars(range(min = 1, max = 10_000))]
    concurrency: Option<u32>,
}

/// The shape of what is sent.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum FormatName {
    /// The documented payload of LangSmith's rule webhooks.
    Langsmith,
    /// `{"type", "timestamp", "data"}`, as Standard Webhooks recommends.
    Standard,
    /// An event of Argilla's webhooks.
    Argilla,
    /// What the `WebhooksServer` of `huggingface_hub` reads.
    Huggingface,
    /// Blocks for an incoming webhook of Slack.
    Slack,
    /// An event of PagerDuty's Events API v2.
    Pagerduty,
    /// The body that `template` says.
    Template,
}

macro_rules! scalar {
    ($(#[$doc:meta])* $name:ident, $($schema:tt)+) => {
        $(#[$doc])*
        pub(super) struct $name(String);

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($($schema)+)
            }
        }
    };
}

scalar!(
    /// A value that need not be quoted.
    Text, {"type": ["string", "number", "boolean"]}
);
scalar!(
    /// The version of the format.
    Version, {"const": 1}
);
scalar!(
    /// The key of a rule or an endpoint.
    Key, {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$", "maxLength": 128}
);
scalar!(
    /// An id.
    Id, {"type": "string", "format": "uuid"}
);
scalar!(
    /// An interval.
    Every, {"type": "string", "pattern": "^(immediate|[0-9][0-9_.]* ?(ms|s|m|h|d))$"}
);
scalar!(
    /// A length of time.
    Duration, {"type": "string", "pattern": "^[0-9][0-9_.]* ?(ms|s|m|h|d)$"}
);
scalar!(
    /// A number in a time.
    RateText, {"type": "string", "pattern": "^ *[0-9]+ */ *[smh] *$"}
);
scalar!(
    /// A number of bytes.
    Size, {"type": ["integer", "string"], "pattern": "^[0-9][0-9_.]* ?(B|kB|KB|KiB|MB|MiB|GB|GiB)?$"}
);
