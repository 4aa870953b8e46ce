//! Receivers that mean harm, or are broken: each costs a bounded time and a bounded memory, and says on the attempt what
//! it did. Nothing is sent anywhere else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runhook::delivery::lookup::Lookup;
use runhook::delivery::{Client, Guard, Vetting};
use runhook::model::delivery::{AttemptResult, Cut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::attempts::{answered_by, attempt, request_to};
use super::stage::{HURRIED, PATIENT, ScriptedLookup, client};
use crate::support::receiver::{Answer, Gate, Receiver};

fn answered(excerpt: &str, cut: Cut) -> AttemptResult {
    AttemptResult::Answered { status: 200, retry_after: None, excerpt: excerpt.to_owned(), cut: Some(cut) }
}

#[tokio::test]
async fn a_body_is_left_where_it_goes_wrong_and_the_attempt_says_why() {
    let start = "x".repeat(1000);
    let table = [
        (Answer::Endless, answered(&start, Cut::TooLong)),
        (Answer::Body(200, "x".repeat(1_000_000)), answered(&start, Cut::TooLong)),
        (Answer::Drip(Gate::closed()), answered("d", Cut::TooSlow)),
        (Answer::Short, answered("short", Cut::Broken)),
    ];
    for (answer, expected) in table {
        assert_eq!(answered_by(answer.clone()).await, expected, "{answer:?}");
    }
    // What had arrived may be lost with the connection.
    let reset = answered_by(Answer::ResetInBody).await;
    assert!(matches!(reset, AttemptResult::Answered { status: 200, cut: Some(Cut::Broken), .. }), "{reset:?}");
}

#[tokio::test]
async fn what_breaks_before_an_answer_has_reasons_of_its_own() {
    let table = [
        (Answer::Close, "connection closed before message completed"),
        (Answer::Reset, "Connection reset by peer"),
        (Answer::HugeHeaders, "message head is too large"),
        (Answer::Garbage, "invalid HTTP version parsed"),
    ];
    for (answer, expected) in table {
        let result = answered_by(answer.clone()).await;
        let AttemptResult::Broken { reason } = &result else { panic!("{answer:?}: {result:?}") };
        assert!(reason.contains(expected), "{answer:?}: {reason}");
    }
}

/// Takes a connection, and answers this many requests on it. It closes at the next one, which it has read.
async fn close_after(answers: usize, listener: &TcpListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut read = Vec::new();
    for left in (0..=answers).rev() {
        while !read.ends_with(b"{}") {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "the connection is used again");
        }
        read.clear();
        if left > 0 {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_connection_that_its_server_closes_between_requests_costs_no_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let receiver = async {
        for answers in [1, 1, 0] {
            close_after(answers, &listener).await;
        }
    };
    let client = client(Arc::<ScriptedLookup>::default());
    let sending = async {
        let mut results = Vec::new();
        for _ in 0..3 {
            results.push(client.send(request_to(&url), PATIENT).await);
        }
        results
    };
    let ((), results) = tokio::join!(receiver, sending);
    assert_eq!(results[..2], [AttemptResult::answered(200), AttemptResult::answered(200)]);
    // The second close met a connection made for its request: that is the receiver's answer.
    assert!(matches!(results[2], AttemptResult::Broken { .. }), "{results:?}");
}

#[tokio::test]
async fn a_head_that_drips_is_no_answer_in_time() {
    let receiver = Receiver::start([Answer::DripHead(Gate::closed())]).await;
    assert_eq!(attempt(&receiver.url(), HURRIED).await, AttemptResult::TimedOut);
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_was_read_is_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let receiver = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        stream.write_all(b"HTTP/1.1 413 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
        // Kept open, and not read: a close would reset what was not read.
        stream
    };
    let mut request = request_to(&url);
    request.body = Bytes::from(vec![b' '; 8 << 20]);
    let client = client(Arc::<ScriptedLookup>::default());
    let (_open, result) = tokio::join!(receiver, client.send(request, PATIENT));
    assert_eq!(result, AttemptResult::answered(413));
}

struct Silence;

#[async_trait::async_trait]
impl Lookup for Silence {
    async fn lookup(&self, _name: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_resolver_that_hangs_ends_the_attempt_and_a_save_goes_on_without_it() {
    let budget = Duration::from_millis(20);
    let vetting = Vetting { lookup: Arc::new(Silence), budget, ..Vetting::new(Arc::new(Guard::default()), vec![]) };
    let client = Client::new(vetting, 1024).unwrap();
    let result = client.send(request_to("http://slow.test/"), PATIENT).await;
    let reason = "the host's name was not resolved in time".to_owned();
    assert_eq!(result, AttemptResult::NotConnected { reason });
    assert_eq!(client.check(&"http://slow.test/".parse().unwrap()).await, Ok(()));
}

#[tokio::test]
async fn a_redirect_to_a_metadata_address_is_an_answer_and_no_request() {
    let to = Answer::Redirect("http://169.254.169.254/latest/meta-data/".to_owned());
    let receiver = Receiver::start([to]).await;
    assert_eq!(attempt(&receiver.url(), PATIENT).await, AttemptResult::answered(302));
    assert_eq!((receiver.requests().len(), receiver.connections()), (1, 1));
}
