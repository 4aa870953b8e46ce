//! Which engine a command means: `--server`, or the data directory.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use secrecy::SecretString;
use url::Url;

use crate::app::{DataDir, DataDirError, Engine};
use crate::cli::Client;
use crate::config::{Config, Overrides};
use crate::model::time::SystemClock;

/// Which engine a command means.
#[derive(Debug, Clone, Default, Args)]
pub struct Connect {
    /// Ask the server at this URL; without it, commands open the data directory
    #[arg(long, global = true, env = "RUNHOOK_SERVER", value_name = "URL", hide_env_values = true)]
    pub server: Option<String>,
    /// The API key for the server. For `serve`: a key to accept from the first start on
    #[arg(long, global = true, env = "RUNHOOK_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub api_key: Option<SecretString>,
    /// The directory with the database, the blobs and the sealing keys [default: ./data]
    #[arg(long, global = true, env = "RUNHOOK_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
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
            key_file: self.key_file.clone().filter(|file| !file.as_os_str().is_empty()),
            ..overrides
        };
        let file = self.config.as_deref().filter(|file| !file.as_os_str().is_empty());
        Ok(Config::load(file, environment(), overrides)?)
    }

    /// The API key, unless it is empty.
    #[must_use]
    pub fn api_key(&self) -> Option<SecretString> {
        use secrecy::ExposeSecret;
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

    /// The engine: the server that was named, or the data directory.
    pub async fn client(&self, err: &mut (dyn Write + Send)) -> anyhow::Result<Client> {
        if let Some(server) = self.server()? {
            return Client::far(&server, self.api_key());
        }
        let config = self.config(Overrides::default())?;
        let data_dir = DataDir::take(&config.data_dir).map_err(advised)?;
        let engine = Engine::open(&config, data_dir, None, Arc::new(SystemClock)).await?;
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
