//! Copying the write-ahead log into the file, beside the writer.
//!
//! What is committed is durable in the log. Copying it into the file may wait, though not for ever, or the log only
//! grows. SQLite would do it within a commit, and everyone whose batch is in that commit would wait for it, so another
//! connection copies what is there, a few times a second while something is written. A log is begun anew only once all
//! of it is copied, which may never be under a steady load: what is left of a long one is copied by the writer, and is
//! little by then.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::store::Result;

/// Copies what it can without waiting for anyone, nor letting anyone wait.
const COPY: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// Between two copies. Pages that are written again and again in the meantime are copied once.
const PAUSE: Duration = Duration::from_millis(200);

/// Copies the log while it is written.
#[derive(Debug)]
pub(super) struct Checkpoints {
    file: SqliteConnectOptions,
    committed: Arc<Notify>,
}

impl Checkpoints {
    /// Of this file.
    pub(super) fn of(file: SqliteConnectOptions) -> Self {
        Self { file, committed: Arc::default() }
    }

    /// To be told of commits.
    pub(super) fn committed(&self) -> Arc<Notify> {
        Arc::clone(&self.committed)
    }

    /// Copies until `ended`. It has no connection before the first commit, and none that is open afterwards.
    pub(super) async fn run(self, ended: CancellationToken) {
        let mut connection = None;
        while ended.run_until_cancelled(self.committed.notified()).await.is_some() {
            if let Err(error) = self.copy(&mut connection).await {
                // The writer copies what stays too long.
                tracing::warn!(%error, "copying the log into the database failed");
            }
            ended.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        }
        if let Some(connection) = connection
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "closing the database failed");
        }
    }

    async fn copy(&self, connection: &mut Option<SqliteConnection>) -> Result<()> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(SqliteConnection::connect_with(&self.file).await?),
        };
        sqlx::query(COPY).execute(connection).await?;
        Ok(())
    }
}
