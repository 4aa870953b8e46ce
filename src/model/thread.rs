//! Threads: conversations. A thread is made of the traces of a project whose roots name it in their metadata; each root
//! is a turn of it.

use serde_json::value::RawValue;

use crate::model::id::{ThreadId, derived};
use crate::model::json::{RawJson, value_of};

/// The metadata keys that name a thread, the first one first.
const KEYS: [&str; 3] = ["session_id", "thread_id", "conversation_id"];

impl ThreadId {
    /// The id of the thread of this name. Names may be of any length; ids are what is looked up by.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        Self(derived("thread", &[name.as_bytes()]))
    }
}

/// The name of the thread that an `extra` names: what the first of the keys of its metadata says that says something,
/// text or a number.
#[must_use]
pub fn named(extra: &RawJson) -> Option<String> {
    if !may_name(extra) {
        return None;
    }
    let metadata = value_of(extra.text(), "metadata")?.get();
    KEYS.iter().find_map(|key| said(value_of(metadata, key)?))
}

/// Whether an `extra` can name a thread, as far as can be told without reading it: all keys end alike, unless they are
/// spelled in escapes.
pub(crate) fn may_name(extra: &RawJson) -> bool {
    extra.text().contains("_id\"") || extra.text().contains("\\u")
}

fn said(value: &RawValue) -> Option<String> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str::<String>(text).ok().filter(|name| !name.is_empty()),
        b'-' | b'0'..=b'9' => Some(text.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_that_says_something_names_the_thread() {
        let named = |metadata: &str| named(&RawJson::parse(format!("{{\"metadata\":{metadata}}}")).unwrap());
        for (metadata, name) in [
            (r#"{"thread_id":"t","session_id":"s"}"#, Some("s")),
            (r#"{"thread_id":"t","session_id":""}"#, Some("t")),
            (r#"{"thread_id":null,"session_id":{"a":1},"conversation_id": 77 }"#, Some("77")),
            (r#"{"session_id":["s"],"conversation_id":true}"#, None),
            (r#"{"\u0074hread_id":"t\u0031"}"#, Some("t1")),
            (r#"{"thread_id":"t","thread_id":"u"}"#, Some("u")),
            (r#"{"other":{"thread_id":"t"}}"#, None),
            ("[]", None),
            ("null", None),
        ] {
            assert_eq!(named(metadata).as_deref(), name, "{metadata}");
        }
    }

    #[test]
    fn what_has_no_metadata_names_none() {
        for extra in ["{}", "[]", "\"_id\\\"\"", r#"{"thread_id":"t"}"#, r#"{"metadata":"session_id\""}"#] {
            assert_eq!(named(&RawJson::parse(extra.to_owned()).unwrap()), None, "{extra}");
        }
    }
}
