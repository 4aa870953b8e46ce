//! A way to a server, for tests that lose it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

/// A way to a server that can be cut and mended, and made to lead elsewhere. It ends when it is dropped.
pub(crate) struct Way {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct State {
    whole: bool,
    target: String,
    /// Connections made before the last of these many silences carry nothing any more.
    silences: u32,
}

impl Way {
    /// A whole way to the server of this URL.
    pub(crate) async fn to(url: &Url) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(State { whole: true, target: target(url), silences: 0 }));
        let mut tasks = JoinSet::new();
        tasks.spawn(carry(listener, Arc::clone(&state)));
        Self { address, state, _tasks: tasks }
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
        self.state.send_modify(|state| state.whole = false);
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.state.send_modify(|state| state.whole = true);
    }

    /// Leads new connections to the server of this URL, as an address does that was given to another machine.
    pub(crate) fn lead_to(&self, url: &Url) {
        self.state.send_modify(|state| state.target = target(url));
    }

    /// Lets all connections there are stand still for ever, as the loss of the server's machine does. New ones are let
    /// through.
    pub(crate) fn silence(&self) {
        self.state.send_modify(|state| state.silences += 1);
    }
}

fn target(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432))
}

async fn carry(listener: TcpListener, state: Arc<watch::Sender<State>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((mut near, _)) = listener.accept().await else { return };
        let mut changed = state.subscribe();
        let now = changed.borrow().clone();
        connections.spawn(async move {
            if !now.whole {
                return;
            }
            let Ok(mut far) = TcpStream::connect(now.target).await else { return };
            let gone = async {
                let state = changed.wait_for(|state| !state.whole || state.silences != now.silences).await;
                state.is_ok_and(|state| state.whole)
            };
            let is_silent = tokio::select! {
                // Either side may leave at any moment.
                _ended = tokio::io::copy_bidirectional(&mut near, &mut far) => false,
                is_silent = gone => is_silent,
            };
            drop(far);
            if is_silent {
                std::future::pending::<()>().await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
