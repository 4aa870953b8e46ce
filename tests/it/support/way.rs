//! A way to a server, for tests that lose it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

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
