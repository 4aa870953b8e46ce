//! How soon: measurements, which print what they found. What they hang on is proved elsewhere, without a clock
//! (`deliveries::subscribed`, `store`).

use std::time::{Duration, Instant};

use runhook::model::id::TenantId;
use serde_json::{Value, json};

use super::{TOKEN, application, done, serve};
use crate::support::receiver::{Answer, Receiver};
use crate::support::server::Server;

/// What users are promised of either.
const PROMISED: Duration = Duration::from_millis(100);

/// Prints times, and gives the one that 99 in 100 keep.
#[expect(clippy::print_stdout, reason = "this is what a measurement is for")]
fn told(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!("{what}: median {:?}, 99 % {:?}, longest {:?} of {}", at(50), at(99), at(100), times.len());
    at(99)
}

#[tokio::test]
#[ignore = "a measurement (docs/performance.md)"]
async fn what_was_sent_is_listed_in_a_moment_after_its_answer() {
    let server = serve();
    let mut receiver = Receiver::start([Answer::Body(200, "OK".into())]).await;
    application(&server, "a").await;
    done(&server, "POST", "/api/v1/app/a/endpoint", &json!({"url": receiver.url(), "uid": "e"})).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let (mut times, url) = (Vec::new(), format!("{}/api/v1/app/a/attempt/endpoint/e?limit=1", server.url));
    for number in 0..200 {
        let body = json!({"eventType": "x.y", "payload": {"n": number}});
        let sent = done(&server, "POST", "/api/v1/app/a/msg", &body).await;
        receiver.next().await;
        let answered = Instant::now();
        loop {
            let page = http.get(&url).bearer_auth(TOKEN).send().await.unwrap().bytes().await.unwrap();
            let page: Value = serde_json::from_slice(&page).unwrap();
            if page["data"][0]["msgId"] == sent["id"] {
                break;
            }
        }
        times.push(answered.elapsed());
    }
    assert!(told("listed after the answer", times) < PROMISED);
}

async fn filled(server: &Server, receiver: &mut Receiver) {
    application(server, "a").await;
    done(server, "POST", "/api/v1/app/a/endpoint", &json!({"url": receiver.url()})).await;
    done(server, "POST", "/api/v1/event-type", &json!({"name": "x.y", "description": ""})).await;
    for number in 0..5 {
        let body = json!({"eventType": "x.y", "payload": {"n": number}});
        done(server, "POST", "/api/v1/app/a/msg", &body).await;
        receiver.next().await;
    }
}

#[tokio::test]
#[ignore = "a measurement (docs/performance.md)"]
async fn a_small_tenant_is_wiped_in_a_moment() {
    let server = serve();
    let mut receiver = Receiver::start([]).await;
    let tenant = TenantId::DEFAULT.to_string();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let (mut by_server, mut in_all) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        filled(&server, &mut receiver).await;
        let body = json!({"yes": true, "tenant": tenant}).to_string();
        let request = http.post(format!("{}/v1/wipe", server.url)).bearer_auth(TOKEN).body(body);
        let began = Instant::now();
        let answer = request.header("content-type", "application/json").send().await.unwrap();
        by_server.push(began.elapsed());
        assert_eq!(answer.status().as_u16(), 200);
        filled(&server, &mut receiver).await;
        let began = Instant::now();
        let wiped = server.run(["wipe", "--yes", "--tenant", &tenant, "--api-key", TOKEN]);
        in_all.push(began.elapsed());
        assert!(wiped.status.success(), "{}", String::from_utf8_lossy(&wiped.stderr));
    }
    let by_server = told("wiped by the server", by_server);
    assert!(told("wiped by the command, from its start to its end", in_all) < PROMISED && by_server < PROMISED);
}
