//! The JSON Schema of rule files, for editors and for CI.

use serde_json::Value;

use crate::rule_file::document::File;

/// The schema, as it is committed in `schemas/rule.schema.json`.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(File).to_value();
    refuse_null(&mut schema);
    schema
}

/// A key without a value is a mistake, not a way to leave it out, whatever an optional type says.
fn refuse_null(schema: &mut Value) {
    let Value::Object(members) = schema else {
        if let Value::Array(items) = schema {
            items.iter_mut().for_each(refuse_null);
        }
        return;
    };
    members.values_mut().for_each(refuse_null);
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            members.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            members.remove("anyOf");
            members.extend(only);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::rule_file::batch::BATCH_KEYS;
    use crate::rule_file::lower::{ENDPOINT_KEYS, FILE_KEYS};
    use crate::rule_file::rule::{RULE_KEYS, WEBHOOK_KEYS};

    #[test]
    fn the_schema_and_the_reader_know_the_same_keys() {
        let schema = schema();
        let keys = |pointer: &str| {
            let properties = schema.pointer(pointer).and_then(Value::as_object).unwrap();
            properties.keys().map(String::as_str).collect::<BTreeSet<_>>()
        };
        let read = |known: &'static [&str]| known.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(keys("/properties"), read(FILE_KEYS));
        assert_eq!(keys("/$defs/Rule/properties"), read(RULE_KEYS));
        assert_eq!(keys("/$defs/Batch/properties"), read(BATCH_KEYS));
        assert_eq!(keys("/$defs/Webhook/properties"), read(WEBHOOK_KEYS));
        assert_eq!(keys("/$defs/Endpoint/properties"), read(ENDPOINT_KEYS));
    }

    #[test]
    fn the_committed_schema_is_the_generated_one() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/rule.schema.json");
        let generated = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(committed == generated, "write this into {}:\n{generated}", file.display());
    }
}
