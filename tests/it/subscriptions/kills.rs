//! Many endpoints and many messages, and a server that is killed among them: nothing is lost, and the order stays.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use runhook::crypto::WebhookKey;
use runhook::model::id::MessageId;
use serde_json::{Value, json};

use super::{TOKEN, application, done, serve};
use crate::support::receiver::{Received, Receiver};
use crate::support::server::Server;

const ENDPOINTS: usize = 100;
const MESSAGES: usize = 1000;
/// So many endpoints hear each channel.
const HEAR: usize = 2;

fn secret(number: usize) -> String {
    format!("whsec_{number:032}")
}

/// Sends one message, again and again until it is taken: whoever kills the server in between takes nothing from it.
async fn send(http: &reqwest::Client, url: &str, number: usize) -> Option<String> {
    let channel = format!("c{}", number % (ENDPOINTS / HEAR));
    let body = json!({"eventType": "kept.safe", "payload": {"n": number}, "eventId": format!("m-{number}"), "channels": [channel]});
    let request = http.post(format!("{url}/api/v1/app/many/msg")).bearer_auth(TOKEN).body(body.to_string());
    let answer = request.header("content-type", "application/json").send().await.ok()?;
    assert_eq!(answer.status().as_u16(), 202);
    let answer: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
    Some(answer["id"].as_str().unwrap().to_owned())
}

async fn listed(server: &Server, order: &str) -> Vec<String> {
    let (mut uids, mut iterator) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/app/many/endpoint?limit=30&order={order}&iterator={iterator}");
        let page = done(server, "GET", &path, &Value::Null).await;
        uids.extend(page["data"].as_array().unwrap().iter().map(|one| one["uid"].as_str().unwrap().to_owned()));
        if page["done"] == true {
            return uids;
        }
        page["iterator"].as_str().unwrap().clone_into(&mut iterator);
    }
}

fn verify(request: &Received) -> (MessageId, usize) {
    let number: usize = request.target.trim_start_matches("/e").parse().unwrap();
    let id: MessageId = request.header("webhook-id").parse().unwrap();
    let at = request.header("webhook-timestamp").parse().unwrap();
    let key = WebhookKey::parse(&secret(number).into()).unwrap();
    assert_eq!(request.header("webhook-signature"), key.sign(id, at, &request.body));
    (id, number)
}

#[tokio::test]
async fn a_thousand_messages_to_a_hundred_endpoints_survive_a_kill_and_the_order_stays() {
    let mut receiver = Receiver::start([]).await;
    let server = serve();
    application(&server, "many").await;
    for number in 0..ENDPOINTS {
        let url = format!("http://{}/e{number}", receiver.address());
        let endpoint = json!({
            "url": url, "uid": format!("e{number}"), "filterTypes": ["kept.safe"], "secret": secret(number),
            "channels": [format!("c{}", number % (ENDPOINTS / HEAR))],
        });
        done(&server, "POST", "/api/v1/app/many/endpoint", &endpoint).await;
    }
    let made: Vec<String> = (0..ENDPOINTS).map(|number| format!("e{number}")).collect();
    assert_eq!(listed(&server, "ascending").await, made);

    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut ids: BTreeMap<usize, String> = BTreeMap::new();
    let url = server.url.clone();
    let first = stream::iter(0..MESSAGES).map(|number| {
        let (http, url) = (&http, &url);
        async move { (number, send(http, url, number).await) }
    });
    let mut first = first.buffered(16);
    while let Some((number, id)) = first.next().await {
        ids.extend(id.map(|id| (number, id)));
        if number == MESSAGES / 2 {
            server.signal("KILL");
        }
    }
    assert!(ids.len() >= MESSAGES / 2 && ids.len() < MESSAGES, "killed in the middle: {}", ids.len());
    let server = server.restart();
    for number in 0..MESSAGES {
        let id = send(&http, &server.url, number).await.unwrap();
        assert_eq!(ids.entry(number).or_insert_with(|| id.clone()), &id, "the same event is the same message");
    }

    let mut heard: BTreeSet<(MessageId, usize)> = BTreeSet::new();
    while heard.len() < MESSAGES * HEAR {
        heard.insert(verify(&receiver.next().await));
    }
    for (number, id) in &ids {
        let id: MessageId = id.parse().unwrap();
        for step in 0..HEAR {
            let endpoint = number % (ENDPOINTS / HEAR) + step * (ENDPOINTS / HEAR);
            assert!(heard.contains(&(id, endpoint)), "message {number} at endpoint {endpoint}");
        }
    }
    let mut descending = listed(&server, "descending").await;
    descending.reverse();
    assert_eq!(descending, made);
}
