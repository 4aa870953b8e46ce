//! What would be sent, and what comes of it when it is.

use serde_json::{Value, json};

use super::{SECRET, expected, next, post, run};
use crate::support::receiver::{Answer, Receiver};
use crate::support::server::{Server, Settings};

fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A server with an endpoint `oncall` that leads to this receiver.
async fn serving(receiver: &Receiver, more: Value) -> Server {
    let server = Server::start(Settings::with(["--allow-targets", "127.0.0.1"]));
    let mut endpoint = json!({
        "key": "oncall", "url": receiver.url(), "format": "standard", "signing_secret": SECRET,
        "headers": {"X-Token": "planted-token"}, "query": {"secret": "planted-secret"},
    });
    endpoint.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post(&server, "/v1/endpoints", &endpoint).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_sends_what_a_delivery_would_and_tells_what_came_of_it() {
    let echo = format!("no thanks, planted-token and {SECRET}");
    let mut receiver = Receiver::start([Answer::Body(503, echo), Answer::Status(204)]).await;
    let server = serving(&receiver, json!({})).await;
    let told = post(&server, "/v1/endpoints/oncall/test", &Value::Null).await;
    let sent = next(&mut receiver).await;
    assert_eq!(sent.header("webhook-signature"), expected(SECRET, &sent));
    assert_eq!((sent.header("x-token"), sent.target.as_str()), ("planted-token", "/hook?secret=planted-secret"));
    assert_eq!((&sent.json()["type"], &sent.json()["data"]["project"]), (&json!("runs.matched"), &json!("sample")));
    assert_eq!(told["message_id"], sent.header("webhook-id"));
    assert_eq!((&told["ok"], &told["result"]["status"]), (&json!(false), &json!(503)));
    assert_eq!(told["result"]["excerpt"], "no thanks, ******** and ********");
    assert_eq!(told["request"]["bytes"], sent.body.len());
    let url = format!("http://{}/…?secret=********", receiver.address());
    assert_eq!((&told["request"]["method"], &told["request"]["url"]), (&json!("POST"), &json!(url)));
    let headers = told["request"]["headers"].as_array().unwrap();
    assert!(headers.contains(&json!("x-token")) && headers.contains(&json!("webhook-signature")), "{told:#}");
    assert!(!told.to_string().contains("planted") && !told.to_string().contains("MfKQ"), "{told:#}");

    let output = server.run(["endpoints", "test", "oncall"]);
    assert!(output.status.success() && said(&output).contains("answered 204 after"), "{}", said(&output));
    let (_, deliveries) = server.call("GET", "/v1/deliveries", None).await;
    assert_eq!(deliveries["deliveries"], json!([]), "a test is no delivery");
    let (_, log) = server.stop();
    assert!(!log.contains("planted"), "{log}");
}

#[tokio::test]
async fn a_test_of_a_target_that_is_not_allowed_sends_nothing() {
    let receiver = Receiver::start([]).await;
    let server = serving(&receiver, json!({})).await;
    let home = server.kill9();
    let server = Server::start_in(home, Settings::default()).unwrap();
    let output = server.run(["endpoints", "test", "oncall"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("not sent: "), "{}", said(&output));
    assert_eq!(receiver.requests().len(), 0);
}

#[tokio::test]
async fn a_template_is_previewed_of_a_sample_or_of_a_run() {
    let receiver = Receiver::start([]).await;
    let template = "{\n  \"text\": {{ text(project, ': ', runs[0].name) }},\n  \"key\": {{ secrets.key }}\n}";
    let more = json!({"format": "template", "template": template, "secrets": {"key": "planted-key"}});
    let server = serving(&receiver, more).await;
    let sample = post(&server, "/v1/endpoints/oncall/preview", &Value::Null).await;
    assert_eq!(sample["body"], "{\n  \"text\": \"sample: answer\",\n  \"key\": \"********\"\n}");
    assert_eq!((&sample["ok"], &sample["error"]), (&json!(true), &Value::Null));
    run(&server, 1).await;
    let id = "0195c0de-0000-7000-8000-000000000001";
    let output = server.run(["endpoints", "preview", "oncall", "--run", id]);
    assert!(output.status.success() && said(&output).contains("\"text\": \"p: agent\""), "{}", said(&output));
    let nobody = json!({"run_id": "0195c0de-0000-7000-8000-000000000009"});
    assert_eq!(server.call("POST", "/v1/endpoints/oncall/preview", Some(&nobody)).await.0, 404);

    let file = server.home().path().join("other.json");
    std::fs::write(&file, "{\n\"a\": {{ project }}\n\"b\": 1}").unwrap();
    let wrong = server.run(["endpoints", "preview", "oncall", "--template", file.to_str().unwrap()]);
    assert_eq!(wrong.status.code(), Some(1), "{}", said(&wrong));
    assert!(said(&wrong).contains("   3 \"b\": 1}") && said(&wrong).contains("at line 3"), "{}", said(&wrong));
    std::fs::write(&file, "{\n{{ nothing.at.all }}}").unwrap();
    let wrong = server.run(["endpoints", "preview", "oncall", "--template", file.to_str().unwrap()]);
    assert!(said(&wrong).contains("line 2 of the template"), "{}", said(&wrong));
    assert_eq!(receiver.requests().len(), 0, "nothing is sent");
}

#[tokio::test]
async fn endpoints_are_made_changed_and_deleted_from_the_command_line() {
    let server = Server::start(Settings::default());
    let create = ["endpoints", "create", "oncall", "--url", "https://h.example/${HUSH}", "--header", "X-Token=${HUSH}"];
    let created = server.command(create).env("HUSH", "planted").output().unwrap();
    assert!(created.status.success() && said(&created).contains("https://h.example/…"), "{}", said(&created));
    let unset = server.run(["endpoints", "create", "b", "--url", "https://h.example/${RUNHOOK_NO_SUCH_VARIABLE}"]);
    assert!(said(&unset).contains("the variable RUNHOOK_NO_SUCH_VARIABLE is not set"), "{}", said(&unset));
    let updated = server.run(["endpoints", "update", "oncall", "--timeout", "7s", "--unset", "headers.X-Token"]);
    assert!(updated.status.success() && said(&updated).contains("7s"), "{}", said(&updated));
    assert!(!said(&updated).contains("X-Token"), "{}", said(&updated));
    let listed = server.run(["endpoints", "list"]);
    assert!(said(&listed).contains("oncall") && said(&listed).contains("the API"), "{}", said(&listed));
    let deleted = server.run(["endpoints", "delete", "oncall"]);
    assert!(deleted.status.success() && said(&deleted).contains("deleted oncall"), "{}", said(&deleted));
    assert_eq!(server.run(["endpoints", "show", "oncall"]).status.code(), Some(1));
    let all = [said(&created), said(&updated), said(&listed), server.stop().1].concat();
    assert!(!all.contains("planted"), "{all}");
}
