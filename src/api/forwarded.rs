//! Who asks, where proxies stand between.
//!
//! Each proxy adds the address it was asked from at the end of `X-Forwarded-For`. So the list is read from its end, for as
//! long as whoever said it is trusted: the first address that is not a trusted proxy's is the client's, and what stands
//! before it is the client's own word.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client of a request that came from `peer`.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    // From the last line to the first, and from the end of each to its beginning.
    for line in headers.get_all(FORWARDED_FOR).iter().rev() {
        for word in line.as_bytes().rsplit(|byte| *byte == b',') {
            if !trusted.iter().any(|network| network.contains(&client)) {
                return client;
            }
            match address(word) {
                Some(address) => client = address,
                None => return client,
            }
        }
    }
    client
}

/// An address as proxies write it: some put it in brackets, some add the port.
fn address(word: &[u8]) -> Option<IpAddr> {
    let word = std::str::from_utf8(word).ok()?.trim();
    let bare = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(word);
    let address = bare.parse().or_else(|_| word.parse().map(|place: SocketAddr| place.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_who_the_last_trusted_proxy_was_asked_by() {
        let proxies = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let table: [(&str, &str, &[&str], &str); 14] = [
            ("nothing is said", "10.0.0.1", &[], "10.0.0.1"),
            ("a proxy says it", "10.0.0.1", &["192.0.2.7"], "192.0.2.7"),
            ("anyone else is not believed", "192.0.2.9", &["198.51.100.1"], "192.0.2.9"),
            ("what the client wrote itself is not believed", "10.0.0.1", &["6.6.6.6, 192.0.2.7"], "192.0.2.7"),
            ("nor a trusted address that it wrote", "10.0.0.1", &["10.6.6.6,192.0.2.7"], "192.0.2.7"),
            ("proxy after proxy", "10.0.0.1", &["192.0.2.7, 10.0.0.3,10.0.0.2"], "192.0.2.7"),
            ("in lines", "10.0.0.1", &["6.6.6.6, 192.0.2.7", "10.0.0.2"], "192.0.2.7"),
            ("a client among the proxies", "10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("a port", "10.0.0.1", &["192.0.2.7:4711"], "192.0.2.7"),
            ("version 6", "fd00::1", &["2001:db8::7"], "2001:db8::7"),
            ("in brackets, with a port", "fd00::1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("in brackets", "fd00::1", &["[2001:db8::7]"], "2001:db8::7"),
            ("version 4 in version 6", "::ffff:10.0.0.1", &["::ffff:192.0.2.7"], "192.0.2.7"),
            ("what is no address ends it", "10.0.0.1", &["192.0.2.7, unknown, 10.0.0.2"], "10.0.0.2"),
        ];
        for (why, peer, lines, expected) in table {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, line.parse().unwrap());
            }
            let found = client(peer.parse().unwrap(), &headers, &proxies);
            assert_eq!(found.to_string(), expected, "{why}");
            let believing_none = client(peer.parse().unwrap(), &headers, &[]);
            assert_eq!(believing_none, peer.parse::<IpAddr>().unwrap().to_canonical(), "{why}");
        }
    }
}
