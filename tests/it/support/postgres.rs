//! A PostgreSQL database for each test, on a running server.
//!
//! `TEST_POSTGRES_URL` names a superuser of the server. Without it these tests fail: whoever wants to leave them out
//! says so.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use url::Url;

static MADE: AtomicU32 = AtomicU32::new(0);

/// An empty database.
pub(crate) struct Database {
    /// Where it is.
    pub(crate) url: Url,
    server: Url,
    name: String,
}

#[expect(clippy::disallowed_methods, reason = "tests are told by their environment where the server is")]
fn told(name: &str) -> Option<String> {
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
        database.tell_server(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", database.name)).await;
        database.tell_server(&format!("CREATE DATABASE {} TEMPLATE template0", database.name)).await;
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

    /// Removes it, whoever is still connected.
    pub(crate) async fn remove(self) {
        self.tell_server(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }

    async fn tell_server(&self, statement: &str) {
        let mut connection = PgConnection::connect(self.server.as_str()).await.expect("the server answers");
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.expect(statement);
        connection.close().await.expect("closed");
    }
}
