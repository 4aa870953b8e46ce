//! Many endpoints and many messages, and a server that is killed among them: nothing is lost, everything is signed, and the
//! order stays.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use futures_util::{StreamExt, stream};
use runhook::crypto::WebhookKey;
use runhook::model::id::MessageId;
use serde_json::{Value, json};

use super::{TOKEN, application, done, serve};
use crate::support::receiver::{Received, Receiver};
use crate::support::server::Server;

/// All of them hear of one type.
const ENDPOINTS: usize = 100;

fn secret(number: usize) -> String {
    format!("whsec_{number:032}")
}

/// Sends one message. Whoever kills the server in between takes the answer away, and nothing from a message that was
/// answered.
async fn send(http: &reqwest::Client, url: &str, number: usize) -> Option<String> {
    let body = json!({"eventType": "kept.safe", "payload": {"n": number}, "eventId": format!("m-{number}")});
    let request = http.post(format!("{url}/api/v1/app/many/msg")).bearer_auth(TOKEN).body(body.to_string());
    let answer = request.header("content-type", "application/json").send().await.ok()?;
    assert_eq!(answer.status().as_u16(), 202);
    let answer: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
    Some(answer["id"].as_str().unwrap().to_owned())
}

/// All pages of a list.
async fn listed(server: &Server, path: &str) -> Vec<Value> {
    let (mut found, mut iterator) = (Vec::new(), String::new());
    loop {
        let page = done(server, "GET", &format!("{path}&iterator={iterator}"), &Value::Null).await;
        found.extend(page["data"].as_array().unwrap().iter().cloned());
        if page["done"] == true {
            return found;
        }
        page["iterator"].as_str().unwrap().clone_into(&mut iterator);
    }
}

async fn uids(server: &Server, order: &str) -> Vec<String> {
    let found = listed(server, &format!("/api/v1/app/many/endpoint?limit=30&order={order}")).await;
    found.iter().map(|one| one["uid"].as_str().unwrap().to_owned()).collect()
}

fn verify(keys: &[WebhookKey], request: &Received) -> (MessageId, usize) {
    let number: usize = request.target.trim_start_matches("/e").parse().unwrap();
    let id: MessageId = request.header("webhook-id").parse().unwrap();
    let at = request.header("webhook-timestamp").parse().unwrap();
    assert_eq!(request.header("webhook-signature"), keys[number].sign(id, at, &request.body));
    (id, number)
}

/// Sends messages, kills the server when half of them are sent and something has arrived, and sends all of them again. Every
/// message gets to every endpoint, each time with its signature.
#[expect(clippy::print_stdout, reason = "this is what a measurement is for")]
async fn survive(messages: usize) {
    let mut receiver = Receiver::start([]).await;
    let server = serve();
    application(&server, "many").await;
    let keys: Vec<WebhookKey> =
        (0..ENDPOINTS).map(|number| WebhookKey::parse(&secret(number).into()).unwrap()).collect();
    for number in 0..ENDPOINTS {
        let url = format!("http://{}/e{number}", receiver.address());
        let uid = format!("e{number}");
        let endpoint = json!({"url": url, "uid": uid, "filterTypes": ["kept.safe"], "secret": secret(number)});
        done(&server, "POST", "/api/v1/app/many/endpoint", &endpoint).await;
    }
    let made: Vec<String> = (0..ENDPOINTS).map(|number| format!("e{number}")).collect();
    assert_eq!(uids(&server, "ascending").await, made);

    let (http, began) = (reqwest::Client::builder().no_proxy().build().unwrap(), Instant::now());
    let mut ids: BTreeMap<usize, String> = BTreeMap::new();
    let url = server.url.clone();
    let first = stream::iter(0..messages).map(|number| {
        let (http, url) = (&http, &url);
        async move { (number, send(http, url, number).await) }
    });
    let mut first = first.buffered(4);
    while let Some((number, id)) = first.next().await {
        ids.extend(id.map(|id| (number, id)));
        if number == messages / 2 {
            receiver.arrived(1).await;
            server.signal("KILL");
        }
    }
    let at_kill = receiver.requests().len();
    assert!(ids.len() >= messages / 2 && ids.len() < messages, "killed in the middle: {}", ids.len());
    assert!(at_kill > 0 && at_kill < ids.len() * ENDPOINTS, "killed while it sends: {at_kill}");
    let server = server.restart();
    for number in 0..messages {
        let id = send(&http, &server.url, number).await.unwrap();
        assert_eq!(ids.entry(number).or_insert_with(|| id.clone()), &id, "the same event is the same message");
    }

    let (mut heard, mut arrivals): (HashSet<(MessageId, usize)>, usize) = (HashSet::new(), 0);
    while heard.len() < messages * ENDPOINTS {
        let more = receiver.rest().await;
        arrivals += more.len();
        heard.extend(more.iter().map(|request| verify(&keys, request)));
    }
    let took = began.elapsed();
    let known: HashSet<MessageId> = ids.values().map(|id| id.parse().unwrap()).collect();
    assert_eq!(known.len(), messages);
    assert!(
        heard.iter().all(|(id, _)| known.contains(id)),
        "every message at every endpoint, and none that was not sent"
    );

    let mut descending = uids(&server, "descending").await;
    descending.reverse();
    assert_eq!(descending, made);
    let sent = listed(&server, "/api/v1/app/many/msg?limit=250").await;
    let place = |one: &Value| (one["timestamp"].as_str().unwrap().to_owned(), one["id"].as_str().unwrap().to_owned());
    assert!(sent.is_sorted_by(|newer, older| place(newer) > place(older)), "messages are listed newest first");
    let sent: HashSet<MessageId> = sent.iter().map(|one| one["id"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(sent, known);
    let count = messages * ENDPOINTS;
    println!("{count} deliveries in {took:?}, {at_kill} of them before the kill, {arrivals} requests in all");
}

#[tokio::test]
async fn what_a_hundred_endpoints_hear_survives_a_kill_and_the_order_stays() {
    survive(50).await;
}

#[tokio::test]
#[ignore = "a measurement: 100,000 deliveries (docs/performance.md)"]
async fn a_thousand_messages_to_a_hundred_endpoints_survive_a_kill_and_the_order_stays() {
    survive(1000).await;
}
