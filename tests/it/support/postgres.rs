//! A PostgreSQL database for each test, on a running server.
//!
//! `TEST_POSTGRES_URL` names a superuser of the server. Without it these tests fail: whoever wants to leave them out
//! says so.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use url::Url;

static MADE: AtomicU32 = AtomicU32::new(0);

/// How long a server may take to remove a database.
const LAST_WORD: Duration = Duration::from_secs(20);

/// An empty database. It is removed when it is dropped.
pub(crate) struct Database {
    /// Where it is.
    pub(crate) url: Url,
    server: Url,
    name: String,
}

/// What tests are told by their environment.
#[expect(clippy::disallowed_methods, reason = "tests are told by their environment where the server is")]
pub(crate) fn told(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether these tests are to be left out.
pub(crate) fn is_left_out() -> bool {
    told("TEST_POSTGRES_URL").is_none() && told("SKIP_PG").is_some_and(|skip| skip == "1")
}

impl Database {
    /// Makes one; none when PostgreSQL is to be left out.
    pub(crate) async fn create() -> Option<Self> {
        let Some(server) = told("TEST_POSTGRES_URL") else {
            assert!(
                is_left_out(),
                "there is no PostgreSQL to test on: run `make test`, or set TEST_POSTGRES_URL to the URL of a superuser \
                 of a server that may be thrown away, or leave these tests out with SKIP_PG=1"
            );
            return None;
        };
        Some(Self::create_on(Url::parse(&server).expect("TEST_POSTGRES_URL is a URL")).await)
    }

    /// Makes one on this server, whose superuser the URL names.
    pub(crate) async fn create_on(server: Url) -> Self {
        let name = format!("runhook_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let mut url = server.clone();
        url.set_path(&name);
        let database = Self { url, server, name };
        for statement in ["DROP DATABASE IF EXISTS {} WITH (FORCE)", "CREATE DATABASE {} TEMPLATE template0"] {
            database.tell_server(&statement.replace("{}", &database.name)).await.expect("the server answers");
        }
        database
    }

    /// A connection that speaks to the database behind the store's back.
    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(self.url.as_str()).await.expect("connected")
    }

    /// Does something behind the store's back.
    pub(crate) async fn sql(&self, statement: &str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.expect(statement);
        connection.close().await.expect("closed");
    }

    async fn tell_server(&self, statement: &str) -> sqlx::Result<()> {
        let mut connection = PgConnection::connect(self.server.as_str()).await?;
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await?;
        connection.close().await
    }
}

impl Drop for Database {
    /// Removes it, whoever is still connected and however the test ended.
    fn drop(&mut self) {
        let remove = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let bounded = async { tokio::time::timeout(LAST_WORD, self.tell_server(&remove)).await };
        // A server of the test's own may be gone before.
        let _removed = block_on(bounded);
    }
}

/// Waits for something where nothing can be awaited.
pub(crate) fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| scope.spawn(|| runtime().block_on(future)).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
