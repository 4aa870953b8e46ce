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

    /// To be told of commits that fill the log.
    pub(super) fn committed(&self) -> Arc<Notify> {
        Arc::clone(&self.committed)
    }

    /// Copies until `ended`. It has no connection before it is first told of one, and none that is open afterwards.
    pub(super) async fn run(self, ended: CancellationToken) {
        let mut connection = None;
        while ended.run_until_cancelled(self.committed.notified()).await.is_some() {
            // The writer copies what stays too long.
            warn("copying the log into the database failed", self.copy(&mut connection).await);
            ended.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        }
        if let Some(connection) = connection {
            warn("closing the database failed", connection.close().await.map_err(Into::into));
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

fn warn(what: &'static str, outcome: Result<()>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, what);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::sqlite::{Options, base, connect};

    /// What the file holds without its log.
    async fn in_the_file(file: &Path) -> i64 {
        let directory = tempfile::tempdir().unwrap();
        let apart = directory.path().join("t.db");
        std::fs::copy(file, &apart).unwrap();
        let mut connection = SqliteConnection::connect_with(&base(&apart)).await.unwrap();
        sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&mut connection).await.unwrap()
    }

    #[tokio::test]
    async fn nobody_is_waited_for_and_what_nobody_reads_any_more_is_copied() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("t.db");
        let mut writer = connect(&file, &Options::default()).await.unwrap();
        for statement in ["CREATE TABLE t (x)", "INSERT INTO t VALUES (1)"] {
            sqlx::query(statement).execute(&mut writer).await.unwrap();
        }
        let mut reader = SqliteConnection::connect_with(&base(&file)).await.unwrap();
        let mut reading = reader.begin().await.unwrap();
        let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&mut *reading).await.unwrap();
        sqlx::query("INSERT INTO t VALUES (2)").execute(&mut writer).await.unwrap();

        let (checkpoints, mut connection) = (Checkpoints::of(base(&file)), None);
        checkpoints.copy(&mut connection).await.unwrap();
        let still: i64 = sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&mut *reading).await.unwrap();
        assert_eq!((seen, still), (1, 1));
        reading.rollback().await.unwrap();
        checkpoints.copy(&mut connection).await.unwrap();
        assert_eq!(in_the_file(&file).await, 2);
    }

    #[tokio::test]
    async fn it_ends_when_it_is_told_to_however_often_something_is_committed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("t.db");
        connect(&file, &Options::default()).await.unwrap().close().await.unwrap();
        let (checkpoints, ended) = (Checkpoints::of(base(&file)), CancellationToken::new());
        let committed = checkpoints.committed();
        let told = async {
            committed.notify_one();
            tokio::task::yield_now().await;
            committed.notify_one();
            ended.cancel();
        };
        tokio::join!(checkpoints.run(ended.clone()), told);
    }
}
