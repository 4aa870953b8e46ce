//! The egress proxy: everything leaves through it, and what may be known of a target is checked before.

use std::sync::Arc;

use runhook::config::EgressProxy;
use runhook::delivery::{Client, Guard, Vetting};
use runhook::model::delivery::AttemptResult;

use super::attempts::request_to;
use super::stage::{HURRIED, PATIENT, ScriptedLookup};
use crate::support::receiver::{Answer, Receiver};

fn client(proxy: &Receiver, lookup: ScriptedLookup) -> Client {
    let proxy: EgressProxy = format!("http://me:pr0xy@{}", proxy.address()).parse().unwrap();
    let vetting = Vetting { lookup: Arc::new(lookup), ..Vetting::new(Arc::new(Guard::default()), Vec::new()) };
    Client::through(Some(&proxy), vetting, 1024).unwrap()
}

#[tokio::test]
async fn a_plain_request_goes_to_the_proxy_with_the_whole_url() {
    let mut proxy = Receiver::start([]).await;
    let sent = client(&proxy, ScriptedLookup::default()).send(request_to("http://nx.test/hook"), PATIENT).await;
    assert_eq!(sent, AttemptResult::answered(200), "a name that only the proxy resolves");
    let request = proxy.next().await;
    assert_eq!(request.target, "http://nx.test/hook?secret=p%2B%20q%26r");
    assert_eq!(request.header("proxy-authorization"), "Basic bWU6cHIweHk=");
}

#[tokio::test]
async fn a_secure_one_asks_for_a_tunnel_and_shows_the_proxy_no_secret() {
    let mut proxy = Receiver::start([Answer::Status(403)]).await;
    let sent = client(&proxy, ScriptedLookup::default()).send(request_to("https://nx.test/hook"), PATIENT).await;
    assert!(matches!(&sent, AttemptResult::NotConnected { reason } if !reason.contains("pr0xy")), "{sent:?}");
    let request = proxy.next().await;
    assert_eq!((request.method.as_str(), request.target.as_str()), ("CONNECT", "nx.test:443"));
    assert!(!request.has_header("x-team-token"));
}

#[tokio::test]
async fn what_is_not_allowed_does_not_reach_the_proxy() {
    let proxy = Receiver::start([]).await;
    for url in ["http://169.254.169.254/", "http://inside.test/", "http://localhost:9000/"] {
        let lookup = ScriptedLookup::default();
        lookup.answer("inside.test", &["93.184.216.34", "10.0.0.5"]);
        let result = client(&proxy, lookup).send(request_to(url), HURRIED).await;
        assert!(matches!(result, AttemptResult::Refused { .. }), "{url}: {result:?}");
    }
    assert_eq!(proxy.connections(), 0);
}
