//! The container and the compose file: started as they say, replicas take traffic and find themselves well.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::deployment::{API_KEY, KEYS, Stage, are_read, document, stop_within, strings, succeeds, text};
use crate::support::postgres::Database;

/// What the one who deploys fills in.
const FILLED_IN: [(&str, &str); 4] = [
    ("POSTGRES_PASSWORD", "postgres-password"),
    ("S3_PASSWORD", "s3-password"),
    ("RUNHOOK_API_KEY", API_KEY),
    ("RUNHOOK_WEBHOOK_URL", "https://hooks.example.com/x"),
];

/// `${NAME:?message}` as compose reads it.
fn interpolated(value: &str) -> String {
    let Some((before, rest)) = value.split_once("${") else { return value.to_owned() };
    let (inside, after) = rest.split_once('}').unwrap();
    let (name, message) = inside.split_once(":?").expect("an empty secret must stop the start");
    assert!(!message.is_empty());
    let (_, filled_in) = FILLED_IN.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}"));
    format!("{before}{filled_in}{}", interpolated(after))
}

fn items(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// The variables that the image sets.
fn of_the_image() -> BTreeMap<String, String> {
    let dockerfile = text("Dockerfile");
    let set = dockerfile.lines().filter_map(|line| line.strip_prefix("ENV ")).flat_map(|rest| rest.split(' '));
    set.map(|pair| pair.split_once('=').unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
}

/// The last instruction of the Dockerfile by this name, or the command of the health check, as the list that it is.
fn instruction(name: &str) -> Vec<String> {
    let dockerfile = text("Dockerfile");
    let mut lists = dockerfile.lines().filter_map(|line| line.strip_prefix(name)).map(str::trim);
    serde_json::from_str(lists.next_back().unwrap()).unwrap()
}

/// The environment of a replica: the image's, and over it the service's.
fn environment(service: &Value) -> BTreeMap<String, String> {
    let mut environment = of_the_image();
    environment.extend(strings(&service["environment"]).into_iter().map(|(name, value)| (name, interpolated(&value))));
    environment
}

#[test]
fn everything_that_is_set_is_read_and_a_container_is_given_longer_than_a_stop_takes() {
    let compose = document("compose.yaml");
    let service = &compose["services"]["runhook"];
    are_read(environment(service).keys(), "compose.yaml");
    let patience: u64 = service["stop_grace_period"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
    assert!(patience > stop_within());
    for (name, service) in compose["services"].as_object().unwrap() {
        if service["image"].as_str().unwrap().starts_with("runhook:") {
            assert_eq!(service["image"], format!("runhook:{}", env!("CARGO_PKG_VERSION")));
            assert_eq!((&service["read_only"], &service["cap_drop"][0]), (&Value::Bool(true), &"ALL".into()), "{name}");
        }
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let is_secret = ["PASSWORD", "KEY", "SECRET"].iter().any(|word| variable.ends_with(word));
            let value = value.as_str().unwrap();
            assert!(!is_secret || value.starts_with("${"), "{name} holds the secret {variable}");
        }
    }
    let example = text("compose.env.example");
    let mut named: Vec<&str> = example.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let mut filled_in = FILLED_IN.map(|(name, _)| name);
    named.sort_unstable();
    filled_in.sort_unstable();
    assert_eq!(named, filled_in);
    assert!(text("Dockerfile").lines().any(|line| line == "USER 10001:10001"), "a number that is not root");
}

/// The key file is made once: a second `up` must find what the first has made.
#[tokio::test]
async fn the_key_file_is_made_once() {
    let stage = Stage::set().await;
    let keys = make_keys(&stage);
    assert_eq!(make_keys(&stage), keys);
}

fn make_keys(stage: &Stage) -> String {
    let compose = document("compose.yaml");
    let service = &compose["services"]["keys"];
    assert!(items(&service["volumes"]).contains(&format!("keys:{KEYS}")));
    let entrypoint = items(&service["entrypoint"]);
    let folder = Path::new(env!("CARGO_BIN_EXE_runhook")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let arguments = entrypoint[1..].iter().map(|argument| argument.replace(KEYS, &stage.key_folder()));
    succeeds(Command::new(&entrypoint[0]).args(arguments).env_clear().env("PATH", path));
    std::fs::read_to_string(stage.home.path().join("keys/keys")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_containers_take_traffic_and_find_themselves_healthy() {
    let Some(database) = Database::create().await else { return };
    let stage = Stage::set().await;
    make_keys(&stage);
    let compose = document("compose.yaml");
    let service = &compose["services"]["runhook"];
    assert_eq!(instruction("ENTRYPOINT"), ["runhook"]);
    let arguments = items(&service["command"]);
    assert_eq!(instruction("CMD "), arguments, "what the image does when it is told nothing");
    let environment = environment(service);
    let replicas: Vec<_> = (0..service["deploy"]["replicas"].as_u64().unwrap())
        .map(|_| stage.serve(stage.command(&arguments, &environment, &database.url)))
        .collect();
    assert_eq!(replicas.len(), 2);
    let check = instruction("    CMD ");
    for replica in &replicas {
        assert_eq!(replica.call("GET", "/readyz", None).await.0, 200);
        let check: Vec<String> =
            check[1..].iter().map(|argument| argument.replace("http://127.0.0.1:4710", &replica.url)).collect();
        assert!(check.contains(&replica.url));
        let said = succeeds(&mut stage.command(&check, &environment, &database.url));
        assert!(said.contains("takes traffic") && said.contains("scheduler") && !said.contains("warn"), "{said}");
    }
    for replica in replicas {
        let (status, log) = replica.stop();
        assert!(status.success(), "{log}");
    }
}
