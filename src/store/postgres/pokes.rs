//! Pokes between replicas: something may have come to do, look now.
//!
//! A poke carries nothing and may be lost: everyone looks by themselves from time to time. It is sent after the commit it
//! is about, apart from it, and many commits share one: PostgreSQL lets transactions that notify commit only one at a
//! time, flush included, which would put every batch of every project in one line.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::Notify;

use crate::store::Result;
use crate::store::postgres::PgStore;

/// The channel.
const CHANNEL: &str = "runhook";

const NOTIFY: &str = "SELECT pg_notify('runhook', $1)";

/// How long to wait before connecting again.
const PAUSE: Duration = Duration::from_secs(1);

/// After so long without a poke the connection is asked whether it is still one.
const QUIET: Duration = Duration::from_secs(10);

/// How long it may take to answer.
const MOMENT: Duration = Duration::from_secs(5);

/// What there may be to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Changes of runs.
    Changes,
    /// Deliveries that are due.
    Deliveries,
    /// The rules.
    Rules,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Changes, Self::Deliveries, Self::Rules];

    fn word(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::Deliveries => "deliveries",
            Self::Rules => "rules",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Changes => 1,
            Self::Deliveries => 2,
            Self::Rules => 4,
        }
    }
}

/// Pokes that are to be sent.
#[derive(Debug, Default)]
pub(super) struct Pokes {
    waiting: AtomicU8,
    wake: Notify,
}

impl Pokes {
    fn take(&self) -> u8 {
        self.waiting.swap(0, Ordering::AcqRel)
    }
}

impl PgStore {
    /// Has the other replicas look.
    pub(super) fn poke(&self, topic: Topic) {
        self.pokes.waiting.fetch_or(topic.bit(), Ordering::AcqRel);
        self.pokes.wake.notify_one();
    }

    /// Sends this replica's pokes and calls `on_poke` for each that any replica sent, for as long as it is polled. It
    /// connects again when the connection is lost, and then calls for every topic: some may have been missed.
    pub async fn listen(&self, on_poke: impl Fn(Topic) + Send + Sync) {
        tokio::join!(self.send_pokes(), self.receive_pokes(on_poke));
    }

    async fn send_pokes(&self) {
        loop {
            self.pokes.wake.notified().await;
            let waiting = self.pokes.take();
            for topic in Topic::ALL.into_iter().filter(|topic| waiting & topic.bit() != 0) {
                if let Err(error) = self.send(topic).await {
                    tracing::debug!(%error, "a poke was not sent");
                }
            }
        }
    }

    async fn send(&self, topic: Topic) -> Result<()> {
        self.read(async {
            let mut connection = self.reader().await?;
            sqlx::query(NOTIFY).bind(topic.word()).execute(&mut *connection).await?;
            connection.end().await
        })
        .await
    }

    async fn receive_pokes(&self, on_poke: impl Fn(Topic) + Send + Sync) {
        if !self.listens {
            return std::future::pending().await;
        }
        while !self.connections.current().pool.is_closed() {
            if let Err(error) = self.receive(&on_poke).await {
                tracing::warn!(%error, "pokes of other replicas are not heard for now");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Receives until the connection is lost.
    async fn receive(&self, on_poke: &(impl Fn(Topic) + Send + Sync)) -> sqlx::Result<()> {
        let pool = self.connections.current();
        let mut listener = PgListener::connect_with(&pool.pool).await?;
        listener.listen(CHANNEL).await?;
        Topic::ALL.into_iter().for_each(on_poke);
        loop {
            match tokio::time::timeout(QUIET, listener.try_recv()).await {
                Ok(Ok(Some(poke))) => {
                    Topic::ALL.into_iter().filter(|topic| topic.word() == poke.payload()).for_each(on_poke);
                }
                Ok(ended) => return ended.map(|_| ()),
                Err(_quiet) => {
                    let asked = tokio::time::timeout(MOMENT, sqlx::raw_sql("SELECT 1").execute(&mut listener)).await;
                    asked.unwrap_or_else(|_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())))?;
                }
            }
        }
    }
}
