//! The address guard: nothing is sent to an address the operator did not allow.
//!
//! A target is checked twice by the same code: when it is saved, so that its author learns of it at once, and when it is
//! sent to. What is written must pass ([`Guard::check_url`]), and so must every address its name resolves to
//! ([`Guard::check_ip`]). Public
//! unicast addresses pass; all others need an entry in the operator's list. An IPv6 address that carries an IPv4 one is
//! judged by what it carries where such traffic ends at that IPv4 address (mapped, NAT64), and refused where the carrier
//! itself is obsolete (6to4, Teredo, IPv4-compatible).
//!
//! The guard never resolves names and never connects: see `lookup` for how what it vetted becomes what is connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// No URL longer than this is saved or sent to, whatever the configured limit: many servers refuse longer ones.
const LONGEST_URL: usize = 8 * 1024;

/// Ports above 1023 where something listens that a POST could harm or confuse. Below 1024 only 80 and 443 pass.
const DENIED_PORTS: &[u16] = &[
    1433, 1434, 1521, 1723, 2049, 2181, 2375, 2376, 2379, 2380, 3128, 3306, 3389, 4190, 5060, 5061, 5432, 5672, 5900,
    5901, 5984, 6000, 6379, 6380, 6566, 6665, 6666, 6667, 6668, 6669, 6697, 9042, 9092, 9200, 9300, 10080, 10250,
    11211, 27017, 27018, 27019,
];

/// Which targets are allowed.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Networks that are allowed although they are not public.
    pub allowed: Vec<IpNet>,
}

/// A target that nothing is sent to. Its text tells a tenant nothing about the network around the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{generic}")]
pub struct Forbidden {
    /// Why, in words fit for anyone.
    pub generic: &'static str,
    /// Why exactly, for the operator.
    pub exact: String,
}

impl Forbidden {
    pub(crate) fn new(generic: &'static str, exact: impl Into<String>) -> Self {
        Self { generic, exact: exact.into() }
    }

    fn plain(reason: &'static str) -> Self {
        Self::new(reason, reason)
    }

    fn address(exact: String) -> Self {
        Self::new("the target's address is not public; the operator can allow it with --allow-targets", exact)
    }
}

impl Guard {
    /// A guard that lets pass what is public, and these networks.
    #[must_use]
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// A target as it was written. Parsers of URLs leave out control characters and read the rest, so that two of them may
    /// read two hosts; such a text is nobody's URL.
    pub fn parse(text: &str) -> Result<Url, Forbidden> {
        if text.chars().any(char::is_control) {
            return Err(Forbidden::plain("a target must not hold control characters"));
        }
        Url::parse(text).map_err(|error| Forbidden::new("the target is not a URL", error.to_string()))
    }

    /// What can be said of a target without resolving its name.
    pub fn check_url(&self, url: &Url) -> Result<(), Forbidden> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Forbidden::plain("only http and https targets are allowed"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Forbidden::plain("a target must not carry a user name or password; use a header"));
        }
        if url.as_str().len() > LONGEST_URL {
            return Err(Forbidden::plain("the target is longer than 8192 bytes"));
        }
        check_port(url.port_or_known_default().unwrap_or(0))?;
        match url.host() {
            None | Some(Host::Domain("" | ".")) => Err(Forbidden::plain("the target names no host")),
            Some(Host::Ipv4(ip)) => self.check_ip(ip.into()),
            Some(Host::Ipv6(ip)) => self.check_ip(ip.into()),
            Some(Host::Domain(name)) if is_localhost(name) => self.check_ip(Ipv4Addr::LOCALHOST.into()),
            Some(Host::Domain(_)) => Ok(()),
        }
    }

    /// Whether an address may be connected to.
    pub fn check_ip(&self, ip: IpAddr) -> Result<(), Forbidden> {
        if self.is_allowed(ip) {
            return Ok(());
        }
        match carried(ip) {
            Some(inner) if self.is_allowed(inner.into()) => Ok(()),
            Some(inner) => refusal_v4(inner).map_or(Ok(()), |range| Err(refused(ip, range))),
            None => refusal(ip).map_or(Ok(()), |range| Err(refused(ip, range))),
        }
    }

    /// Whether the operator's list has it. Loopback is one machine: allowing 127.0.0.1 allows `::1`, and the reverse.
    fn is_allowed(&self, ip: IpAddr) -> bool {
        let listed = |ip: IpAddr| self.allowed.iter().any(|net| net.contains(&ip));
        listed(ip)
            || (ip == IpAddr::V6(Ipv6Addr::LOCALHOST) && listed(Ipv4Addr::LOCALHOST.into()))
            || (ip == IpAddr::V4(Ipv4Addr::LOCALHOST) && listed(Ipv6Addr::LOCALHOST.into()))
    }
}

fn check_port(port: u16) -> Result<(), Forbidden> {
    if matches!(port, 80 | 443) || (port >= 1024 && !DENIED_PORTS.contains(&port)) {
        return Ok(());
    }
    Err(Forbidden::new(
        "the target's port is not allowed: use 80, 443 or one above 1023 that no well-known service owns",
        format!("port {port} is not allowed"),
    ))
}

/// `localhost` and all below it are loopback, whatever a resolver says (RFC 6761).
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

fn refused(ip: IpAddr, range: &str) -> Forbidden {
    Forbidden::address(format!("{ip} is not allowed: {range}"))
}

/// The IPv4 address at which traffic to this IPv6 address ends.
fn carried(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else { return None };
    if let Some(inner) = ip.to_ipv4_mapped() {
        return Some(inner);
    }
    let [.., a, b, c, d] = ip.octets();
    (is_in(ip, 0x0064_ff9b << 96, 96)).then(|| Ipv4Addr::new(a, b, c, d))
}

fn is_in(ip: Ipv6Addr, network: u128, bits: u8) -> bool {
    Ipv6Net::new(Ipv6Addr::from_bits(network), bits).is_ok_and(|net| net.contains(&ip))
}

/// Why an address is not public, or `None` when it is.
fn refusal(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => refusal_v4(ip),
        IpAddr::V6(ip) => refusal_v6(ip),
    }
}

/// IPv4 ranges that are not public, by RFC 6890 and its updates, and one public-looking address.
const NOT_PUBLIC_V4: &[([u8; 4], u8, &str)] = &[
    ([0, 0, 0, 0], 8, "this host (0.0.0.0/8)"),
    ([10, 0, 0, 0], 8, "private (10.0.0.0/8)"),
    ([100, 64, 0, 0], 10, "shared by carriers (100.64.0.0/10)"),
    ([127, 0, 0, 0], 8, "loopback (127.0.0.0/8)"),
    ([168, 63, 129, 16], 32, "the metadata service of Azure"),
    ([169, 254, 0, 0], 16, "link-local (169.254.0.0/16)"),
    ([172, 16, 0, 0], 12, "private (172.16.0.0/12)"),
    ([192, 0, 0, 0], 24, "protocol assignments (192.0.0.0/24)"),
    ([192, 0, 2, 0], 24, "documentation (192.0.2.0/24)"),
    ([192, 88, 99, 0], 24, "6to4 relays (192.88.99.0/24)"),
    ([192, 168, 0, 0], 16, "private (192.168.0.0/16)"),
    ([198, 18, 0, 0], 15, "benchmarks (198.18.0.0/15)"),
    ([198, 51, 100, 0], 24, "documentation (198.51.100.0/24)"),
    ([203, 0, 113, 0], 24, "documentation (203.0.113.0/24)"),
    ([224, 0, 0, 0], 4, "multicast (224.0.0.0/4)"),
    ([240, 0, 0, 0], 4, "reserved (240.0.0.0/4)"),
];

fn refusal_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let holds = |(network, bits, _): &&([u8; 4], u8, &str)| {
        Ipv4Net::new(Ipv4Addr::from(*network), *bits).is_ok_and(|net| net.contains(&ip))
    };
    NOT_PUBLIC_V4.iter().find(holds).map(|(_, _, range)| *range)
}

/// IPv6 ranges that are not public, narrow before wide. Only `2000::/3` is handed out at all, so the rest needs no
/// list to be refused; the lines outside it are there to say why.
const NOT_PUBLIC_V6: &[([u16; 4], u8, &str)] = &[
    ([0x0064, 0xff9b, 0x0001, 0], 48, "local NAT64 (64:ff9b:1::/48)"),
    ([0x0100, 0, 0, 0], 64, "discarded (100::/64)"),
    ([0x2001, 0, 0, 0], 32, "Teredo (2001::/32)"),
    ([0x2001, 0, 0, 0], 23, "protocol assignments (2001::/23)"),
    ([0x2001, 0x0db8, 0, 0], 32, "documentation (2001:db8::/32)"),
    ([0x2002, 0, 0, 0], 16, "6to4 (2002::/16)"),
    ([0x3fff, 0, 0, 0], 20, "documentation (3fff::/20)"),
    ([0x5f00, 0, 0, 0], 16, "segment routing (5f00::/16)"),
    ([0xfc00, 0, 0, 0], 7, "unique local (fc00::/7)"),
    ([0xfe80, 0, 0, 0], 10, "link-local (fe80::/10)"),
    ([0xfec0, 0, 0, 0], 10, "site-local (fec0::/10)"),
    ([0xff00, 0, 0, 0], 8, "multicast (ff00::/8)"),
];

fn refusal_v6(ip: Ipv6Addr) -> Option<&'static str> {
    if ip.is_loopback() {
        return Some("loopback (::1)");
    }
    if ip.is_unspecified() {
        return Some("this host (::)");
    }
    let holds = |(network, bits, _): &&([u16; 4], u8, &str)| {
        let [a, b, c, d] = *network;
        is_in(ip, Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_bits(), *bits)
    };
    if let Some((_, _, range)) = NOT_PUBLIC_V6.iter().find(holds) {
        return Some(range);
    }
    if is_isatap(ip) {
        return Some("ISATAP: it carries an IPv4 address");
    }
    (!is_in(ip, 0x2000 << 112, 3)).then_some("not in the range handed out for public use (2000::/3)")
}

/// Any prefix can end in an interface id that carries an IPv4 address for a tunnel.
fn is_isatap(ip: Ipv6Addr) -> bool {
    let [_, _, _, _, flags, mark, _, _] = ip.segments();
    flags & 0xfdff == 0 && mark == 0x5efe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(nets: &[&str]) -> Guard {
        Guard::new(nets.iter().map(|net| net.parse().unwrap()).collect())
    }

    fn check(guard: &Guard, url: &str) -> Result<(), Forbidden> {
        guard.check_url(&Url::parse(url).unwrap())
    }

    #[test]
    fn the_edges_of_every_range_are_exact() {
        let public = [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:200::1",
            "2003::1",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
        ];
        for ip in public {
            assert_eq!(Guard::default().check_ip(ip.parse().unwrap()), Ok(()), "{ip}");
        }
        let refused = [
            "0.0.0.0",
            "0.255.255.255",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.255.255.255",
            "169.254.0.0",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.255",
            "192.88.99.1",
            "198.19.255.255",
            "239.255.255.255",
            "255.255.255.255",
            "::ffff:10.0.0.1",
            "::ffff:0:127.0.0.1",
            "::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::808:808",
            "2002:7f00:1::",
            "2001::1",
            "2001:2::1",
            "2001:db8::1",
            "4000::1",
            "fdff::1",
            "febf::1",
            "feff::1",
            "ffff::1",
            "2606:4700::5efe:a00:1",
            "2606:4700::200:5efe:a00:1",
        ];
        for ip in refused {
            assert!(Guard::default().check_ip(ip.parse().unwrap()).is_err(), "{ip}");
        }
    }

    #[test]
    fn what_the_operator_lists_passes_in_every_form() {
        let guard = guard(&["10.1.2.0/24", "127.0.0.0/8", "fd00::/8"]);
        for ip in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "127.0.0.1", "::1", "fd12::1"] {
            assert_eq!(guard.check_ip(ip.parse().unwrap()), Ok(()), "{ip}");
        }
        for ip in ["10.1.3.3", "::ffff:10.1.3.3", "169.254.169.254", "fc00::1"] {
            assert!(guard.check_ip(ip.parse().unwrap()).is_err(), "{ip}");
        }
        assert_eq!(check(&guard, "http://localhost:9000/x"), Ok(()));
        assert_eq!(check(&guard, "http://a.localhost:9000/x"), Ok(()));
    }

    #[test]
    fn ports_of_well_known_services_are_refused_even_where_the_address_is_allowed() {
        let guard = guard(&["127.0.0.0/8"]);
        for port in [1, 22, 25, 81, 1023, 3306, 5432, 6379, 11211] {
            assert!(check(&guard, &format!("http://127.0.0.1:{port}/")).is_err(), "{port}");
        }
        for port in [80, 443, 1024, 3000, 8080, 8443, 65535] {
            assert_eq!(check(&guard, &format!("http://127.0.0.1:{port}/")), Ok(()), "{port}");
        }
    }

    #[test]
    fn a_tenant_is_told_less_than_the_operator() {
        let forbidden = check(&Guard::default(), "http://[::ffff:a9fe:a9fe]/").unwrap_err();
        assert!(!forbidden.to_string().contains("169.254"), "{forbidden}");
        assert!(forbidden.exact.contains("link-local"), "{}", forbidden.exact);
    }

    #[test]
    fn a_long_target_a_user_name_and_a_missing_host_are_refused() {
        let long = format!("https://example.com/{}", "a".repeat(LONGEST_URL));
        for url in [long.as_str(), "https://me@example.com/", "https://:pw@example.com/", "https://./", "mailto:a@b.c"]
        {
            assert!(check(&Guard::default(), url).is_err(), "{url}");
        }
    }
}
