//! Every hostile target of the collection gets its verdict.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runhook::delivery::{Client, Guard, Vetting, request};
use runhook::model::delivery::AttemptResult;
use runhook::model::endpoint::Target;
use runhook::model::id::MessageId;
use runhook::model::signing::Signing;
use runhook::model::time::Timestamp;
use url::Url;
use uuid::Uuid;

use super::stage::{PATIENT, ScriptedLookup};

const CASES: &str = include_str!("../../fixtures/ssrf_cases.tsv");

/// This server's own public address.
const SELF: &str = "93.184.216.99";

struct Case {
    url: &'static str,
    verdict: &'static str,
    why: &'static str,
    answers: &'static str,
}

fn cases() -> Vec<Case> {
    let lines = CASES.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let case = |line: &'static str| {
        let mut columns = line.split('\t');
        let mut column = || columns.next().unwrap();
        Case { url: column(), verdict: column(), why: column(), answers: column() }
    };
    lines.map(case).collect()
}

/// The answers a case assumes, and whatever its name, for that name.
fn vetting(case: &Case, url: &Url) -> Vetting {
    let lookup = ScriptedLookup::default();
    if let (Some(host), false) = (url.domain(), matches!(case.answers, "-" | "NXDOMAIN")) {
        for answer in case.answers.split(';') {
            lookup.answer(host, &answer.replace("SELF", SELF).split(',').collect::<Vec<_>>());
        }
    }
    let allowed = if case.why.contains("allow list") { vec!["10.1.2.0/24".parse().unwrap()] } else { Vec::new() };
    let own = vec![format!("{SELF}:443").parse().unwrap()];
    Vetting {
        lookup: Arc::new(lookup),
        budget: Duration::from_secs(30),
        ..Vetting::new(Arc::new(Guard::new(allowed)), own)
    }
}

async fn send(case: &Case, url: &Url) -> AttemptResult {
    let target = Target {
        url: url.as_str().into(),
        query: Vec::new(),
        headers: Vec::new(),
        secrets: Vec::new(),
        signing: Signing::default(),
    };
    let request = request::build(&target, MessageId(Uuid::nil()), Timestamp(0), Bytes::new()).unwrap();
    Client::new(vetting(case, url), 1024).unwrap().send(request, PATIENT).await
}

#[tokio::test]
async fn every_blocked_target_is_refused_before_a_socket_is_opened() {
    let blocked: Vec<Case> = cases().into_iter().filter(|case| case.verdict == "block").collect();
    assert!(blocked.len() > 40);
    // What a redirect points to is asked for in the tests of attempts: it never is.
    for case in blocked.iter().filter(|case| !case.why.contains("redirects")) {
        let url = Url::parse(case.url).unwrap();
        let result = send(case, &url).await;
        let expected = match case.answers {
            "NXDOMAIN" => matches!(result, AttemptResult::NotConnected { .. }),
            _ => matches!(result, AttemptResult::Refused { .. }),
        };
        assert!(expected, "{} ({}): {result:?}", case.url, case.why);
    }
}

#[tokio::test]
async fn every_blocked_target_that_names_an_address_is_refused_when_it_is_saved() {
    for case in cases().iter().filter(|case| case.verdict == "block" && case.answers == "-") {
        let verdict = Guard::default().check_url(&Url::parse(case.url).unwrap());
        assert!(verdict.is_err(), "{} ({})", case.url, case.why);
    }
}

#[test]
fn every_rejected_target_is_refused_when_it_is_saved() {
    for case in cases().iter().filter(|case| case.verdict == "reject") {
        let refused = Url::parse(case.url).map_or(true, |url| Guard::default().check_url(&url).is_err());
        assert!(refused, "{} ({})", case.url, case.why);
    }
}

#[tokio::test]
async fn every_allowed_target_passes_and_is_sent_as_written() {
    let allowed: Vec<Case> = cases().into_iter().filter(|case| case.verdict == "allow").collect();
    assert!(allowed.len() >= 8);
    for case in &allowed {
        let url = Url::parse(case.url).unwrap();
        let vetting = vetting(case, &url);
        vetting.check_url(&url).unwrap_or_else(|forbidden| panic!("{}: {}", case.url, forbidden.exact));
        if let Some(name) = url.domain() {
            vetting.addresses(name, url.port_or_known_default()).await.unwrap();
        }
        let target = Target {
            url: case.url.into(),
            query: Vec::new(),
            headers: Vec::new(),
            secrets: Vec::new(),
            signing: Signing::default(),
        };
        let request = request::build(&target, MessageId(Uuid::nil()), Timestamp(0), Bytes::new()).unwrap();
        assert_eq!(request.url.as_str(), case.url);
    }
}
