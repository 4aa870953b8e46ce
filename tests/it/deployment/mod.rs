//! What is in `deploy/` fits the binary: its documents are valid, everything they set is something the binary reads, and
//! the binary does what it should when it is started as they say.

mod compose;
mod documents;
mod kubernetes;
mod systemd;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use runhook::config::Config;
use serde_json::Value;
use url::Url;

use crate::support::home::Home;
use crate::support::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use crate::support::server::{Server, runhook};

/// What the AWS SDK reads, as far as `deploy/` uses it.
const AWS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"];

/// Where the documents say that the key file and the rules are.
const KEYS: &str = "/run/runhook-keys";
const RULES: &str = "/etc/runhook/rules";

const API_KEY: &str = "a-key-for-the-tests-of-deploy";

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(deploy(path)).unwrap_or_else(|error| panic!("deploy/{path}: {error}"))
}

/// The documents of a YAML file.
fn documents(path: &str) -> Vec<Value> {
    let text = text(path);
    let parts = text.split("\n---\n").map(serde_saphyr::from_str);
    parts.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("deploy/{path}: {error}"))
}

/// The only document of a YAML file.
fn document(path: &str) -> Value {
    let [document] = <[Value; 1]>::try_from(documents(path)).unwrap();
    document
}

/// The members of a mapping of strings.
fn strings(mapping: &Value) -> BTreeMap<String, String> {
    let text = |(name, value): (&String, &Value)| (name.clone(), value.as_str().unwrap().to_owned());
    mapping.as_object().unwrap().iter().map(text).collect()
}

/// A path of the repository below a folder of `deploy/`, as the example of rules is.
fn rules() -> PathBuf {
    deploy("kubernetes/rules")
}

/// The variables that `runhook serve` reads, by its own word.
fn read_by_serve() -> BTreeSet<String> {
    let help = runhook().args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let name = |rest: &str| rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
    let found: BTreeSet<String> = help.split("[env: ").skip(1).map(name).collect();
    assert!(found.contains("RUNHOOK_LISTEN") && found.contains("RUNHOOK_DATABASE_URL"), "{help}");
    found
}

/// The names of `${NAME}` in the rules that `deploy/` brings along.
fn used_by_rules() -> BTreeSet<String> {
    let text = text("kubernetes/rules/errors.yaml");
    text.split("${").skip(1).map(|rest| rest.split('}').next().unwrap().to_owned()).collect()
}

/// A variable that nobody reads is a setting that has no effect.
fn are_read<'a>(names: impl IntoIterator<Item = &'a String>, place: &str) {
    let (serve, rules) = (read_by_serve(), used_by_rules());
    for name in names {
        let is_read = serve.contains(name) || rules.contains(name) || AWS.contains(&name.as_str());
        assert!(is_read, "{place} sets {name}, which nothing reads");
    }
}

/// How long a stopping server may take, in seconds.
fn stop_within() -> u64 {
    Config::default().stop_within.as_secs()
}

/// What stands in for the machines of a deployment: a home for its paths, and a bucket.
struct Stage {
    home: Arc<Home>,
    s3: S3Server,
}

impl Stage {
    async fn set() -> Self {
        let home = Arc::new(Home::embedded());
        std::fs::create_dir(home.path().join("keys")).unwrap();
        Self { home, s3: S3Server::start().await }
    }

    fn key_folder(&self) -> String {
        self.home.path().join("keys").display().to_string()
    }

    /// The bucket, in the place of the one that was written: its server and its name, and nothing else, are other.
    fn bucket(&self, written: &str) -> String {
        let mut url = Url::parse(written).unwrap();
        let endpoint = self.s3.settings.endpoint.as_ref().unwrap().as_str();
        let kept = url.query_pairs().into_owned().filter(|(name, _)| !name.ends_with("endpoint")).collect::<Vec<_>>();
        url.query_pairs_mut().clear().extend_pairs(kept).append_pair("endpoint", endpoint);
        url.set_host(Some(&self.s3.settings.bucket)).unwrap();
        url.into()
    }

    /// A command of the container, with its arguments and its environment. Only what names a place of another machine is
    /// replaced: paths, the port, the database, the bucket.
    fn command(&self, arguments: &[String], environment: &BTreeMap<String, String>, database: &Url) -> Command {
        let mut command = runhook();
        command.args(arguments).current_dir(self.home.path());
        for (name, value) in environment {
            let value = match name.as_str() {
                "RUNHOOK_DATABASE_URL" => database.to_string(),
                "RUNHOOK_BLOB_URL" => self.bucket(value),
                "AWS_ACCESS_KEY_ID" => ACCESS_KEY.to_owned(),
                "AWS_SECRET_ACCESS_KEY" => SECRET_KEY.to_owned(),
                "RUNHOOK_LISTEN" => value.replace(":4710", ":0"),
                _ => value.replace(KEYS, &self.key_folder()).replace(RULES, &rules().display().to_string()),
            };
            command.env(name, value);
        }
        command
    }

    fn serve(&self, command: Command) -> Server {
        Server::by(command, Arc::clone(&self.home)).unwrap_or_else(|error| panic!("{error:?}"))
    }
}

/// Runs a command that must end well.
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

#[test]
fn the_rules_that_come_with_the_manifests_are_right() {
    let mut check = runhook();
    succeeds(check.args(["rules", "check"]).arg(rules()));
}
