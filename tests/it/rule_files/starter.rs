//! The starter rules in `rules/`, and the rules of the examples.

use std::path::Path;

use runhook::app::rules_folder::{read_file, read_folder};
use runhook::rule_file::{SourceFile, load, schema};
use serde_json::{Map, Value, json};

fn starter_files() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = read_folder(&root.join("rules")).unwrap();
    files.push(read_file(&root.join("examples/traced-app/rules.yaml")).unwrap());
    files
}

/// Every variable is set, to something that fits its name.
fn any(name: &str) -> String {
    if name.ends_with("URL") { "https://hooks.example.com/x".into() } else { "v4lue".into() }
}

#[test]
fn starter_rules_have_nothing_wrong_with_them() {
    let files = starter_files();
    assert!(files.len() >= 9);
    for file in files {
        let loaded = load(std::slice::from_ref(&file), &|name| Some(any(name)));
        assert!(loaded.reports[0].problems.is_empty(), "{}: {:?}", file.name, loaded.reports[0].problems);
        assert!(!loaded.rules.is_empty());
    }
}

#[test]
fn starter_rules_can_be_applied_together() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(!load(&read_folder(&root.join("rules")).unwrap(), &|name| Some(any(name))).has_errors());
}

#[test]
fn starter_rules_satisfy_the_schema() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for file in starter_files() {
        let document = yaml(&file.text);
        let errors: Vec<String> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", file.name);
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let rule = |more: Value| {
        let mut rule = json!({"key": "a", "project": "p", "webhooks": [{"url": "https://h/"}]});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"version": 1, "rules": [rule]})
    };
    assert!(validator.is_valid(&rule(json!({}))));
    for wrong in [
        json!({"fliter": "x"}),
        json!({"every": "soon"}),
        json!({"sampling_rate": 2}),
        json!({"webhooks": []}),
        json!({"webhooks": [{"url": "https://h/", "endpoint": "x"}]}),
        json!({"webhooks": [{"url": "https://h/", "format": "slak"}]}),
        json!({"key": "a b"}),
    ] {
        assert!(!validator.is_valid(&rule(wrong.clone())), "{wrong}");
    }
}

#[test]
fn the_rules_in_the_documentation_are_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["docs/rules.md", "README.md"] {
        let text = std::fs::read_to_string(root.join(name)).unwrap();
        let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let rules: Vec<&str> = blocks.filter(|block| block.starts_with("version: 1")).collect();
        assert!(!rules.is_empty(), "{name}");
        for text in rules {
            let loaded = load(&[SourceFile { name: name.into(), text: text.into() }], &|_| Some(any("URL")));
            assert!(loaded.reports[0].problems.is_empty(), "{name}: {:?}", loaded.reports[0].problems);
        }
    }
}

/// YAML as JSON, by a parser that knows nothing of rules.
fn yaml(text: &str) -> Value {
    serde_saphyr::from_str::<Map<String, Value>>(text).unwrap().into()
}
