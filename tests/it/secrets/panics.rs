//! A panic in any surface or loop tells where it happened, and none of the data it happened over.
//!
//! The engine runs in a process of its own (this test binary again), with all its loops and the hook of the real binary.
//! Its clock panics with a planted secret in its words when the module under test reads it: a clock is the one part that
//! every surface and loop asks and that is handed in from outside.

use std::backtrace::Backtrace;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runhook::app::{Running, Start};
use runhook::model::time::{Clock, SystemClock, Timestamp};
use runhook::telemetry::{LogFormat, log_to_stderr, panics};
use serde_json::json;

use crate::support::home::Home;

const PLANTED: &str = "planted-in-a-panic-7f40";

/// Where it panics, in the child process.
const PLACE: &str = "PANIC_IN";

/// A method and a path.
type Asked = (&'static str, &'static str);

/// Modules that read the clock, the request that makes them do so if any does, and whether the process goes on.
const PLACES: [(&str, Option<Asked>, bool); 5] = [
    ("runhook::api::langsmith::", Some(("POST", "/runs")), true),
    ("runhook::api::native::", Some(("POST", "/v1/api-keys")), true),
    ("runhook::scheduler::", None, false),
    ("runhook::delivery::", None, false),
    ("runhook::retention::", None, false),
];

struct ClumsyClock(String);

impl Clock for ClumsyClock {
    fn now(&self) -> Timestamp {
        let asked_by = Backtrace::force_capture().to_string();
        assert!(!asked_by.contains(&self.0), "the clock stands still at {PLANTED}, {}", asked_by.len());
        SystemClock.now()
    }
}

/// The life of an engine that panics. Only for a process of its own.
#[expect(clippy::disallowed_methods, reason = "the process is told by its environment where to panic")]
#[test]
#[ignore = "it is run in a process of its own by the test below"]
fn an_engine_that_panics() {
    let place = std::env::var(PLACE).unwrap();
    let (_, request, goes_on) = PLACES.into_iter().find(|(module, ..)| *module == place).unwrap();
    panics::withhold();
    log_to_stderr("trace", LogFormat::Human).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let home = Home::embedded();
        let config = runhook::config::Config { listen: "127.0.0.1:0".parse().unwrap(), ..home.config() };
        let start =
            Start { config: &config, seed: None, variables: Arc::new(|_| None), clock: Arc::new(ClumsyClock(place)) };
        let running = Running::start(start).await.unwrap();
        if let Some((method, path)) = request {
            let body = json!({"name": "a", "run_type": "chain", "start_time": "2026-01-02T03:04:05Z"});
            let body = if path == "/runs" { body } else { json!({"name": "a"}) };
            let (status, answer) =
                running.engine().call(method, path, Some(Bytes::from(body.to_string()))).await.unwrap();
            println!("answered {status} {}", String::from_utf8_lossy(&answer));
        } else {
            running.failed().await;
            println!("the engine stops");
        }
        let stopped = running.stop(std::future::ready(())).await;
        println!("stopped: {stopped:?}");
        assert_eq!(stopped.is_ok(), goes_on);
    });
}

fn run_in(place: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = "secrets::panics::an_engine_that_panics";
    command.args([name, "--exact", "--ignored", "--nocapture"]).env(PLACE, place).env("RUST_BACKTRACE", "1");
    command.output().unwrap()
}

#[tokio::test]
async fn a_panic_in_any_surface_or_loop_says_where_and_not_over_what() {
    for (place, request, _) in PLACES {
        let child = tokio::task::spawn_blocking(move || run_in(place));
        let output = tokio::time::timeout(Duration::from_mins(2), child).await.unwrap().unwrap();
        let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{place}: {said}");
        assert!(said.contains("panic at tests/it/secrets/panics.rs:"), "{place} did panic, and says where: {said}");
        assert!(said.contains(place.trim_end_matches(':')), "the way to it is shown");
        assert!(!said.contains(PLANTED), "{place}: {said}");
        if request.is_some() {
            assert!(said.contains("answered 500") && said.contains("a request handler panicked"), "{place}: {said}");
        }
    }
}
