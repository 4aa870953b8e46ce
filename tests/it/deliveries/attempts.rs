//! One attempt against endpoints of every kind.

use std::sync::Arc;

use bytes::Bytes;
use runhook::delivery::policy::Patience;
use runhook::delivery::request;
use runhook::model::delivery::AttemptResult;
use runhook::model::id::MessageId;
use runhook::model::time::Timestamp;
use uuid::Uuid;

use super::stage::{HURRIED, PATIENT, ScriptedLookup, client, target};
use crate::support::receiver::{Answer, Gate, Receiver, nobody};

pub(super) async fn attempt(url: &str, patience: Patience) -> AttemptResult {
    attempt_with(Arc::default(), url, patience).await
}

async fn attempt_with(lookup: Arc<ScriptedLookup>, url: &str, patience: Patience) -> AttemptResult {
    client(lookup).send(request_to(url), patience).await
}

pub(super) fn request_to(url: &str) -> request::Request {
    let id = MessageId(Uuid::from_u128(1));
    request::Ready::of(target(url)).unwrap().request(id, Timestamp(0), Bytes::from_static(b"{}"))
}

pub(super) async fn answered_by(answer: Answer) -> AttemptResult {
    let receiver = Receiver::start([answer]).await;
    attempt(&receiver.url(), PATIENT).await
}

#[tokio::test]
async fn any_status_is_an_answer_and_its_body_does_not_matter() {
    for status in [200, 204, 301, 404, 429, 500, 599] {
        assert_eq!(answered_by(Answer::Status(status)).await, AttemptResult::answered(status));
    }
    let whole = Answer::Body(503, "x".repeat(16 * 1024));
    let (excerpt, cut) = ("x".repeat(1000), None);
    assert_eq!(answered_by(whole).await, AttemptResult::Answered { status: 503, retry_after: None, excerpt, cut });
}

#[tokio::test]
async fn silence_after_the_connection_is_a_time_out() {
    let gate = Gate::closed();
    let mut receiver = Receiver::start([Answer::Held(gate)]).await;
    assert_eq!(attempt(&receiver.url(), HURRIED).await, AttemptResult::TimedOut);
    assert_eq!(receiver.next().await.method, "POST");
}

#[tokio::test]
async fn a_closed_port_and_a_failed_handshake_are_no_connection() {
    let closed = attempt(&format!("http://{}/hook", nobody().await), PATIENT).await;
    assert!(matches!(&closed, AttemptResult::NotConnected { reason } if reason.contains("refused")), "{closed:?}");
    let receiver = Receiver::start([]).await;
    let plain = attempt(&receiver.url().replace("http:", "https:"), HURRIED).await;
    assert!(matches!(plain, AttemptResult::NotConnected { .. }), "{plain:?}");
    assert_eq!(receiver.requests(), []);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_no_connection() {
    let result = attempt("http://nx.test:8080/", PATIENT).await;
    assert_eq!(
        result,
        AttemptResult::NotConnected { reason: "the host's name does not resolve: no such name".to_owned() }
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::start([]).await;
    let result = answered_by(Answer::Redirect(elsewhere.url())).await;
    assert_eq!(result, AttemptResult::answered(302));
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn the_request_has_a_length_and_the_headers_that_receivers_rely_on() {
    let mut receiver = Receiver::start([]).await;
    attempt(&receiver.url(), PATIENT).await;
    let request = receiver.next().await;
    assert_eq!(request.method, "POST");
    assert_eq!(request.target, "/hook?secret=p%2B%20q%26r");
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("content-length"), "2");
    assert_eq!(request.header("x-team-token"), "t0k3n");
    assert_eq!(request.header("webhook-id"), Uuid::from_u128(1).to_string());
    assert_eq!(request.header("webhook-timestamp"), "0");
    assert_eq!(request.header("user-agent"), concat!("Runhook/", env!("CARGO_PKG_VERSION")));
    assert_eq!(request.header("host"), receiver.address().to_string());
    for absent in ["transfer-encoding", "referer", "cookie", "accept-encoding", "expect"] {
        assert!(!request.has_header(absent), "{absent}");
    }
    assert_eq!(request.body, b"{}");
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_is_named_without_its_value() {
    let mut request = request_to("http://127.0.0.1:9000/");
    request.headers.push(("X-Broken".to_owned(), "hush\nhush".into()));
    let result = client(Arc::<ScriptedLookup>::default()).send(request, PATIENT).await;
    let AttemptResult::Refused { reason } = result else { panic!("{result:?}") };
    assert_eq!(reason, "the endpoint's header `x-broken` has a value that cannot be sent");
}

#[tokio::test]
async fn no_reason_holds_the_path_or_a_secret() {
    let receiver = Receiver::start([Answer::Garbage]).await;
    let mut results = vec![
        attempt(&format!("http://{}/path-secret", nobody().await), PATIENT).await,
        attempt("http://nx.test/path-secret", PATIENT).await,
        attempt("http://10.0.0.1/path-secret", PATIENT).await,
        attempt(&format!("https://{}/path-secret", receiver.address()), HURRIED).await,
    ];
    results.push(attempt(&format!("http://{}/path-secret", receiver.address()), PATIENT).await);
    for result in results {
        let said = format!("{result:?}");
        assert!(!said.contains("path-secret") && !said.contains("p%2B") && !said.contains("t0k3n"), "{said}");
    }
}

#[tokio::test]
async fn connections_are_used_again_for_the_same_host() {
    let receiver = Receiver::start([]).await;
    let client = client(Arc::<ScriptedLookup>::default());
    for _ in 0..3 {
        let result = client.send(request_to(&receiver.url()), PATIENT).await;
        assert_eq!(result, AttemptResult::answered(200));
    }
    assert_eq!((receiver.requests().len(), receiver.connections()), (3, 1));
}

#[tokio::test]
async fn a_name_that_changes_its_answer_gains_nothing() {
    let receiver = Receiver::start([Answer::Close]).await;
    let lookup = Arc::new(ScriptedLookup::default());
    lookup.answer("rebind.test", &["127.0.0.1"]);
    lookup.answer("rebind.test", &["169.254.169.254"]);
    let url = format!("http://rebind.test:{}/", receiver.address().port());
    let first = attempt_with(Arc::clone(&lookup), &url, PATIENT).await;
    assert!(matches!(first, AttemptResult::Broken { .. }), "{first:?}");
    assert_eq!((receiver.requests().len(), lookup.asked()), (1, 1), "connected to what was vetted, in one lookup");
    let second = attempt_with(Arc::clone(&lookup), &url, PATIENT).await;
    assert!(matches!(&second, AttemptResult::Refused { reason } if reason.contains("not public")), "{second:?}");
    assert_eq!(receiver.connections(), 1);
}
