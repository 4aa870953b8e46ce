//! Databases of our own on a PostgreSQL server.

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::process;

/// A database that was made for one measurement.
pub(crate) struct Database {
    /// Its URL.
    pub(crate) url: String,
    name: String,
    server: PgConnection,
    postmaster: u32,
}

impl Database {
    /// Makes one.
    pub(crate) async fn create(server_url: &str, name: &str) -> anyhow::Result<Self> {
        let mut server = PgConnection::connect(server_url).await.context("cannot connect to PostgreSQL")?;
        let name = format!("{name}_{}", std::process::id());
        server.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name}"))).await?;
        server.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        let (base, query) = server_url.split_once('?').map_or((server_url, None), |(base, query)| (base, Some(query)));
        let base = base.rsplit_once('/').map_or(base, |(base, _)| base);
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut server).await?;
        let backend = process::usage(u32::try_from(backend)?);
        let postmaster = backend.map(|usage| usage.parent).unwrap_or_default();
        Ok(Self { url: format!("{base}/{name}{query}"), name, server, postmaster })
    }

    /// How durable the server is.
    pub(crate) async fn durability(&mut self) -> anyhow::Result<String> {
        let mut setting = async |name: &'static str| {
            sqlx::query_scalar::<_, String>("SELECT current_setting($1)").bind(name).fetch_one(&mut self.server).await
        };
        Ok(format!(
            "PostgreSQL {}, fsync {}, synchronous_commit {}",
            setting("server_version").await?,
            setting("fsync").await?,
            setting("synchronous_commit").await?
        ))
    }

    /// Lets the server look at what its tables hold.
    pub(crate) async fn analyze(&self) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.url).await?;
        connection.execute("ANALYZE").await?;
        Ok(connection.close().await?)
    }

    /// CPU of all of the server's processes, when it is on this machine.
    pub(crate) fn cpu(&self) -> std::time::Duration {
        process::family_cpu(self.postmaster).unwrap_or_default()
    }

    /// Removes it.
    pub(crate) async fn remove(mut self) -> anyhow::Result<()> {
        self.server.execute(AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.name))).await?;
        Ok(())
    }
}
