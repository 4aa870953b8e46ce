//! The configuration: one YAML file, flags and their environment twins, with every default stated here.
//!
//! A flag wins over its environment twin, both win over the file, the file wins over the default. A key nobody knows is
//! an error with a suggestion; `${NAME}` in an unquoted value is the environment's.

mod amount;
mod database_url;
pub mod document;
mod egress_proxy;
mod endpoints;
mod limits;
mod prices;
mod retention;
mod roles;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::config::amount::Network;
use crate::model::price::Prices;

pub use database_url::{DatabaseUrl, InvalidDatabaseUrl, PostgresUrl};
pub use document::Document;
pub use egress_proxy::{EgressProxy, InvalidProxy};
pub use endpoints::{Endpoints, EndpointsDocument};
pub use limits::Limits;
pub use prices::PricesDocument;
pub use retention::{Retention, RetentionDocument};
pub use roles::{InvalidRoles, Role, Roles};

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is wrong; the text points into it.
    #[error("the configuration is wrong: {0}")]
    Wrong(String),
    /// A value that no file shows: a flag or its environment twin.
    #[error("{0}")]
    Value(String),
}

/// The server's configuration, every value decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How the world reaches it, for links to blobs; the address it listens on when absent.
    pub public_url: Option<Url>,
    /// Where its data lives.
    pub data_dir: PathBuf,
    /// Where the database is; a file inside the data directory when absent.
    pub database_url: Option<DatabaseUrl>,
    /// The file with the sealing keys; inside the data directory when absent.
    pub key_file: Option<PathBuf>,
    /// Where large values live, as it was written; `blobs` inside the data directory when absent.
    pub blob_url: Option<String>,
    /// A folder of rules to apply and watch.
    pub rules: Option<PathBuf>,
    /// What this replica does.
    pub roles: Roles,
    /// Networks that may be called although they are not public.
    pub allow_targets: Vec<IpNet>,
    /// The proxy through which notifications leave; none when absent, whatever the environment names.
    pub egress_proxy: Option<EgressProxy>,
    /// Networks of proxies that are believed when they say who asks.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a stopping server waits for what it has begun.
    pub stop_within: Duration,
    /// What becomes of endpoints that fail.
    pub endpoints: Endpoints,
    /// How long things are kept.
    pub retention: Retention,
    /// What tokens cost, unless clients say.
    pub prices: Prices,
    /// Limits.
    pub limits: Limits,
}

/// What flags and their environment twins say.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--listen`
    pub listen: Option<SocketAddr>,
    /// `--public-url`
    pub public_url: Option<Url>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--database-url`
    pub database_url: Option<DatabaseUrl>,
    /// `--key-file`
    pub key_file: Option<PathBuf>,
    /// `--blob-url`
    pub blob_url: Option<String>,
    /// `--rules`
    pub rules: Option<PathBuf>,
    /// `--roles`
    pub roles: Option<Roles>,
    /// `--allow-targets`
    pub allow_targets: Option<Vec<IpNet>>,
    /// `--egress-proxy`
    pub egress_proxy: Option<EgressProxy>,
    /// `--trusted-proxies`
    pub trusted_proxies: Option<Vec<IpNet>>,
}

/// The address served when nobody says another.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4710);

/// The data directory when nobody says another.
pub const DEFAULT_DATA_DIR: &str = "./data";

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN,
            public_url: None,
            data_dir: PathBuf::from(DEFAULT_DATA_DIR),
            database_url: None,
            key_file: None,
            blob_url: None,
            rules: None,
            roles: Roles::default(),
            allow_targets: Vec::new(),
            egress_proxy: None,
            trusted_proxies: Vec::new(),
            stop_within: Duration::from_secs(30),
            endpoints: Endpoints::default(),
            retention: Retention::default(),
            prices: Prices::default(),
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// Reads the file, if there is one, and lets the flags win over it.
    pub fn load(
        file: Option<&Path>,
        variables: HashMap<String, String>,
        overrides: Overrides,
    ) -> Result<Self, ConfigError> {
        let document = match file {
            None => Document::default(),
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })?;
                Document::parse(&file.display().to_string(), &text, variables)?
            }
        };
        Ok(Self::resolve(document, overrides))
    }

    /// Decides every value.
    #[must_use]
    pub fn resolve(document: Document, overrides: Overrides) -> Self {
        let default = Self::default();
        let plain = |list: Vec<Network>| list.into_iter().map(|network| network.0).collect();
        let (allowed, trusted) = (document.allow_targets.map(plain), document.trusted_proxies.map(plain));
        Self {
            listen: overrides.listen.or(document.listen).unwrap_or(default.listen),
            public_url: overrides.public_url.or(document.public_url),
            data_dir: overrides.data_dir.or(document.data_dir).unwrap_or(default.data_dir),
            database_url: overrides.database_url.or(document.database_url),
            key_file: overrides.key_file.or(document.key_file),
            blob_url: overrides.blob_url.or(document.blob_url),
            rules: overrides.rules.or(document.rules),
            roles: overrides.roles.or(document.roles).unwrap_or_default(),
            allow_targets: overrides.allow_targets.or(allowed).unwrap_or_default(),
            egress_proxy: overrides.egress_proxy.or(document.egress_proxy),
            trusted_proxies: overrides.trusted_proxies.or(trusted).unwrap_or_default(),
            stop_within: document.stop_within.map_or(default.stop_within, |period| period.0),
            endpoints: document.endpoints.into(),
            retention: document.retention.into(),
            prices: document.prices.into(),
            limits: document.limits.into(),
        }
    }

    /// The file with the sealing keys.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| self.data_dir.join("keys"))
    }
}

/// The networks of a comma-separated list; an address alone is the network of that address.
pub fn networks(list: &str) -> Result<Vec<IpNet>, ConfigError> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|item| Ok(amount::network(item)?)).collect()
}

/// The address to serve on, as it is written.
pub fn address(text: &str) -> Result<SocketAddr, ConfigError> {
    amount::address(text).map_err(ConfigError::Value)
}

/// How receivers reach the server, as it is written.
pub fn public_url(text: &str) -> Result<Url, ConfigError> {
    amount::public_url(text).map_err(ConfigError::Value)
}

impl From<amount::NotANetwork> for ConfigError {
    fn from(error: amount::NotANetwork) -> Self {
        Self::Value(error.to_string())
    }
}

#[cfg(test)]
mod tests;
