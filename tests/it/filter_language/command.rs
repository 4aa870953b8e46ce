//! `runhook filter`, and the API under it.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::server::{Server, Settings, runhook};

fn shown(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn check<const N: usize>(arguments: [&str; N]) -> (i32, String, String) {
    shown(&runhook().args(["filter", "check"]).args(arguments).output().unwrap())
}

fn run(number: u8, name: &str, parent: Option<u8>, more: &Value) -> Value {
    let id = |number: u8| format!("0195c0de-0000-7000-8000-0000000000{number:02}");
    let path = |number: u8| format!("20261122T08000{number}000000Z{}", id(number));
    let mut run = json!({
        "id": id(number), "name": name, "run_type": "chain", "session_name": "tried",
        "trace_id": id(parent.unwrap_or(number)),
        "dotted_order": parent.map_or_else(|| path(number), |parent| format!("{}.{}", path(parent), path(number))),
        "parent_run_id": parent.map(id),
        "start_time": format!("2026-11-22T08:00:0{number}Z"), "end_time": "2026-11-22T08:01:00Z",
        "inputs": {"q": "why"}, "outputs": {},
    });
    run.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    run
}

fn runs() -> Vec<Value> {
    vec![
        run(1, "agent", None, &json!({})),
        run(2, "search", Some(1), &json!({"error": "timeout"})),
        run(3, "llm", Some(1), &json!({"outputs": {"usage_metadata": {"input_tokens": 30, "output_tokens": 12}}})),
        run(4, "agent", None, &json!({"tags": ["beta"]})),
        run(5, "agent", None, &json!({"end_time": null})),
    ]
}

fn names(answer: &Value) -> Vec<String> {
    let id = |run: &Value| run["id"].as_str().unwrap().split_at(34).1.to_owned();
    answer["matched"].as_array().unwrap().iter().map(id).collect()
}

#[test]
fn check_prints_the_canonical_form_or_all_problems() {
    let (code, out, _) = check(["EQ( 'name' ,agent )"]);
    assert_eq!((code, out.as_str()), (0, "ok  eq(name, \"agent\")\n"));
    let (code, out, _) = check(["eq(nmae, \"a\")", "eq(name, \"a\")", "gt(latency, true)"]);
    assert_eq!(code, 1);
    for part in ["did you mean `name`?", " --> filter:1:4\n", "ok  eq(name, \"a\")", "`latency` is a duration"] {
        assert!(out.contains(part), "{part} is not in\n{out}");
    }
    assert_eq!(check([]).0, 2);
}

#[test]
fn check_warns_of_what_the_hosted_service_refuses_when_asked() {
    let text = "not(has(tags, \"a\"))";
    assert!(!check([text]).1.contains("hosted"));
    let (code, out, _) = check(["--strict", text]);
    assert_eq!(code, 0);
    assert!(out.contains("warning[hosted-refuses]: the hosted service refuses `not` on runs"), "{out}");
    let (code, out, _) = check(["--strict", "--json", text, "eq("]);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &document["ok"]), (1, &json!(false)));
    assert_eq!(document["filters"][0]["problems"][0]["code"], "hosted-refuses");
    assert_eq!(document["filters"][1]["ok"], false);
}

#[tokio::test]
async fn a_filter_is_tried_on_stored_runs_as_a_rule_would_try_it() {
    let server = Server::start(Settings::default());
    let (status, _) = server.call("POST", "/runs/batch", Some(&json!({"post": runs(), "patch": []}))).await;
    assert_eq!(status, 202);
    let tried = async |body: Value| {
        let (status, answer) = server.call("POST", "/v1/filter/match", Some(&body)).await;
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let answer = tried(json!({"filter": "eq(name, \"agent\")"})).await;
    assert_eq!(names(&answer), ["04", "01"], "newest first, and the unfinished run is left out");
    assert_eq!((&answer["scanned"], &answer["complete"]), (&json!(5), &json!(true)));
    assert_eq!(answer["matched"][0]["name"], "agent");
    assert_eq!(names(&tried(json!({"filter": "eq(status, \"pending\")"})).await), ["05"]);
    assert_eq!(names(&tried(json!({"tree_filter": "eq(status, \"error\")"})).await), ["03", "02", "01"]);
    let body = json!({"filter": "eq(status, \"error\")", "trace_filter": "has(tags, \"beta\")", "project": "tried"});
    assert_eq!(names(&tried(body).await), [""; 0]);
    let answer = tried(json!({"filter": "and(eq(is_root, true), gt(total_tokens, 40))"})).await;
    assert_eq!(names(&answer), ["01"], "tokens are summed over the tree");
    assert_eq!(names(&tried(json!({"filter": "", "limit": 2})).await).len(), 2);

    let (status, problem) = server.call("POST", "/v1/filter/match", Some(&json!({"filter": "eq(nmae, 1)"}))).await;
    assert_eq!((status, &problem["code"]), (422, &json!("invalid")));
    assert_eq!(problem["problems"][0]["span"], json!({"start": 3, "end": 7}));
    let body = json!({"filter": "", "project": "nowhere"});
    assert_eq!(server.call("POST", "/v1/filter/match", Some(&body)).await.0, 404);
    let (status, problem) = server.call("POST", "/v1/filter/match", Some(&json!({"filtre": ""}))).await;
    assert_eq!(status, 400, "{problem}");

    let output = server.run(["filter", "match", "eq(name, \"search\")", "--tree-filter", "eq(name, \"agent\")"]);
    let (code, out, err) = shown(&output);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("search") && out.ends_with("1 of 5 runs matches\n"), "{out}");
    let (code, _, err) = shown(&server.run(["filter", "match", "eq(nmae, \"a\")"]));
    assert!(code == 1 && err.contains("did you mean `name`?"), "{err}");
}

#[test]
fn a_filter_is_tried_on_the_runs_of_a_file_without_storing_them() {
    let server = Server::start(Settings::default());
    let file = server.home().path().join("runs.jsonl");
    let mut lines: Vec<String> = runs().iter().map(Value::to_string).collect();
    lines.push("{\"id\": \"0195c0de-0000-7000-8000-000000000009\", \"name\": \"no start\"}".to_owned());
    fs::write(&file, lines.join("\n\n")).unwrap();
    let path = file.to_str().unwrap();
    let (code, out, err) = shown(&server.run([
        "filter",
        "match",
        "eq(name, \"llm\")",
        "--runs",
        path,
        "--tree-filter",
        "neq(error, null)",
    ]));
    assert_eq!(code, 1, "one run could not be read");
    assert!(out.ends_with("1 of 5 runs matches\n"), "{out}{err}");
    assert!(err.contains("runs[5]") && err.contains("start_time"), "{err}");

    fs::write(&file, json!(runs()).to_string()).unwrap();
    let (code, out, err) = shown(&server.run(["filter", "match", "--json", "eq(feedback_key, \"a\")", "--runs", path]));
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &document["scanned"]), (0, &json!(5)), "{err}");
    assert_eq!(document["warnings"][0]["code"], "no-feedback");

    let (_, out, _) = shown(&server.run(["filter", "match", ""]));
    assert_eq!(out, "0 of 0 runs match\n", "nothing was stored");
    fs::write(&file, "{\n").unwrap();
    let (code, _, err) = shown(&server.run(["filter", "match", "", "--runs", path]));
    assert!(code == 3 && err.contains("line 1 is not JSON"), "{code} {err}");
}
