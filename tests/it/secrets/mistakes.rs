//! Mistakes around secrets, and parts that fail while they hold some: what the process says then repeats none.

use std::fs;
use std::process::Output;
use std::sync::Arc;

use crate::support::home::Home;
use crate::support::receiver::nobody;
use crate::support::server::{Server, Settings, runhook};

/// Each is planted in a place of its own.
const DATABASE: &str = "planted-database-7f50";
const S3: &str = "planted-s3-7f51";
const PROXY: &str = "planted-proxy-7f52";
const SERVER: &str = "planted-server-7f53";
const API_KEY: &str = "planted-api-key-7f54";
const VARIABLE: &str = "planted-variable-7f55";
const SEALING: &str = "planted-sealing-7f56";
const BLOB: &str = "planted-blob-7f57";
const SIGNING: &str = "planted-signing-7f58";

const PLANTED: [&str; 9] = [DATABASE, S3, PROXY, SERVER, API_KEY, VARIABLE, SEALING, BLOB, SIGNING];

fn search(place: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned();
    for secret in PLANTED {
        assert!(!said.contains(secret), "{secret} is told by {place}: {said}");
    }
    said
}

/// The command with secrets all around it and the most verbose log, on a home where they are wrong.
fn run(home: &Home, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = runhook();
    command.current_dir(home.path()).args(arguments).env("RUNHOOK_LOG", "trace").env("RUST_BACKTRACE", "1");
    command.env("RUNHOOK_API_KEY", API_KEY).env("TOKEN", VARIABLE).envs(environment.iter().copied());
    let proxy = format!("http://user:{PROXY}@127.0.0.1:1");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"] {
        command.env(name, &proxy);
    }
    command.env("AWS_ACCESS_KEY_ID", "AKIDTEST").env("AWS_SECRET_ACCESS_KEY", S3).env("AWS_REGION", "eu-test-1");
    command.output().unwrap()
}

#[tokio::test]
async fn a_start_that_fails_tells_no_secret() {
    let (home, nobody) = (Home::embedded(), nobody().await.to_string());
    let database = format!("postgres://user:{DATABASE}@{nobody}/runs?connect_timeout=1");
    let unreadable = format!("postgres://user:{DATABASE}@[::/runs");
    let blobs = format!("s3://user:{BLOB}@bucket/prefix");
    let bucket = format!("s3://runs/prefix?endpoint=http://{nobody}&region=eu-test-1");
    let keys = home.path().join("keys");
    fs::write(&keys, format!("1:{SEALING}\n")).unwrap();
    let keys = keys.to_str().unwrap();
    let good = home.path().join("good");
    fs::write(&good, runhook::crypto::Keyring::line(1, &[3; 32]).as_str()).unwrap();
    let good = good.to_str().unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    for (place, more, environment) in [
        (
            "a database that is away",
            vec!["--key-file", good, "--blob-url", "dir:blobs"],
            vec![("RUNHOOK_DATABASE_URL", database.as_str())],
        ),
        ("a database URL that is none", vec![], vec![("RUNHOOK_DATABASE_URL", unreadable.as_str())]),
        ("a blob URL with credentials", vec![], vec![("RUNHOOK_BLOB_URL", blobs.as_str())]),
        ("a key file that is none", vec!["--key-file", keys], vec![]),
        ("an API key that is too short", vec![], vec![("RUNHOOK_API_KEY", "planted")]),
        ("a log filter that is none", vec!["--log", "=,=trace"], vec![]),
    ] {
        let output = run(&home, &[serve.as_slice(), more.as_slice()].concat(), &environment);
        let said = search(place, &output);
        assert!(!output.status.success() && said.contains("error: "), "{place}: {said}");
    }
    let doctor = run(&home, &["doctor"], &[("RUNHOOK_BLOB_URL", &bucket)]);
    search("the doctor, of a bucket that is away", &doctor);
    assert!(!doctor.status.success());
}

#[tokio::test]
async fn a_configuration_that_is_wrong_tells_none_of_its_secrets() {
    let home = Home::embedded();
    for (name, text) in [
        ("unknown key", format!("database_url: postgres://u:{DATABASE}@h/d\nlisten: 127.0.0.1:0\nnonsense: 1\n")),
        ("wrong value", format!("database_url: \"mysql://u:{DATABASE}@h/d\"\n")),
        ("wrong type", format!("database_url: [postgres://u:{DATABASE}@h/d]\n")),
        ("wrong syntax", format!("database_url: postgres://u:{DATABASE}@h/d\n  listen: {{\n")),
        ("an unknown variable", format!("database_url: postgres://u:{DATABASE}@${{NOWHERE}}/d\n")),
        ("a variable", "listen: ${TOKEN}\n".to_owned()),
    ] {
        fs::write(home.path().join("wrong.yaml"), text).unwrap();
        let output = run(&home, &["serve", "--config", "wrong.yaml"], &[]);
        let said = search(name, &output);
        assert!(!output.status.success() && said.contains("wrong.yaml"), "{name}: {said}");
    }
}

#[tokio::test]
async fn rules_that_are_wrong_tell_none_of_their_secrets() {
    let home = Home::embedded();
    let rule = |rest: &str| format!("version: 1\nrules:\n  - key: a\n    project: p\n    webhooks:\n{rest}");
    for (name, text) in [
        ("a URL", rule("      - url: \"${TOKEN}\"\n")),
        ("a header", rule("      - url: https://h.example/x\n        headers: { \"a b\": \"${TOKEN}\" }\n")),
        ("a query", rule("      - url: https://h.example/x\n        query: { \"\": \"${TOKEN}\" }\n")),
        (
            "a signing secret",
            rule(&format!("      - url: https://h.example/x\n        signing_secret: \"{SIGNING}\"\n")),
        ),
        ("a signing variable", rule("      - url: https://h.example/x\n        signing_secret: \"${TOKEN}\"\n")),
        ("a filter", rule("      - url: https://h.example/x\n    filter: eq(${TOKEN}\n")),
    ] {
        fs::write(home.path().join("wrong.yaml"), text).unwrap();
        for command in ["check", "plan", "apply"] {
            let output = run(&home, &["rules", command, "wrong.yaml"], &[("RUNHOOK_API_KEY", "")]);
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            // A literal in the file is the file's own text, which is shown with a caret; what it stands for is not.
            let told: Vec<&str> = PLANTED.into_iter().filter(|secret| said.contains(secret)).collect();
            assert!(told.is_empty() || (told == [SIGNING] && name == "a signing secret"), "{command} {name}: {said}");
        }
    }
}

#[tokio::test]
async fn commands_that_reach_no_server_tell_no_secret() {
    let (home, nobody) = (Home::embedded(), nobody().await.to_string());
    let (local, proxied) = (format!("http://user:{SERVER}@{nobody}"), format!("http://user:{SERVER}@h.invalid"));
    for arguments in [
        ["rules", "list"],
        ["runs", "list"],
        ["deliveries", "list"],
        ["endpoints", "list"],
        ["keys", "list"],
        ["api-keys", "list"],
    ] {
        for server in
            [local.as_str(), proxied.as_str(), "http://user:planted-server-7f53@[::", "ftp://planted-server-7f53@h"]
        {
            let output = run(&home, &arguments, &[("RUNHOOK_SERVER", server)]);
            search(&arguments.join(" "), &output);
            assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[tokio::test]
async fn a_bucket_that_fails_under_a_server_and_bodies_that_are_none_tell_no_secret() {
    let home = Arc::new(Home::new());
    let nobody = nobody().await;
    let settings = Settings::default()
        .env("RUNHOOK_LOG", "trace")
        .env("RUNHOOK_API_KEY", API_KEY)
        .env("AWS_ACCESS_KEY_ID", "AKIDTEST")
        .env("AWS_SECRET_ACCESS_KEY", S3)
        .env("AWS_REGION", "eu-test-1")
        .env("RUNHOOK_BLOB_URL", &format!("s3://runs/prefix?endpoint=http://{nobody}&region=eu-test-1"));
    let server = Server::start_in(home, settings).unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let large = serde_json::json!({"name": "a", "run_type": "chain", "start_time": "2026-01-02T03:04:05Z",
        "inputs": {"text": "x".repeat(2_000_000)}});
    for (path, body) in [("/runs", large.to_string()), ("/runs", "{".to_owned()), ("/v1/rules/apply", "{".to_owned())] {
        let request = http.post(format!("{}{path}", server.url)).header("x-api-key", API_KEY);
        let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
        assert!(answer.status().as_u16() >= 400, "{path}: {}", answer.status());
        let text = answer.text().await.unwrap();
        assert!(PLANTED.iter().all(|secret| !text.contains(secret)), "{path}: {text}");
    }
    let (_, log) = server.stop();
    for secret in PLANTED {
        assert!(!log.contains(secret), "{secret} is told by the log");
    }
}
