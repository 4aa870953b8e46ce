//! Whether the hosts of the rules' endpoints have addresses. Nothing is sent.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use super::{Check, whole};
use crate::app::Engine;

const AT_A_TIME: usize = 16;
const BUDGET: Duration = Duration::from_secs(3);

/// Looks up every host once.
pub(super) async fn resolve(engine: &Engine) -> Check {
    let shown = match engine.shown_endpoints().await {
        Ok(shown) => shown,
        Err(error) => return Check::fail("endpoints", whole(error), "look at the database"),
    };
    let hosts: BTreeSet<String> = shown.iter().filter_map(|url| host(url)).collect();
    let total = hosts.len();
    let lookups = stream::iter(hosts).map(|host| async move { (resolves(&host).await, host) });
    let answers: Vec<(bool, String)> = lookups.buffer_unordered(AT_A_TIME).collect().await;
    let lost: Vec<String> = answers.into_iter().filter(|(found, _)| !found).map(|(_, host)| host).collect();
    if lost.is_empty() {
        Check::ok("endpoints", format!("{total} hosts, all with an address"))
    } else {
        let found = format!("no address for {}", lost.join(", "));
        Check::warn("endpoints", found, "look at the name and at this machine's resolver")
    }
}

fn host(shown: &str) -> Option<String> {
    let url = url::Url::parse(&shown.replace('…', "")).ok()?;
    url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned())
}

async fn resolves(host: &str) -> bool {
    let lookup = tokio::time::timeout(BUDGET, tokio::net::lookup_host((host, 0))).await;
    lookup.is_ok_and(|answer| answer.is_ok_and(|mut addresses| addresses.next().is_some()))
}
