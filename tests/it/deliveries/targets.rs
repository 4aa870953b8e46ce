//! Every hostile target of the collection gets its verdict.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runhook::delivery::request::{Ready, Request};
use runhook::delivery::{Client, Guard, Vetting};
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
    Client::new(vetting(case, url), 1024).unwrap().send(request_to(url), PATIENT).await
}

fn request_to(url: &Url) -> Request {
    let target = Target {
        url: url.as_str().into(),
        query: Vec::new(),
        headers: Vec::new(),
        secrets: Vec::new(),
        signing: Signing::default(),
    };
    Ready::of(target).unwrap().request(MessageId(Uuid::nil()), Timestamp(0), Bytes::new())
}

/// What is said when such a target is saved: `None` when it is taken.
async fn saved(case: &Case) -> Option<String> {
    let url = match Guard::parse(case.url) {
        Ok(url) => url,
        Err(forbidden) => return Some(forbidden.to_string()),
    };
    let client = Client::new(vetting(case, &url), 1024).unwrap();
    client.check(&url).await.err().map(|forbidden| forbidden.to_string())
}

/// What a target answers is no reason to refuse it, nor is a name that may be there later.
fn may_be_saved(case: &Case) -> bool {
    case.verdict == "allow" || case.answers == "NXDOMAIN" || case.why.contains("redirects")
}

#[tokio::test]
async fn every_target_gets_its_verdict_when_it_is_saved() {
    assert!(cases().len() > 60);
    for case in cases() {
        let said = saved(&case).await;
        assert_eq!(said.is_none(), may_be_saved(&case), "{} ({}): {said:?}", case.url, case.why);
    }
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
async fn a_name_that_was_fine_when_it_was_saved_is_judged_anew_when_it_is_sent_to() {
    let (url, mut case) = ("http://rebind.test:8080/", cases().remove(0));
    (case.url, case.answers) = (url, "93.184.216.34;169.254.169.254");
    let url = Url::parse(url).unwrap();
    let vetting = vetting(&case, &url);
    let client = Client::new(vetting, 1024).unwrap();
    assert_eq!(client.check(&url).await, Ok(()));
    let result = client.send(request_to(&url), PATIENT).await;
    let AttemptResult::Refused { reason } = result else { panic!("{result:?}") };
    assert!(reason.contains("not public") && !reason.contains("169.254"), "{reason}");
}

#[test]
fn a_target_with_a_control_character_is_nobodys() {
    for text in ["http://exa\tmple.com/", "http://example.com/\r\nX: y", "\u{0}http://example.com/"] {
        assert!(Url::parse(text).is_ok(), "a parser reads it");
        assert!(Guard::parse(text).is_err(), "{text:?}");
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
        let request = request_to(&url);
        assert_eq!(request.url.as_str(), case.url);
    }
}
