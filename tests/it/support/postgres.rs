//! Databases on the PostgreSQL that `TEST_POSTGRES_URL` names; `tests/with-postgres` starts one.

use std::net::SocketAddr;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;
use uuid::Uuid;

/// A database of its own, dropped with this.
pub(crate) struct Database {
    /// How it is reached.
    pub(crate) url: Url,
    server: Url,
}

impl Database {
    /// Makes an empty one. `None` when the tests are to do without PostgreSQL; an error when nobody said so.
    pub(crate) async fn create() -> Option<Self> {
        let text = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty());
        let Some(server) = text("TEST_POSTGRES_URL") else {
            let hint = "run this under tests/with-postgres, set TEST_POSTGRES_URL, or SKIP_PG=1 to do without";
            assert!(text("SKIP_PG").is_some(), "there is no PostgreSQL: {hint}");
            return None;
        };
        let server = Url::parse(server.to_str().unwrap()).unwrap();
        let name = format!("runhook_{}", Uuid::from_bytes(runhook::crypto::random()).simple());
        say(&server, &format!("CREATE DATABASE {name}")).await;
        let mut url = server.clone();
        url.set_path(&name);
        Some(Self { url, server })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.url.path().trim_start_matches('/').to_owned());
        let drop = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(say(&server, &format!("DROP DATABASE {name} WITH (FORCE)")));
        };
        // A runtime does not block inside another.
        let dropped = std::thread::spawn(drop).join();
        assert!(dropped.is_ok() || std::thread::panicking(), "the database was not dropped");
    }
}

async fn say(url: &Url, statement: &str) {
    let mut connection = PgConnection::connect(url.as_str()).await.unwrap();
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A way to a server that can be cut and mended. It ends when it is dropped.
pub(crate) struct Way {
    address: SocketAddr,
    whole: Arc<watch::Sender<bool>>,
    _tasks: JoinSet<()>,
}

impl Way {
    /// A whole way to the server of this URL.
    pub(crate) async fn to(url: &Url) -> Self {
        let target = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let whole = Arc::new(watch::Sender::new(true));
        let mut tasks = JoinSet::new();
        tasks.spawn(carry(listener, target, Arc::clone(&whole)));
        Self { address, whole, _tasks: tasks }
    }

    /// The same URL, this way.
    pub(crate) fn url(&self, url: &Url) -> Url {
        let mut url = url.clone();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url
    }

    /// Ends all connections, and lets none through from now on.
    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn carry(listener: TcpListener, target: String, whole: Arc<watch::Sender<bool>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((mut near, _)) = listener.accept().await else { return };
        let (mut whole, target) = (whole.subscribe(), target.clone());
        connections.spawn(async move {
            if !*whole.borrow() {
                return;
            }
            let Ok(mut far) = TcpStream::connect(target).await else { return };
            tokio::select! {
                // Either side may leave at any moment.
                _ended = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                _cut = whole.wait_for(|whole| !whole) => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
