//! How a server stands, told to the service manager that started it, where it asks to be told: systemd with
//! `Type=notify`. Elsewhere nobody asks, and nothing is sent.

use std::io;

use crate::cli::connect;

/// It takes traffic.
pub(super) const READY: &str = "READY=1";

/// It finishes what has begun.
pub(super) const STOPPING: &str = "STOPPING=1";

/// Tells it. A failure is logged: the server itself is none the worse for it.
pub(super) fn tell(state: &str) {
    let environment = connect::environment();
    let Some(socket) = environment.get("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else { return };
    if let Err(error) = send(socket, state) {
        tracing::warn!(%error, state, "the service manager could not be told");
    }
}

#[cfg(unix)]
fn send(socket: &str, state: &str) -> io::Result<()> {
    let datagram = std::os::unix::net::UnixDatagram::unbound()?;
    datagram.send_to_addr(state.as_bytes(), &address(socket)?).map(drop)
}

#[cfg(not(unix))]
fn send(_socket: &str, _state: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A path, or on Linux a name that is in no file system.
#[cfg(unix)]
fn address(socket: &str) -> io::Result<std::os::unix::net::SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.strip_prefix('@') {
        use std::os::linux::net::SocketAddrExt as _;
        return std::os::unix::net::SocketAddr::from_abstract_name(name);
    }
    std::os::unix::net::SocketAddr::from_pathname(socket)
}
