//! What strangers do to the binary: names without end, folders that lead back into themselves, files that are none.

use std::fs;
use std::process::Output;

use serde_json::json;

use crate::support::home::Home;
use crate::support::server::{Server, Settings};

const RULE: &str = "version: 1\nrules:\n  - key: a\n    project: p\n    filter: eq(status, \"error\")\n    webhooks:\n      \
                    - url: https://hooks.example.com/x\n";

fn run<const N: usize>(home: &Home, arguments: [&str; N]) -> Output {
    home.command().args(arguments).output().unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn a_run_with_a_name_of_any_length_is_listed() {
    let home = Home::new();
    let named = json!({
        "id": "0195c0de-0000-7000-8000-000000000001", "name": "x\u{1b}[31m".repeat(100_000), "run_type": "chain",
        "start_time": "2026-11-22T08:00:00Z", "end_time": "2026-11-22T08:00:01Z",
    });
    fs::write(home.path().join("runs.jsonl"), named.to_string()).unwrap();
    let imported = run(&home, ["runs", "import", "runs.jsonl"]);
    assert_eq!(code(&imported), 0, "{}", err(&imported));
    let listed = run(&home, ["runs", "list"]);
    assert_eq!(code(&listed), 0, "{}", err(&listed));
    assert!(listed.stdout.len() < 2_000 && !listed.stdout.contains(&0x1b), "{} bytes", listed.stdout.len());
}

#[cfg(unix)]
#[test]
fn a_folder_that_leads_back_into_itself_is_read_once() {
    use std::os::unix::fs::symlink;
    let home = Home::new();
    let rules = home.path().join("rules");
    fs::create_dir_all(rules.join("more")).unwrap();
    fs::write(rules.join("more/a.yaml"), RULE).unwrap();
    for name in ["again", "and-again", "more/up"] {
        symlink(&rules, rules.join(name)).unwrap();
    }
    let checked = run(&home, ["rules", "check", "rules"]);
    assert_eq!(code(&checked), 0, "{}", String::from_utf8_lossy(&checked.stdout));
    assert_eq!(String::from_utf8_lossy(&checked.stdout), "1 file: fine (0 errors, 0 warnings)\n");
}

#[test]
fn a_file_that_is_not_text_is_wrong_and_says_where() {
    let home = Home::new();
    fs::write(home.path().join("rules.yaml"), b"version: 1\nrules:\n  - key: \"\xff\"\n").unwrap();
    let checked = run(&home, ["rules", "check", "rules.yaml"]);
    assert_eq!(code(&checked), 1);
    assert_eq!(err(&checked), "error: rules.yaml is not a rule file: line 3 is not UTF-8 text\n");
    let missing = run(&home, ["rules", "check", "nowhere.yaml"]);
    assert_eq!(code(&missing), 3);
    assert_eq!(err(&missing).matches("No such file").count(), 1, "{}", err(&missing));
}

#[test]
fn a_file_that_is_not_text_does_not_keep_the_server_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), [0xff; 64]).unwrap();
    let server = Server::start(Settings::with(["--rules", folder.path().to_str().unwrap()]));
    let (status, log) = server.stop();
    assert!(status.success() && log.contains("line 1 is not UTF-8 text"), "{log}");
}

#[test]
fn of_thousands_of_problems_as_many_are_told_as_anyone_reads() {
    let home = Home::new();
    let rules: Vec<String> = (0..4_000).map(|n| format!("  - key: k{n}\n    project: p\n    fliter: x\n")).collect();
    fs::write(home.path().join("rules.yaml"), format!("version: 1\nrules:\n{}", rules.concat())).unwrap();
    let checked = run(&home, ["rules", "check", "rules.yaml"]);
    assert_eq!(code(&checked), 1);
    let said = String::from_utf8_lossy(&checked.stdout);
    assert_eq!(said.matches(" --> rules.yaml:").count(), 200);
    assert!(said.contains("\n\nrules.yaml: and 11800 more\n"), "{}", &said[said.len() - 200..]);
    assert!(said.ends_with("1 file: not fine (8000 errors, 4000 warnings)\n"), "{}", &said[said.len() - 200..]);
}

#[test]
fn a_start_that_is_refused_says_why_and_nothing_else() {
    let home = Home::new();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    for (name, value, reason) in [
        ("RUNHOOK_API_KEY", "short", "the API key is too short: give at least 16 characters"),
        ("RUNHOOK_BLOB_URL", "nowhere", "the blob URL has no scheme"),
        ("RUNHOOK_BLOB_URL", "dir:/dev/null", "the directory of blobs /dev/null cannot be used"),
        ("RUNHOOK_RULES", "/nowhere", "cannot read /nowhere: No such file or directory"),
    ] {
        let refused = home.command().args(serve).env(name, value).output().unwrap();
        assert_eq!(code(&refused), 3, "{name}");
        let said = err(&refused);
        assert!(said.starts_with("error: ") && said.contains(reason), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn addresses_and_urls_that_are_none_are_usage_errors_with_an_example() {
    let home = Home::new();
    for (flag, value, example) in [
        ("--listen", "localhost:4710", "127.0.0.1:4710"),
        ("--public-url", "runhook.example.com", "https://runhook.example.com"),
        ("--public-url", "ftp://runhook.example.com", "https://runhook.example.com"),
    ] {
        let refused = run(&home, ["serve", flag, value]);
        assert_eq!(code(&refused), 2, "{value}");
        assert!(err(&refused).contains(example), "{}", err(&refused));
        let key = flag.trim_start_matches('-').replace('-', "_");
        fs::write(home.path().join("config.yaml"), format!("{key}: {value}\n")).unwrap();
        let refused = run(&home, ["serve", "--config", "config.yaml"]);
        assert_eq!(code(&refused), 3, "{value}");
        assert!(err(&refused).contains(example) && err(&refused).contains("config.yaml:1:"), "{}", err(&refused));
    }
}
