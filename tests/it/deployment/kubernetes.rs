//! The manifests for Kubernetes: in step with each other and with the binary, and a fleet that is started by them takes
//! a run in and notifies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use runhook::config::Roles;
use serde_json::{Value, json};

use crate::deployment::{
    API_KEY, KEYS, RULES, Stage, are_read, document, documents, rules, stop_within, strings, succeeds, used_by_rules,
};
use crate::support::home::Home;
use crate::support::postgres::Database;
use crate::support::receiver::Receiver;
use crate::support::server::{Server, runhook};

const DEPLOYMENTS: [&str; 3] = ["ingest", "scheduler", "delivery"];

/// What `/readyz` gives the database, and what a probe must therefore wait at least.
const READYZ_TAKES: u64 = 5;

const PATIENCE: Duration = Duration::from_mins(1);

fn deployment(name: &str) -> Value {
    document(&format!("kubernetes/{name}.yaml"))
}

fn pod(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]
}

/// The one container of a pod.
fn container(pod: &Value) -> &Value {
    let containers = pod["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    &containers[0]
}

fn settings() -> BTreeMap<String, String> {
    strings(&document("kubernetes/settings.yaml")["data"])
}

fn secrets() -> BTreeMap<String, String> {
    let found = documents("kubernetes/secrets.example.yaml");
    let secret = found.iter().find(|secret| secret["metadata"]["name"] == "runhook-secrets").unwrap();
    strings(&secret["stringData"])
}

/// The environment of a container. It must come from the settings and the secrets, or be written out.
fn environment(container: &Value) -> BTreeMap<String, String> {
    let sources = json!([{"configMapRef": {"name": "runhook-settings"}}, {"secretRef": {"name": "runhook-secrets"}}]);
    assert_eq!(container["envFrom"], sources);
    let own = container["env"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let own = own.iter().map(|variable| (text(&variable["name"]), text(&variable["value"])));
    settings().into_iter().chain(secrets()).chain(own).collect()
}

fn arguments(container: &Value) -> Vec<String> {
    assert_eq!(container["command"], Value::Null, "the image's entry point is the binary");
    container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap().to_owned()).collect()
}

#[test]
fn everything_that_is_set_is_read_and_nothing_secret_is_among_the_settings() {
    for name in DEPLOYMENTS {
        let deployment = deployment(name);
        are_read(environment(container(pod(&deployment))).keys(), name);
        // A link to the service `runhook` would be called RUNHOOK_PORT, and be taken for a setting.
        assert_eq!(pod(&deployment)["enableServiceLinks"], false, "{name}");
    }
    for name in settings().keys() {
        assert!(!["KEY", "DATABASE_URL"].iter().any(|secret| name.ends_with(secret)), "{name}");
    }
    for (name, value) in secrets() {
        assert!(value.contains("REPLACE"), "{name} is not an example");
    }
    assert!(used_by_rules().iter().all(|name| secrets().contains_key(name)));
}

#[test]
fn every_role_runs_somewhere_and_ingest_and_the_api_where_the_service_leads() {
    let service = document("kubernetes/service.yaml");
    let mut found = BTreeSet::new();
    for name in DEPLOYMENTS {
        let deployment = deployment(name);
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
        assert_eq!(labels["app.kubernetes.io/component"], name);
        let roles: Roles = environment(container(pod(&deployment)))["RUNHOOK_ROLES"].parse().unwrap();
        let names: BTreeSet<&str> = roles.iter().map(runhook::config::Role::name).collect();
        assert_eq!(names.is_disjoint(&BTreeSet::from(["ingest", "api"])), &service["spec"]["selector"] != labels);
        for spread in pod(&deployment)["topologySpreadConstraints"].as_array().unwrap() {
            assert_eq!(&spread["labelSelector"]["matchLabels"], labels);
        }
        found.extend(names);
    }
    assert_eq!(found, runhook::config::Role::ALL.map(runhook::config::Role::name).into());
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "http");
}

#[test]
fn whatever_stands_for_a_deployment_names_one() {
    let budgets = documents("kubernetes/disruption.yaml");
    let of = |budget: &Value| budget["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"].clone();
    assert_eq!(budgets.iter().map(of).collect::<Vec<_>>(), DEPLOYMENTS);
    assert_eq!(document("kubernetes/autoscaler.yaml")["spec"]["scaleTargetRef"]["name"], "runhook-ingest");
    assert_eq!(deployment("ingest")["spec"]["replicas"], Value::Null, "the autoscaler's number is not to be reset");
    let policies = documents("kubernetes/networkpolicies.yaml");
    assert_eq!(policies[0]["spec"]["podSelector"]["matchLabels"], json!({"app.kubernetes.io/name": "runhook"}));
    let labels = &policies[1]["spec"]["podSelector"]["matchLabels"];
    assert_eq!(labels, &deployment("delivery")["spec"]["template"]["metadata"]["labels"]);
    assert_eq!(policies[0]["spec"]["policyTypes"], json!(["Ingress", "Egress"]), "what is not allowed is not");
}

#[test]
fn a_pod_is_given_longer_than_its_stop_takes_and_is_asked_what_it_answers() {
    for name in DEPLOYMENTS {
        let deployment = deployment(name);
        let (pod, container) = (pod(&deployment), container(pod(&deployment)));
        let pause = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
        assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > pause + stop_within(), "{name}");
        let port = &container["ports"][0];
        let listen = &settings()["RUNHOOK_LISTEN"];
        assert_eq!(listen, &format!("0.0.0.0:{}", port["containerPort"]));
        for (probe, path) in
            [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
        {
            assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": port["name"]}), "{name}");
        }
        assert!(container["readinessProbe"]["timeoutSeconds"].as_u64() >= Some(READYZ_TAKES));
        assert!(
            container["livenessProbe"]["failureThreshold"].as_u64() >= Some(3),
            "a busy moment is no reason to kill"
        );
    }
}

#[test]
fn pods_are_confined_as_the_namespace_demands() {
    assert_eq!(
        document("kubernetes/namespace.yaml")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
        "restricted"
    );
    for name in DEPLOYMENTS {
        let deployment = deployment(name);
        let pod = pod(&deployment);
        assert_eq!(pod["automountServiceAccountToken"], false);
        let context = &pod["securityContext"];
        assert_eq!((&context["runAsNonRoot"], &context["runAsUser"]), (&json!(true), &json!(10001)));
        assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
        let all = pod["containers"].as_array().unwrap().iter().chain(pod["initContainers"].as_array().unwrap());
        for container in all {
            let confined = json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            });
            assert_eq!(container["securityContext"], confined);
            let resources = &container["resources"];
            assert!(resources["requests"]["cpu"].is_string() && resources["limits"]["memory"].is_string());
        }
    }
}

#[test]
fn the_key_file_and_the_rules_are_mounted_where_the_settings_say() {
    let keys = &documents("kubernetes/secrets.example.yaml")[0];
    assert_eq!(keys["metadata"]["name"], "runhook-keys");
    let (file, _) = keys["stringData"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(settings()["RUNHOOK_KEY_FILE"], format!("{KEYS}/{file}"));
    assert_eq!(settings()["RUNHOOK_RULES"], RULES);
    for name in DEPLOYMENTS {
        let deployment = deployment(name);
        let pod = pod(&deployment);
        let place = |volume: &str| {
            let mounts = container(pod)["volumeMounts"].as_array().unwrap();
            mounts.iter().find(|mount| mount["name"] == volume).unwrap()["mountPath"].clone()
        };
        assert_eq!((place("keys"), place("rules")), (json!(KEYS), json!(RULES)));
        let volumes = pod["volumes"].as_array().unwrap();
        assert_eq!(volumes[0]["secret"]["secretName"], "runhook-keys");
        let mode = volumes[0]["secret"]["defaultMode"].as_u64().unwrap();
        assert_eq!(mode, 0o440, "the group's to read, and nobody's to write");
        assert_eq!(volumes[1]["configMap"]["name"], "runhook-rules");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_are_started_as_it_is_written_take_a_run_and_notify() {
    let Some(database) = Database::create().await else { return };
    let stage = Stage::set().await;
    let mut receiver = Receiver::start([]).await;
    let mut generate = runhook();
    succeeds(generate.args(["keys", "generate", "--file"]).arg(stage.home.path().join("keys/keys")));
    let mut pods = Vec::new();
    for name in DEPLOYMENTS {
        let deployment = deployment(name);
        let pod = pod(&deployment);
        let mut environment = environment(container(pod));
        environment.insert("RUNHOOK_API_KEY".into(), API_KEY.into());
        environment.insert("RUNHOOK_WEBHOOK_URL".into(), receiver.url());
        // Receivers of a test are on loopback.
        environment.insert("RUNHOOK_ALLOW_TARGETS".into(), "127.0.0.0/8".into());
        let first = &pod["initContainers"][0];
        succeeds(&mut stage.command(&arguments(first), &environment, &database.url));
        let container = container(pod);
        let server = stage.serve(stage.command(&arguments(container), &environment, &database.url));
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let path = container[probe]["httpGet"]["path"].as_str().unwrap();
            let allowed = Duration::from_secs(container[probe]["timeoutSeconds"].as_u64().unwrap());
            let answer = tokio::time::timeout(allowed, server.call("GET", path, None)).await.unwrap();
            assert_eq!(answer.0, 200, "{name} {path}: {}", server.log());
        }
        pods.push(server);
    }
    send_a_failed_trace(&pods[0]).await;
    let request = tokio::time::timeout(PATIENCE, receiver.next()).await.unwrap();
    assert_eq!(request.json()["runs"].as_array().unwrap().len(), 1);
    for pod in pods {
        let (status, log) = pod.stop();
        assert!(status.success() && log.lines().all(|line| line.starts_with('{')), "{log}");
    }
}

async fn send_a_failed_trace(pod: &Server) {
    let id = uuid::Uuid::from_u128(7);
    let run = json!({
        "id": id, "trace_id": id, "dotted_order": format!("20260102T030405000000Z{id}"), "name": "agent",
        "run_type": "chain", "session_name": "shop", "tags": ["production"], "error": "boom",
        "inputs": {"text": "x".repeat(100_000)}, "start_time": "2026-01-02T03:04:05Z", "end_time": "2026-01-02T03:04:06Z",
    });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request =
        http.post(format!("{}/runs", pod.url)).header("content-type", "application/json").body(run.to_string());
    assert_eq!(pod.call("GET", "/v1/runs", None).await.0, 401, "the key of the secret is asked for");
    let answer = request.header("x-api-key", API_KEY).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 202, "{}", pod.log());
}

/// Kubernetes changes a mounted `ConfigMap` by turning a link from one hidden folder to another.
#[tokio::test]
async fn a_changed_config_map_is_applied_by_a_running_pod() {
    let home = Arc::new(Home::embedded());
    let mounted = home.path().join("rules");
    std::fs::create_dir(&mounted).unwrap();
    let text = std::fs::read_to_string(rules().join("errors.yaml")).unwrap();
    let version = |name: &str, text: &str| {
        std::fs::create_dir(mounted.join(name)).unwrap();
        std::fs::write(mounted.join(name).join("errors.yaml"), text).unwrap();
        std::os::unix::fs::symlink(name, mounted.join("..data_tmp")).unwrap();
        std::fs::rename(mounted.join("..data_tmp"), mounted.join("..data")).unwrap();
    };
    version("..2026_01", &text);
    std::os::unix::fs::symlink("..data/errors.yaml", mounted.join("errors.yaml")).unwrap();
    let mut command = runhook();
    command.args(["serve", "--listen", "127.0.0.1:0"]).current_dir(home.path());
    command.env("RUNHOOK_RULES", &mounted).env("RUNHOOK_WEBHOOK_URL", "https://hooks.example.com/x");
    let server = Server::by(command, Arc::clone(&home)).unwrap_or_else(|error| panic!("{error:?}"));
    version("..2026_02", &text.replace("key: production-errors", "key: other"));
    let applied = async {
        loop {
            let (_, rules) = server.call("GET", "/v1/rules", None).await;
            if rules["rules"].as_array().is_some_and(|rules| rules.len() == 1 && rules[0]["key"] == "other") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, applied).await.unwrap_or_else(|_| panic!("{}", server.log()));
}
