//! The clients as they are published tell their stories: nothing of them is changed, and nobody is warned.

use std::path::{Path, PathBuf};
use std::process::Command;

use runhook::model::id::TenantId;

use super::{TOKEN, installed, root, serve};
use crate::support::server::Server;

/// Tests that come with `swh.webhooks` 0.3.2, all of them.
const THEIRS: u32 = 84;

/// A file with one of the authorities that a Python trusts, for it to trust no other. The client makes two TLS contexts in
/// each call and reads all authorities into either, which takes most of the time of its tests; and nothing in them speaks TLS.
fn one_authority(python: &Path, folder: &Path) -> PathBuf {
    const END: &str = "-----END CERTIFICATE-----\n";
    let output = Command::new(python).args(["-c", "import certifi; print(certifi.contents())"]).output().unwrap();
    let all = String::from_utf8(output.stdout).unwrap();
    let (begin, end) = (all.find("-----BEGIN").unwrap(), all.find(END).unwrap() + END.len());
    let file = folder.join("authority.pem");
    std::fs::write(&file, &all[begin..end]).unwrap();
    file
}

fn told(mut teller: Command, server: &Server) -> String {
    let output = teller
        .env("SVIX_TEST_URL", &server.url)
        .env("SVIX_TEST_TOKEN", TOKEN)
        .env("SVIX_TEST_TENANT", TenantId::DEFAULT.to_string())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("NODE_OPTIONS")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}\n{err}\n{}", server.log());
    out
}

#[test]
fn svixs_client_for_python_finds_all_it_asks_for() {
    let server = serve();
    let mut python = Command::new(installed("bin/python"));
    python.arg(root().join("tests/it/subscriptions/story.py"));
    assert_eq!(told(python, &server).trim(), "told");
}

#[test]
fn svixs_client_for_node_finds_all_it_asks_for() {
    let server = serve();
    let mut node = Command::new("node");
    node.arg(root().join("tests/it/subscriptions/story.cjs")).env("NODE_PATH", installed("sdks/node/node_modules"));
    assert_eq!(told(node, &server).trim(), "told");
}

#[test]
fn the_tests_of_software_heritages_webhooks_pass_against_runhook_as_they_are() {
    let server = serve();
    let python = installed("sdks/swh/bin/python");
    let found = Command::new(&python).args(["-c", "import swh.webhooks as w; print(w.__path__[0])"]).output().unwrap();
    let package = String::from_utf8(found.stdout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // Their own `conftest.py` starts a Svix in a container; all else is as it comes from the registry.
    for file in
        ["test_webhooks.py", "test_cli.py", "test_svix_retry.py", "test_utils.py", "test_journal_client.py", "data"]
    {
        let from = format!("{}/tests/{file}", package.trim());
        let copied = Command::new("cp").args(["-r", &from]).arg(folder.path()).status().unwrap();
        assert!(copied.success(), "{file}");
    }
    let conftest = root().join("tests/it/subscriptions/conftest.py");
    std::fs::copy(conftest, folder.path().join("conftest.py")).unwrap();
    let mut pytest = Command::new(&python);
    pytest.env("SSL_CERT_FILE", one_authority(&python, folder.path()));
    pytest
        .args(["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--rootdir"])
        .arg(folder.path())
        .arg(folder.path());
    pytest.current_dir(folder.path());
    let out = told(pytest, &server);
    let last = out.lines().rev().find(|line| line.contains(" passed")).unwrap_or_default();
    let expected = format!("{THEIRS} passed");
    assert!(last.starts_with(&expected) && !last.contains("skipped") && !last.contains("failed"), "{out}");
}
