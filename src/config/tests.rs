use serde_json::Value;

use super::*;

const EXAMPLE: &str = include_str!("../../examples/config.yaml");

fn read(text: &str) -> Result<Config, String> {
    let variables = HashMap::from([("RULES".to_owned(), "/etc/runhook/rules".to_owned())]);
    Document::parse("config.yaml", text, variables)
        .map(|document| Config::resolve(document, Overrides::default()))
        .map_err(|error| error.to_string())
}

#[test]
fn the_example_says_the_defaults() {
    assert_eq!(read(EXAMPLE), Ok(Config::default()));
    assert_eq!(read("# nothing\n"), Ok(Config::default()));
}

#[test]
fn the_example_names_every_key() {
    let schema = Document::schema();
    let of = |pointer: &str| -> Vec<String> {
        schema.pointer(pointer).and_then(Value::as_object).unwrap().keys().cloned().collect()
    };
    for key in [
        of("/properties"),
        of("/$defs/Limits/properties"),
        of("/$defs/Retention/properties"),
        of("/$defs/Endpoints/properties"),
    ]
    .concat()
    {
        assert!(EXAMPLE.lines().any(|line| line.trim_start().starts_with(&format!("{key}:"))), "{key} is missing");
    }
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/config.schema.json");
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap_or_default()).unwrap_or_default();
    assert!(committed == Document::schema(), "run `cargo run -- schema config > schemas/config.schema.json`");
}

#[test]
fn an_unknown_key_is_shown_with_a_suggestion() {
    let error = read("listen: 127.0.0.1:1\nlimits:\n  ofload_bytes: 1KiB\n").unwrap_err();
    assert!(error.contains("unknown key `ofload_bytes`; did you mean `offload_bytes`?"), "{error}");
    assert!(error.contains("config.yaml:3:3"), "{error}");
    assert!(error.contains('^'), "{error}");
}

#[test]
fn a_wrong_value_says_what_is_expected() {
    let error = read("limits: { link_lasts: soon }\n").unwrap_err();
    assert!(error.contains("`soon` is not a time such as 500ms"), "{error}");
    let error = read("listen: here\n").unwrap_err();
    assert!(error.contains("config.yaml:1:9"), "{error}");
    let error = read("limits: { runs_per_request: 0 }\n").unwrap_err();
    assert!(error.contains("nonzero"), "{error}");
    for (key, zero, example) in
        [("request_bytes", "0", "32MiB"), ("url_bytes", "0KiB", "4KiB"), ("link_lasts", "0s", "24h")]
    {
        let error = read(&format!("limits: {{ {key}: {zero} }}\n")).unwrap_err();
        assert!(error.contains(&format!("`limits.{key}` is 0")) && error.contains(example), "{error}");
    }
    assert!(read("limits: { attachment_bytes: 0, offload_bytes: 0 }\n").is_ok());
}

#[test]
fn what_is_kept_for_less_than_an_hour_is_refused_and_null_is_for_ever() {
    let kept = |text: &str| read(&format!("retention: {{ {text} }}\n")).map(|config| config.retention);
    let day = Duration::from_hours(24);
    assert_eq!(kept("runs: 30d"), Ok(Retention { runs: Some(30 * day), ..Retention::default() }));
    assert_eq!(kept("deliveries: null"), Ok(Retention { deliveries: None, ..Retention::default() }));
    for key in ["runs", "matches", "deliveries", "windows", "incomplete_runs", "unnamed_blobs"] {
        let error = kept(&format!("{key}: 59m")).unwrap_err();
        assert!(error.contains(&format!("`retention.{key}` is less than 1h")) && error.contains("null"), "{error}");
    }
}

#[test]
fn an_endpoint_is_not_disabled_before_anybody_can_put_it_right() {
    let read = |text: &str| read(&format!("endpoints: {{ {text} }}\n")).map(|config| config.endpoints);
    let disable_after = Some(Duration::from_hours(48));
    assert_eq!(read("disable_after: 2d, notices: ops"), Ok(Endpoints { disable_after, notices: Some("ops".into()) }));
    assert_eq!(read("disable_after: null"), Ok(Endpoints { disable_after: None, notices: None }));
    assert!(read("disable_after: 59m").unwrap_err().contains("`endpoints.disable_after` is less than 1h"));
}

#[test]
fn a_variable_is_the_environments_and_a_missing_one_is_an_error() {
    assert_eq!(read("rules: ${RULES}\n").unwrap().rules, Some("/etc/runhook/rules".into()));
    let error = read("rules: ${NOWHERE}\n").unwrap_err();
    assert!(error.contains("NOWHERE"), "{error}");
    let error = read("rules: \"${RULES}\"\n").unwrap_err();
    assert!(error.contains("remove the quotes"), "{error}");
}

#[test]
fn a_flag_wins_over_the_file() {
    let overrides = Overrides { data_dir: Some("flag".into()), ..Overrides::default() };
    let document = Document::parse("c", "data_dir: file\nrules: file\n", HashMap::new()).unwrap();
    let config = Config::resolve(document, overrides);
    assert_eq!((config.data_dir, config.rules), ("flag".into(), Some("file".into())));
}

#[test]
fn a_password_in_the_file_is_not_shown_with_an_error_beside_it() {
    for database in ["postgres://me:hunter2@db.test/runs", "postgres://me:hunter2@db.test"] {
        let error = read(&format!("lisen: x\ndatabase_url: {database}\n")).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        let error = read(&format!("database_url: {database}\nlisten: here\n")).unwrap_err();
        assert!(error.contains("line") && !error.contains("hunter2"), "{error}");
    }
}
