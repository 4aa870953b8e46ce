//! Which engine a command means: `--server`, or the database.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::app::{DataDirError, Engine, Storage};
use crate::cli::Client;
use crate::config::{Config, DatabaseUrl, Overrides, Roles};
use crate::model::time::SystemClock;

/// Which engine a command means.
#[derive(Debug, Clone, Default, Args)]
pub struct Connect {
    /// Ask the server at this URL; without it, commands open the database
    #[arg(long, global = true, env = "RUNHOOK_SERVER", value_name = "URL", hide_env_values = true)]
    pub server: Option<String>,
    /// The API key for the server. For `serve`: a key to accept from the first start on
    #[arg(long, global = true, env = "RUNHOOK_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub api_key: Option<SecretString>,
    /// The directory with the database, the blobs and the sealing keys [default: ./data]
    #[arg(long, global = true, env = "RUNHOOK_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the database is: `sqlite://PATH` or `postgres://…` [default: a file in the data directory]
    #[arg(long, global = true, env = "RUNHOOK_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<SecretString>,
    /// Where large values live: `dir:PATH` or `s3://BUCKET/PREFIX` [default: blobs in the data directory]
    #[arg(long, global = true, env = "RUNHOOK_BLOB_URL", value_name = "URL", hide_env_values = true)]
    pub blob_url: Option<String>,
    /// The configuration file
    #[arg(long, global = true, env = "RUNHOOK_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The file with the sealing keys [default: keys in the data directory]
    #[arg(long, global = true, env = "RUNHOOK_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

impl Connect {
    /// The configuration that flags, their environment twins and the file give.
    pub fn config(&self, overrides: Overrides) -> anyhow::Result<Config> {
        let overrides = Overrides {
            data_dir: self.data_dir.clone().filter(|dir| !dir.as_os_str().is_empty()),
            database_url: self.database_url()?,
            key_file: self.key_file.clone().filter(|file| !file.as_os_str().is_empty()),
            blob_url: self.blob_url.clone().filter(|url| !url.is_empty()),
            ..overrides
        };
        let file = self.config.as_deref().filter(|file| !file.as_os_str().is_empty());
        Ok(Config::load(file, environment(), overrides)?)
    }

    /// Read here and not by clap, whose errors repeat what was given: it may hold a password.
    fn database_url(&self) -> anyhow::Result<Option<DatabaseUrl>> {
        let text = self.database_url.as_ref().map(ExposeSecret::expose_secret).filter(|text| !text.is_empty());
        Ok(text.map(str::parse).transpose()?)
    }

    /// The API key, unless it is empty.
    #[must_use]
    pub fn api_key(&self) -> Option<SecretString> {
        self.api_key.clone().filter(|key| !key.expose_secret().trim().is_empty())
    }

    /// The server that was named.
    pub fn server(&self) -> anyhow::Result<Option<Url>> {
        let Some(text) = self.server.as_deref().map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
        // The text is not repeated: it may hold a password.
        let url = Url::parse(text).context("the server's URL cannot be read; write it as http://127.0.0.1:4710")?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            bail!("the server's URL is not http:// or https:// with a host; write it as http://127.0.0.1:4710");
        }
        Ok(Some(url))
    }

    /// The engine: the server that was named, or one over the database.
    pub async fn client(&self, err: &mut (dyn Write + Send)) -> anyhow::Result<Client> {
        if let Some(server) = self.server()? {
            return Client::far(&server, self.api_key());
        }
        // Roles are a server's; a command does all it is asked to.
        let config = Config { roles: Roles::default(), ..self.config(Overrides::default())? };
        let place = Storage::take(&config).map_err(advised)?;
        let engine = Engine::open(&config, place, None, Arc::new(SystemClock)).await?;
        if let Some(file) = engine.created_key_file() {
            writeln!(err, "made a sealing key in {}; keep it apart from backups of the data", file.display())?;
        }
        Ok(Client::near(engine))
    }
}

/// A directory in use has a server to ask instead.
pub(super) fn advised(error: DataDirError) -> anyhow::Error {
    let url = match &error {
        DataDirError::InUse { holder, .. } => holder.url.clone(),
        DataDirError::Unusable { .. } => None,
    };
    match url {
        Some(url) => anyhow::anyhow!("{error}; ask it with --server {url}"),
        None => error.into(),
    }
}

/// The environment, for `${NAME}` in configuration and rules.
pub(super) fn environment() -> HashMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
