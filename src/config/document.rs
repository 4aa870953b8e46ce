//! The configuration file as it is written. Its doc comments are the descriptions in `schemas/config.schema.json`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Error, MessageFormatter, Options, RenderOptions, SnippetMode, UserMessageFormatter};
use url::Url;

use crate::config::amount::{self, Bytes, Network, Period};
use crate::config::{
    self, ConfigError, DatabaseUrl, EgressProxy, EndpointsDocument, PricesDocument, RetentionDocument, Roles,
};

/// The configuration of `runhook serve`. Every key is optional.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Runhook configuration")]
pub struct Document {
    /// The address to serve on; port 0 picks a free one. An address that is not loopback needs an API key.
    #[schemars(with = "Option<String>")]
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
    /// How receivers reach this server, for links to large values. Without it: the address it listens on.
    #[schemars(with = "Option<String>")]
    #[serde(deserialize_with = "public_url")]
    pub public_url: Option<Url>,
    /// The directory with the database, the blobs and, unless `key_file` says another, the sealing keys.
    pub data_dir: Option<PathBuf>,
    /// Where the database is: `sqlite://PATH`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, which any number of
    /// replicas share; then `key_file` and `blob_url` must be given, and be the same for all. Without it: a file in the
    /// data directory.
    pub database_url: Option<DatabaseUrl>,
    /// The file with the sealing keys, one a line, the sealing one first. Without it: `keys` in the data directory,
    /// made at the first start.
    pub key_file: Option<PathBuf>,
    /// Where inputs and outputs over `limits.offload_bytes` live: `dir:PATH`, or
    /// `s3://BUCKET/PREFIX?endpoint=URL&region=NAME` with credentials from the AWS environment. Without it: `blobs` in
    /// the data directory.
    pub blob_url: Option<String>,
    /// A folder of rule files to apply at start and whenever one changes.
    pub rules: Option<PathBuf>,
    /// What this replica does: some of `ingest`, `scheduler`, `delivery`, `api`, or `all`.
    pub roles: Option<Roles>,
    /// Networks that rules may call although they are loopback or private.
    pub allow_targets: Option<Vec<Network>>,
    /// The proxy through which all notifications leave, such as `http://USER:PASSWORD@HOST:PORT`. Without it they leave
    /// directly, whatever proxy the environment names.
    pub egress_proxy: Option<EgressProxy>,
    /// Networks of the proxies in front of this server: the audit log takes a client's address from `X-Forwarded-For`
    /// where one of these says it. Without it: nobody is believed, and a proxy's own address stands there.
    pub trusted_proxies: Option<Vec<Network>>,
    /// How long a stopping server waits for requests and deliveries it has begun.
    pub stop_within: Option<Period>,
    /// What becomes of endpoints that fail.
    pub endpoints: EndpointsDocument,
    /// How long things are kept.
    pub retention: RetentionDocument,
    /// What tokens cost, for runs whose clients state tokens and no cost. A run is priced as it is written.
    pub prices: PricesDocument,
    /// Limits that users meet.
    pub limits: Limits,
}

/// Limits that users meet.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a request's body as sent.
    pub request_bytes: Bytes,
    /// Bytes of a request's body after decompression.
    pub decompressed_bytes: Bytes,
    /// Runs in one request.
    pub runs_per_request: NonZeroU32,
    /// Depth of nested JSON.
    pub json_depth: NonZeroU32,
    /// Bytes of inputs or outputs above which they leave for blob storage.
    pub offload_bytes: Bytes,
    /// Bytes of the extract of offloaded inputs or outputs that filters see.
    pub extract_bytes: Bytes,
    /// Bytes of one attachment.
    pub attachment_bytes: Bytes,
    /// Requests being read at a time; more are answered 429.
    pub concurrent_requests: NonZeroU32,
    /// Bytes of request bodies in memory at a time, decompressed; more are answered 429. Never less than two of the
    /// largest requests.
    pub inflight_bytes: Bytes,
    /// Rules of a tenant.
    pub rules_per_tenant: NonZeroU32,
    /// Endpoints of a tenant, those that are written in its rules among them.
    pub endpoints_per_tenant: NonZeroU32,
    /// Alerts of a tenant.
    pub alerts_per_tenant: NonZeroU32,
    /// Headers of an endpoint.
    pub headers_per_endpoint: NonZeroU32,
    /// Bytes of a header's value.
    pub header_bytes: Bytes,
    /// Bytes of a URL.
    pub url_bytes: Bytes,
    /// Changes looked at in one window.
    pub changes_per_window: NonZeroU32,
    /// Turns of a thread that a rule on threads looks at; those that started before are passed over.
    pub turns_per_thread: NonZeroU32,
    /// Deliveries being sent at a time.
    pub concurrent_deliveries: NonZeroU32,
    /// Deliveries being sent to one endpoint at a time.
    pub concurrent_deliveries_per_endpoint: NonZeroU32,
    /// Deliveries sent to one endpoint in a second, unless it has a `rate` of its own. Without it: as it takes them.
    pub deliveries_per_second_per_endpoint: Option<NonZeroU32>,
    /// Bytes read of an endpoint's answer.
    pub response_bytes: Bytes,
    /// How long a link to a large value works.
    pub link_lasts: Period,
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    amount::optional(deserializer, amount::address)
}

fn public_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    amount::optional(deserializer, amount::public_url)
}

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

fn small(bytes: Bytes) -> u32 {
    u32::try_from(bytes.0).unwrap_or(u32::MAX)
}

impl Default for Limits {
    fn default() -> Self {
        let limits = config::Limits::default();
        Self {
            request_bytes: Bytes(limits.request_bytes),
            decompressed_bytes: Bytes(limits.decompressed_bytes),
            runs_per_request: count(limits.runs_per_request),
            json_depth: count(limits.json_depth),
            offload_bytes: Bytes(limits.offload_bytes),
            extract_bytes: Bytes(limits.extract_bytes),
            attachment_bytes: Bytes(limits.attachment_bytes),
            concurrent_requests: count(limits.concurrent_requests),
            inflight_bytes: Bytes(limits.inflight_bytes),
            rules_per_tenant: count(limits.rules_per_tenant),
            endpoints_per_tenant: count(limits.endpoints_per_tenant),
            alerts_per_tenant: count(limits.alerts_per_tenant),
            headers_per_endpoint: count(limits.headers_per_endpoint),
            header_bytes: Bytes(limits.header_bytes.into()),
            url_bytes: Bytes(limits.url_bytes.into()),
            changes_per_window: count(limits.changes_per_window),
            turns_per_thread: count(limits.turns_per_thread),
            concurrent_deliveries: count(limits.concurrent_deliveries),
            concurrent_deliveries_per_endpoint: count(limits.concurrent_deliveries_per_endpoint),
            deliveries_per_second_per_endpoint: limits.deliveries_per_second_per_endpoint,
            response_bytes: Bytes(limits.response_bytes.into()),
            link_lasts: Period(limits.link_lasts),
        }
    }
}

impl From<Limits> for config::Limits {
    fn from(limits: Limits) -> Self {
        Self {
            request_bytes: limits.request_bytes.0,
            decompressed_bytes: limits.decompressed_bytes.0,
            runs_per_request: limits.runs_per_request.get(),
            json_depth: limits.json_depth.get(),
            offload_bytes: limits.offload_bytes.0,
            extract_bytes: limits.extract_bytes.0,
            attachment_bytes: limits.attachment_bytes.0,
            concurrent_requests: limits.concurrent_requests.get(),
            inflight_bytes: limits.inflight_bytes.0,
            rules_per_tenant: limits.rules_per_tenant.get(),
            endpoints_per_tenant: limits.endpoints_per_tenant.get(),
            alerts_per_tenant: limits.alerts_per_tenant.get(),
            headers_per_endpoint: limits.headers_per_endpoint.get(),
            header_bytes: small(limits.header_bytes),
            url_bytes: small(limits.url_bytes),
            changes_per_window: limits.changes_per_window.get(),
            turns_per_thread: limits.turns_per_thread.get(),
            concurrent_deliveries: limits.concurrent_deliveries.get(),
            concurrent_deliveries_per_endpoint: limits.concurrent_deliveries_per_endpoint.get(),
            deliveries_per_second_per_endpoint: limits.deliveries_per_second_per_endpoint,
            response_bytes: small(limits.response_bytes),
            link_lasts: limits.link_lasts.0,
        }
    }
}

impl Limits {
    /// A limit under which nothing could be done at all.
    fn useless(&self) -> Option<ConfigError> {
        let limits = [
            ("request_bytes", self.request_bytes.0 == 0, "no request could be read", "32MiB"),
            ("decompressed_bytes", self.decompressed_bytes.0 == 0, "no request could be read", "100MiB"),
            ("header_bytes", self.header_bytes.0 == 0, "no endpoint could have a header", "8KiB"),
            ("url_bytes", self.url_bytes.0 == 0, "no endpoint could have a URL", "4KiB"),
            ("link_lasts", self.link_lasts.0.is_zero(), "no link would ever work", "24h"),
        ];
        let (key, _, why, example) = limits.into_iter().find(|(_, is_zero, ..)| *is_zero)?;
        Some(ConfigError::Wrong(format!("`limits.{key}` is 0: {why}; write more, such as {example}")))
    }
}

impl Document {
    /// Reads a file's text. An error shows the line, a caret, and what to write instead.
    pub fn parse(name: &str, text: &str, variables: HashMap<String, String>) -> Result<Self, ConfigError> {
        let options = Options::default().with_properties(variables);
        // A file that holds nothing but comments is the file that says nothing.
        let document: Option<Self> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let mut render = RenderOptions::new(&Suggesting);
            render.source_name = Some(name);
            if may_show_a_password(text) {
                render.snippets = SnippetMode::Off;
            }
            let is_bare = render.snippets == SnippetMode::Off;
            let rendered = error.render_with_options(render);
            let rendered = rendered.strip_prefix("error: ").unwrap_or(&rendered);
            ConfigError::Wrong(if is_bare { format!("{name}: {rendered}") } else { rendered.to_owned() })
        })?;
        let document = document.unwrap_or_default();
        let located = |problem: &String| format!("{name}:{problem}");
        let prices: Vec<String> = document.prices.problems().iter().map(located).collect();
        if !prices.is_empty() {
            return Err(ConfigError::Wrong(prices.join("\n")));
        }
        let wrong = document.quoted().or_else(|| document.limits.useless()).or_else(|| document.retention.hasty());
        let wrong = wrong.or_else(|| document.endpoints.hasty());
        wrong.map_or(Ok(document), Err)
    }

    /// A quoted `${NAME}` stays as it is, which nobody means.
    fn quoted(&self) -> Option<ConfigError> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
        let texts = [
            ("data_dir", path(&self.data_dir)),
            ("key_file", path(&self.key_file)),
            ("blob_url", self.blob_url.clone()),
            ("rules", path(&self.rules)),
        ];
        let (key, _) = texts.into_iter().find(|(_, text)| text.as_ref().is_some_and(|text| text.contains("${")))?;
        Some(ConfigError::Wrong(format!("`{key}` holds ${{...}} in quotes, which keep it as it is: remove the quotes")))
    }

    /// The JSON Schema of the file.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}

/// Whether lines of this file must not be repeated. Passwords that `${NAME}` stands for are not in it.
fn may_show_a_password(text: &str) -> bool {
    let may = |line: &str| line.contains("://") && (line.contains('@') || line.contains("password"));
    text.lines().any(may)
}

/// The default messages, with a suggestion for a key nobody knows.
struct Suggesting;

impl MessageFormatter for Suggesting {
    fn format_message<'a>(&self, error: &'a Error) -> Cow<'a, str> {
        match error {
            Error::SerdeUnknownField { field, expected, .. } => unknown(field, expected).into(),
            Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key {key} stands twice").into(),
            other => UserMessageFormatter.format_message(other),
        }
    }
}

fn unknown(field: &str, expected: &[&str]) -> String {
    let near = expected.iter().map(|known| (strsim::damerau_levenshtein(field, known), known)).min();
    match near {
        Some((distance, known)) if distance <= 3 && distance < field.chars().count() => {
            format!("unknown key `{field}`; did you mean `{known}`?")
        }
        _ => format!("unknown key `{field}`; known here: {}", expected.join(", ")),
    }
}
