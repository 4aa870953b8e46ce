//! What other replicas and the operator change, and this process must notice: API keys, the key file, and a schema that
//! has become too new for it.
//!
//! Nothing tells a process of either, so it looks, every few seconds. A key file that cannot be used leaves the keys as
//! they are: the log says what is wrong until it is put right.

use std::time::Duration;

use tokio::sync::watch;

use crate::api::Api;
use crate::api::native::keys::{MARKER, TURN};
use crate::app::KeyFile;
use crate::crypto::Keyring;
use crate::store::StoreError;
use crate::task::{self, Activity, Next};

/// How old what a process knows may be.
const AGE: Duration = Duration::from_secs(3);

/// Looks for news.
pub(super) struct News {
    pub(super) api: Api,
    pub(super) key_file: KeyFile,
    /// Told once this process must leave the database alone.
    pub(super) outdated: watch::Sender<Option<String>>,
}

impl News {
    async fn check_schema(&self) -> Result<(), StoreError> {
        let Err(error) = self.api.store.check_schema().await else { return Ok(()) };
        if let StoreError::Unusable(why) = &error {
            self.outdated.send_replace(Some(why.clone()));
        }
        Err(error)
    }

    async fn read_keys(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // A rotation that is under way reads and writes the file itself.
        let Ok(_turn) = TURN.try_lock() else { return Ok(()) };
        let file = self.key_file.clone();
        let ring: Keyring = task::blocking(move || file.read()).await??;
        if let Some(marker) = self.api.store.marker(MARKER).await? {
            ring.check_marker(&marker).map_err(|error| self.key_file.wrong(error))?;
        }
        if ring.fingerprints() != self.api.keyring.fingerprints() {
            self.api.keyring.replace(&ring);
            tracing::info!(keys = ?ring.ids(), "the key file has changed; its first key seals from now on");
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Activity for News {
    fn name(&self) -> &'static str {
        "news"
    }

    async fn pass(&mut self) -> Result<Next, Box<dyn std::error::Error + Send + Sync>> {
        self.check_schema().await?;
        self.api.auth.reload(self.api.store.as_ref()).await?;
        self.read_keys().await?;
        Ok(Next::At(self.api.clock.now().after(AGE)))
    }
}
