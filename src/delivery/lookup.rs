//! From a host name to the addresses that may be connected to.
//!
//! Every address of an answer must pass the guard, or the whole name is refused: a name that mixes public and private
//! addresses is an attack or a mistake. The connection is made to the very addresses returned here, so a name that
//! changes its answer between check and connect (rebinding) gains nothing.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use url::{Host, Url};

use crate::delivery::guard::{Forbidden, Guard};

/// Where addresses of names come from.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// All addresses of a name.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The machine's resolver, with its hosts file and search domains.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Why a name gave no address to connect to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Trying again may help.
    #[error("{0}")]
    Unresolved(String),
    /// It is not allowed; trying again does not help.
    #[error("{}", .0.exact)]
    Forbidden(#[source] Forbidden),
}

/// Lookups whose answers have passed the guard.
#[derive(Clone)]
pub struct Vetting {
    /// What passes.
    pub guard: Arc<Guard>,
    /// Where this server listens for the public: sending there would make a loop.
    pub own: Vec<SocketAddr>,
    /// How the public knows this server, if by another name.
    pub public: Option<Url>,
    /// Where addresses come from.
    pub lookup: Arc<dyn Lookup>,
    /// How long a lookup may take.
    pub budget: Duration,
}

/// How long a lookup may take, unless told otherwise.
const BUDGET: Duration = Duration::from_secs(4);

impl Vetting {
    /// Vetting of what the machine's resolver says, on a server that listens at `own`.
    #[must_use]
    pub fn new(guard: Arc<Guard>, own: Vec<SocketAddr>) -> Self {
        Self { guard, own, public: None, lookup: Arc::new(SystemLookup), budget: BUDGET }
    }

    /// What can be said of a target before its name is looked up. Addresses written into a URL never reach
    /// [`Vetting::addresses`], so they are judged here.
    pub fn check_url(&self, url: &Url) -> Result<(), Forbidden> {
        self.guard.check_url(url)?;
        let place = |url: &Url| (url.host().map(|host| host.to_owned()), url.port_or_known_default());
        if self.public.as_ref().is_some_and(|public| place(public) == place(url)) {
            return Err(itself());
        }
        match url.host() {
            Some(Host::Ipv4(ip)) => self.check_own(ip.into(), url.port_or_known_default()),
            Some(Host::Ipv6(ip)) => self.check_own(ip.into(), url.port_or_known_default()),
            _ => Ok(()),
        }
    }

    /// The addresses of a name, all of them vetted. Without a port, this server's own addresses are refused at any.
    pub async fn addresses(&self, name: &str, port: Option<u16>) -> Result<Vec<IpAddr>, LookupError> {
        let found = match tokio::time::timeout(self.budget, self.lookup.lookup(name)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                return Err(LookupError::Unresolved(format!("the host's name does not resolve: {error}")));
            }
            Err(_) => return Err(LookupError::Unresolved("the host's name was not resolved in time".to_owned())),
        };
        if found.is_empty() {
            return Err(LookupError::Unresolved("the host's name has no address".to_owned()));
        }
        for ip in &found {
            self.guard.check_ip(*ip).and_then(|()| self.check_own(*ip, port)).map_err(LookupError::Forbidden)?;
        }
        Ok(found)
    }

    /// What the name of a target says now. A name that says nothing may do so later, when something is sent there.
    pub async fn check_name(&self, url: &Url) -> Result<(), Forbidden> {
        let Some(name) = url.domain() else { return Ok(()) };
        match self.addresses(name, url.port_or_known_default()).await {
            Err(LookupError::Forbidden(forbidden)) => Err(forbidden),
            Ok(_) | Err(LookupError::Unresolved(_)) => Ok(()),
        }
    }

    fn check_own(&self, ip: IpAddr, port: Option<u16>) -> Result<(), Forbidden> {
        let ip = ip.to_canonical();
        let is_own = |own: &SocketAddr| {
            let is_port = port.is_none_or(|port| port == own.port());
            is_port && (own.ip().to_canonical() == ip || (own.ip().is_unspecified() && is_of_this_machine(ip)))
        };
        if self.own.iter().any(is_own) { Err(itself()) } else { Ok(()) }
    }
}

fn itself() -> Forbidden {
    let reason = "the target is this server itself";
    Forbidden::new(reason, reason)
}

/// Whether an address is one of this machine's: nothing can be bound to any other.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Answer(Vec<IpAddr>);

    #[async_trait]
    impl Lookup for Answer {
        async fn lookup(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
            Ok(self.0.clone())
        }
    }

    struct Silence;

    #[async_trait]
    impl Lookup for Silence {
        async fn lookup(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
            std::future::pending().await
        }
    }

    fn vetting(lookup: impl Lookup + 'static) -> Vetting {
        let own = vec!["93.184.216.34:443".parse().unwrap()];
        let lookup = Arc::new(lookup);
        Vetting { lookup, budget: Duration::from_secs(5), ..Vetting::new(Arc::default(), own) }
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn one_bad_address_refuses_the_whole_name() {
        let mixed = vetting(Answer(ips(&["8.8.8.8", "10.0.0.1"])));
        assert!(matches!(mixed.addresses("mixed.test", Some(80)).await, Err(LookupError::Forbidden(_))));
        let good = vetting(Answer(ips(&["8.8.8.8", "8.8.4.4"])));
        assert_eq!(good.addresses("good.test", Some(80)).await, Ok(ips(&["8.8.8.8", "8.8.4.4"])));
    }

    #[tokio::test]
    async fn its_own_address_is_refused_at_its_own_port_only() {
        let own = vetting(Answer(ips(&["93.184.216.34"])));
        assert!(matches!(own.addresses("self.test", Some(443)).await, Err(LookupError::Forbidden(_))));
        assert!(own.addresses("self.test", Some(8443)).await.is_ok());
        assert!(matches!(own.addresses("self.test", None).await, Err(LookupError::Forbidden(_))));
        assert!(own.check_url(&Url::parse("https://93.184.216.34/").unwrap()).is_err());
    }

    #[tokio::test]
    async fn a_server_that_listens_everywhere_knows_its_addresses_and_its_public_name() {
        let guard = Arc::new(Guard::new(vec!["127.0.0.0/8".parse().unwrap()]));
        let public = Some(Url::parse("https://runhook.test/").unwrap());
        let own = Vetting { public, ..Vetting::new(guard, vec!["0.0.0.0:4710".parse().unwrap()]) };
        for itself in ["http://127.0.0.1:4710/x", "http://[::1]:4710/", "https://runhook.test:443/api/v1/runs"] {
            assert!(own.check_url(&Url::parse(itself).unwrap()).is_err(), "{itself}");
        }
        for other in ["http://127.0.0.1:4711/", "https://8.8.8.8:4710/", "https://runhook.test:8443/"] {
            assert_eq!(own.check_url(&Url::parse(other).unwrap()), Ok(()), "{other}");
        }
    }

    #[tokio::test]
    async fn a_resolver_that_hangs_is_given_up_on() {
        let impatient = Vetting { budget: Duration::ZERO, ..vetting(Silence) };
        let error = impatient.addresses("slow.test", Some(80)).await.unwrap_err();
        assert_eq!(error, LookupError::Unresolved("the host's name was not resolved in time".to_owned()));
    }
}
