//! What people do with the SDKs, told with each version that is in use: everything is found again, and nobody is warned.

use std::path::PathBuf;
use std::process::Command;

use super::root;
use crate::support::server::{Server, Settings};

/// Where `make sdk` put an SDK.
fn installed(place: &str) -> PathBuf {
    let place = root().join(".venv").join(place);
    assert!(place.exists(), "{} is missing: `make sdk` installs the pinned SDKs", place.display());
    place
}

/// Tells a story to a server of its own. It says which version it was told with, and nothing else.
fn tell(mut teller: Command, version: &str) {
    let server = Server::start(Settings::default());
    let output = teller
        .env("LANGSMITH_ENDPOINT", &server.url)
        .env("LANGSMITH_TRACING", "true")
        .env("LANGSMITH_API_KEY", "unused")
        .env("PYTHONPATH", root().join("tests/it/langsmith_sdk"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("LANGCHAIN_ENDPOINT")
        .env_remove("NODE_OPTIONS")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{err}\n{}", server.log());
    assert_eq!((out.trim(), err.as_str()), (format!("told with {version}").as_str(), ""));
}

fn tell_in_python(interpreter: &str, version: &str) {
    let mut python = Command::new(installed(interpreter));
    python.args(["-c", "import story"]);
    tell(python, version);
}

#[test]
fn the_newest_python_sdk_finds_everything_again_and_warns_of_nothing() {
    tell_in_python("bin/python", "0.15.0");
}

#[test]
fn a_python_sdk_of_the_year_before_finds_everything_again_and_warns_of_nothing() {
    tell_in_python("sdks/python-0.3.45/bin/python", "0.3.45");
}

#[test]
fn the_last_python_sdk_of_the_first_series_finds_everything_again_and_warns_of_nothing() {
    tell_in_python("sdks/python-0.1.147/bin/python", "0.1.147");
}

#[test]
fn the_javascript_sdk_finds_everything_again_and_warns_of_nothing() {
    let mut node = Command::new("node");
    // What the SDK says of methods that are to leave it is about the story and not about the server.
    node.arg("--no-deprecation")
        .arg(root().join("tests/it/langsmith_sdk/story.cjs"))
        .env("NODE_PATH", installed("sdks/node/node_modules"));
    tell(node, "0.12.0");
}
