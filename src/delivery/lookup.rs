//! From a host name to the addresses that may be connected to.
//!
//! Every address of an answer must pass the guard, or the whole name is refused: a name that mixes public and private
//! addresses is an attack or a mistake. The connection is made to the very addresses returned here, so a name that
//! changes its answer between check and connect (rebinding) gains nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
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
        Self { guard, own, lookup: Arc::new(SystemLookup), budget: BUDGET }
    }

    /// What can be said of a target before its name is looked up. Addresses written into a URL never reach
    /// [`Vetting::addresses`], so they are judged here.
    pub fn check_url(&self, url: &Url) -> Result<(), Forbidden> {
        self.guard.check_url(url)?;
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

    fn check_own(&self, ip: IpAddr, port: Option<u16>) -> Result<(), Forbidden> {
        let ip = ip.to_canonical();
        let is_own = |own: &SocketAddr| {
            let listens = own.ip().to_canonical() == ip || (own.ip().is_unspecified() && ip.is_loopback());
            listens && port.is_none_or(|port| port == own.port())
        };
        if self.own.iter().any(is_own) {
            let reason = "the target is this server itself";
            return Err(Forbidden::new(reason, reason));
        }
        Ok(())
    }
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
        Vetting { guard: Arc::default(), own, lookup: Arc::new(lookup), budget: Duration::from_secs(5) }
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
    async fn a_resolver_that_hangs_is_given_up_on() {
        let impatient = Vetting { budget: Duration::ZERO, ..vetting(Silence) };
        let error = impatient.addresses("slow.test", Some(80)).await.unwrap_err();
        assert_eq!(error, LookupError::Unresolved("the host's name was not resolved in time".to_owned()));
    }
}
