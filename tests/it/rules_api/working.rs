//! How rules of the API work: they notify, look back, can be triggered, and say what they did.

use serde_json::{Value, json};

use super::{Desk, PATIENCE, ids, next, text};
use crate::support::receiver::Receiver;

#[tokio::test]
async fn a_rule_notifies_and_its_log_says_so_run_by_run() {
    let mut receiver = Receiver::start([]).await;
    let desk = Desk::open().await;
    let rule = desk.rule(&json!({"webhooks": [{"url": receiver.url()}], "filter": "neq(name, \"run 2\")"})).await;
    let path = format!("/runs/rules/{}", text(&rule["id"]));
    assert_eq!(desk.server.call("GET", &format!("{path}/last_applied"), None).await.0, 404);
    let first = desk.send(1).await;
    desk.trigger(&rule).await;
    let request = next(&mut receiver).await;
    assert_eq!((ids(&request), &request.json()["rule_id"]), (vec![first.clone()], &rule["id"]));
    let log = desk.log(&rule, 1).await;
    let row = &log[0];
    assert_eq!((&row["run_id"], &row["run_name"], &row["run_type"]), (&json!(first), &json!("run 1"), &json!("chain")));
    assert_eq!((&row["run_session_id"], &row["webhooks"]["outcome"]), (&json!(desk.session), &json!("success")));
    assert_eq!((&row["start_time"], &row["end_time"]), (&request.json()["start_time"], &request.json()["end_time"]));
    assert_eq!(desk.server.call("GET", &format!("{path}/last_applied"), None).await.1, *row);
    // The next window would be due a minute after the first.
    desk.send(2).await;
    let third = desk.send(3).await;
    assert_eq!(desk.server.call("POST", &format!("{path}/trigger"), None).await.0, 200);
    assert_eq!(ids(&next(&mut receiver).await), std::slice::from_ref(&third));
    let (_, page) = desk.server.call("GET", &format!("{path}/logs/v2?limit=1"), None).await;
    assert_eq!((&page["logs"][0]["run_id"], &page["has_more"]), (&json!(third), &json!(true)), "{page}");
    let (_, rest) =
        desk.server.call("GET", &format!("{path}/logs/v2?limit=1&cursor={}", text(&page["cursor"])), None).await;
    assert_eq!((&rest["logs"][0]["run_id"], &rest["has_more"]), (&json!(first), &json!(false)), "{rest}");
    let (status, _) = desk.server.call("GET", &format!("{path}/logs/v2?cursor=x"), None).await;
    assert_eq!(status, 422);
}

#[tokio::test]
async fn a_rule_looks_back_as_far_as_it_is_told_and_says_how_far_it_has_come() {
    let mut receiver = Receiver::start([]).await;
    let desk = Desk::open().await;
    let (one, two) = (desk.send(1).await, desk.send(2).await);
    let more = json!({"webhooks": [{"url": receiver.url()}], "backfill_from": "2026-01-01T00:00:00Z"});
    let rule = desk.rule(&more).await;
    assert_eq!(ids(&next(&mut receiver).await), [one, two]);
    let look = async {
        loop {
            let shown = desk.listed(&rule["id"]).await;
            if shown["backfill_status"] == "completed" {
                return shown;
            }
        }
    };
    let shown: Value = tokio::time::timeout(PATIENCE, look).await.unwrap();
    assert_eq!((&shown["backfill_progress"], &shown["backfill_id"]), (&json!(1.0), &rule["backfill_id"]));
    let log = desk.log(&rule, 2).await;
    assert_eq!(log.len(), 2);
    let path = format!("/runs/rules/{}/logs?backfill=", text(&rule["id"]));
    let count =
        async |backfill| desk.server.call("GET", &format!("{path}{backfill}"), None).await.1.as_array().unwrap().len();
    assert_eq!((count("true").await, count("false").await), (2, 0));
}

#[tokio::test]
async fn a_rule_follows_its_session_to_another_name() {
    let mut receiver = Receiver::start([]).await;
    let desk = Desk::open().await;
    let rule = desk.rule(&json!({"webhooks": [{"url": receiver.url()}]})).await;
    let path = format!("/sessions/{}", desk.session);
    assert_eq!(desk.server.call("PATCH", &path, Some(&json!({"name": "renamed"}))).await.0, 200);
    // The old name is another session's now, which the rule does not watch.
    desk.send(1).await;
    assert_eq!(desk.listed(&rule["id"]).await["session_name"], "renamed");
    let run = json!({
        "id": "0195c0de-0000-7000-8000-000000000009", "session_name": "renamed", "name": "moved", "run_type": "chain",
        "start_time": "2026-11-22T08:00:00Z", "end_time": "2026-11-22T08:00:01Z",
    });
    assert_eq!(desk.server.call("POST", "/runs", Some(&run)).await.0, 202);
    desk.trigger(&rule).await;
    assert_eq!(ids(&next(&mut receiver).await), ["0195c0de-0000-7000-8000-000000000009"]);
}

#[tokio::test]
async fn a_disabled_rule_rests_and_an_enabled_one_sees_what_comes_after() {
    let mut receiver = Receiver::start([]).await;
    let desk = Desk::open().await;
    let rule = desk.rule(&json!({"webhooks": [{"url": receiver.url()}], "is_enabled": false})).await;
    desk.send(1).await;
    let enabled = json!({"display_name": "Told", "sampling_rate": 1, "is_enabled": true});
    assert_eq!(desk.change(&rule, &enabled).await.1["is_enabled"], true);
    let two = desk.send(2).await;
    desk.trigger(&rule).await;
    assert_eq!(ids(&next(&mut receiver).await), [two]);
}
