//! The house rules that a compiler does not check: who imports whom, who may name which crate, and how large things get.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules, lowest first. A module may import from lower rows only.
const LAYERS: &[&[&str]] = &[
    &["model"],
    &["filter", "crypto", "telemetry", "task"],
    &["matcher", "rule_file", "store", "blob", "config"],
    &["payload", "ingest", "catalog"],
    &["query"],
    &["scheduler", "delivery", "alert", "retention"],
    &["api"],
    &["app"],
    &["cli"],
];

/// Crates that only some places may name.
const CONFINED: &[(&str, &[&str])] = &[
    ("sqlx", &["store/"]),
    ("aws_sdk_s3", &["blob/s3.rs"]),
    ("aws_config", &["blob/s3.rs"]),
    ("aws_credential_types", &["blob/s3.rs"]),
    ("reqwest", &["delivery/client.rs", "cli/"]),
    ("aes_gcm", &["crypto/"]),
    ("aws_lc_rs", &["crypto/"]),
    ("governor", &["delivery/rate.rs"]),
    ("axum", &["api/", "app/"]),
    ("clap", &["cli/", "main.rs"]),
    ("jsonschema", &["catalog/"]),
    ("opentelemetry_proto", &["ingest/otlp/"]),
    ("prost", &["ingest/otlp/"]),
    ("serde_saphyr", &["rule_file/", "config/"]),
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "common", "misc", "types", "manager", "service", "handlers"];

const LONGEST_FILE: usize = 500;

struct Source {
    /// Path below `src/`.
    path: String,
    /// The text that ships: no comments, no inline tests.
    code: String,
    whole: String,
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: &PathBuf| {
        let whole = fs::read_to_string(path).unwrap();
        let shipped = whole.split("#[cfg(test)]").next().unwrap_or_default();
        let code = shipped.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        Source { path: path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), code, whole }
    };
    files_below(&root).iter().map(read).filter(|source| !source.path.ends_with("tests.rs")).collect()
}

fn module_of(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap()
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// Top-level modules that a file names through `crate::`.
fn imports(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        if let Some(list) = rest.strip_prefix('{') {
            let inside = list.split('}').next().unwrap_or_default();
            found.extend(inside.split(',').map(|item| word(item.trim())));
        } else {
            found.insert(word(rest));
        }
    }
    found.retain(|name| layer_of(name).is_some());
    found
}

fn names_crate(code: &str, name: &str) -> bool {
    let starts_a_word = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
    code.match_indices(&format!("{name}::")).any(|(at, _)| starts_a_word(at))
}

#[test]
fn every_module_has_its_place() {
    let placed: BTreeSet<&str> = LAYERS.iter().flat_map(|row| row.iter().copied()).collect();
    let found: BTreeSet<String> = sources()
        .iter()
        .map(|source| module_of(&source.path).to_owned())
        .filter(|module| module != "main" && module != "lib")
        .collect();
    assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), placed, "modules of src/ and of this table");
}

#[test]
fn nothing_imports_upward_or_sideways() {
    let mut wrong = Vec::new();
    for source in sources() {
        let module = module_of(&source.path);
        let Some(layer) = layer_of(module) else { continue };
        for import in imports(&source.code) {
            if import != module && layer_of(&import) >= Some(layer) {
                wrong.push(format!("src/{} imports {import}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "not allowed by the import table:\n{}", wrong.join("\n"));
}

#[test]
fn the_store_never_sees_crypto() {
    let sees = |source: &Source| module_of(&source.path) == "store" && imports(&source.code).contains("crypto");
    let wrong: Vec<String> = sources().iter().filter(|source| sees(source)).map(|source| source.path.clone()).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn handlers_hold_no_loop() {
    for source in sources().iter().filter(|source| module_of(&source.path) == "api") {
        for banned in ["scheduler::Scheduler", "delivery::Sender", "task::run", "Supervisor"] {
            assert!(!source.code.contains(banned), "src/{} names {banned}: hold a Poke and a Status", source.path);
        }
    }
}

#[test]
fn crates_stay_behind_their_seams() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, places) in CONFINED {
            if names_crate(&source.code, name) && !places.iter().any(|place| source.path.starts_with(place)) {
                wrong.push(format!("src/{} names {name}, which belongs to {places:?}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_has_a_tail() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let long: Vec<String> = ["src", "tests", "benches", "bench", "examples"]
        .iter()
        .map(|folder| root.join(folder))
        .filter(|folder| folder.is_dir())
        .flat_map(|folder| files_below(&folder))
        .map(|path| (fs::read_to_string(&path).unwrap().lines().count(), path))
        .filter(|(lines, _)| *lines > LONGEST_FILE)
        .map(|(lines, path)| format!("{} has {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "files over {LONGEST_FILE} lines:\n{}", long.join("\n"));
}

#[test]
fn every_file_says_what_it_is() {
    for source in sources() {
        assert!(source.whole.starts_with("//!"), "src/{} does not open with a sentence about itself", source.path);
    }
}

#[test]
fn names_say_what_is_inside() {
    for source in sources() {
        for part in source.path.trim_end_matches(".rs").split('/') {
            assert!(!EMPTY_NAMES.contains(&part), "src/{}: `{part}` is not a noun of the domain", source.path);
        }
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for source in sources() {
        for mark in ["todo!", "unimplemented!", "TODO", "FIXME", "#[allow("] {
            assert!(!source.whole.contains(mark), "src/{} holds {mark}", source.path);
        }
    }
}

#[test]
fn modules_of_one_layer_do_not_form_a_cycle() {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        graph.entry(module_of(&source.path).to_owned()).or_default().extend(imports(&source.code));
    }
    let mut settled: BTreeSet<String> = BTreeSet::new();
    loop {
        let free = |(module, needs): (&String, &BTreeSet<String>)| {
            let ready = needs.iter().all(|need| need == module || settled.contains(need));
            (!settled.contains(module) && ready).then(|| module.clone())
        };
        let next: Vec<String> = graph.iter().filter_map(free).collect();
        if next.is_empty() {
            break;
        }
        settled.extend(next);
    }
    let stuck: Vec<&String> = graph.keys().filter(|module| !settled.contains(*module)).collect();
    assert!(stuck.is_empty(), "a cycle runs through {stuck:?}");
}
