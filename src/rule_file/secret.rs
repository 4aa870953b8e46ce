//! Which parts of a rule file may be shown.
//!
//! Problems are shown with the line they are on: on a terminal, in a log, in an API answer. So before anything is shown,
//! all that could be a secret someone wrote into the file is struck out. What may be shown is a list; a misspelt key is
//! not on it.

use std::ops::Range;

use crate::rule_file::node::{Node, Value};
use crate::rule_file::offsets::Offsets;
use crate::rule_file::variables::{Kind, pieces};

/// Keys whose values say nothing secret.
const OPEN: &[&str] = &[
    "version",
    "rules",
    "endpoints",
    "webhooks",
    "batch",
    "key",
    "name",
    "project",
    "filter",
    "trace_filter",
    "tree_filter",
    "sampling_rate",
    "every",
    "cron",
    "timezone",
    "settle",
    "backfill_from",
    "group_by",
    "idle",
    "max_runs",
    "max_bytes",
    "inline_bytes",
    "endpoint",
    "format",
    "policy",
    "signature",
    "timeout",
    "retries",
    "rate",
    "burst",
    "concurrency",
];

/// The text with all secrets struck out, byte for byte as long as before.
pub(super) fn masked(text: &str, root: &Node) -> String {
    let mut secrets = Vec::new();
    collect(text, root, "", &mut secrets);
    struck(text, &secrets)
}

/// The same for a text that is not YAML: all values are struck out but those of known keys.
pub(super) fn masked_blindly(text: &str) -> String {
    let mut at = 0;
    let mut secrets = Vec::new();
    for line in text.split_inclusive('\n') {
        let key = line.trim_start_matches([' ', '-', '\u{feff}']).split(':').next().unwrap_or_default();
        if !OPEN.contains(&key.trim()) {
            let shown = line.find(':').map_or(0, |colon| colon + 1);
            let secret = |(start, c): (usize, char)| {
                (start >= shown && c.is_alphanumeric()).then(|| at + start..at + start + c.len_utf8())
            };
            secrets.extend(line.char_indices().filter_map(secret));
        }
        at += line.len();
    }
    struck(text, &secrets)
}

fn collect(text: &str, node: &Node, key: &str, secrets: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Null => {}
        Value::Sequence(items) => items.iter().for_each(|item| collect(text, item, key, secrets)),
        // Below a mapping that is not on the list (headers, query, a misspelling) nothing is.
        Value::Mapping(entries) => {
            for (name, value) in entries {
                let open = key.is_empty() || OPEN.contains(&key);
                collect(text, value, if open { &name.text } else { key }, secrets);
            }
        }
        Value::Scalar(_) if OPEN.contains(&key) => {}
        Value::Scalar(scalar) => {
            let shown = if key == "url" { shown_of_url(&scalar.text) } else { 0 };
            let offsets = Offsets::new(text.get(node.span.clone()).unwrap_or_default(), &scalar.text);
            let literal = pieces(&scalar.text).into_iter().filter(|piece| !matches!(piece.kind, Kind::Variable(_)));
            secrets.extend(literal.filter(|piece| piece.at.end > shown).map(|piece| {
                let found = offsets.of(&(piece.at.start.max(shown)..piece.at.end));
                found.start + node.span.start..found.end + node.span.start
            }));
        }
    }
}

/// How much of a URL may be shown: its scheme, host and port.
fn shown_of_url(url: &str) -> usize {
    let host = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(host..).unwrap_or_default();
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    if rest.get(..end).is_none_or(|authority| authority.contains('@')) { host } else { host + end }
}

fn struck(text: &str, secrets: &[Range<usize>]) -> String {
    let mut hidden = vec![false; text.len()];
    for secret in secrets {
        if let Some(bytes) = hidden.get_mut(secret.start..secret.end.min(text.len())) {
            bytes.fill(true);
        }
    }
    let mut shown = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if c.is_whitespace() || !hidden.get(at).copied().unwrap_or(true) {
            shown.push(c);
        } else {
            shown.extend(std::iter::repeat_n('*', c.len_utf8()));
        }
    }
    shown
}

/// Beginnings of well-known kinds of credentials.
const PREFIXES: &[&str] = &[
    "sk-",
    "sk_",
    "pk_",
    "lsv2_",
    "ls__",
    "whsec_",
    "ghp_",
    "gho_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "hf_",
    "AKIA",
    "eyJ",
    "Bearer ",
    "Basic ",
    "ApiKey ",
    "Token ",
];

/// Words in the name of a header or parameter that say its value is a secret.
const NAMES: &[&str] =
    &["secret", "token", "key", "auth", "password", "passwd", "credential", "signature", "cookie", "session"];

/// Whether a literal looks like a secret: by its name, by how it begins, or by having no other reason to look so.
pub(super) fn looks_secret(name: &str, value: &str) -> bool {
    let value = value.trim();
    let name = name.to_ascii_lowercase();
    if value.is_empty() {
        return false;
    }
    if NAMES.iter().any(|word| name.contains(word)) || PREFIXES.iter().any(|prefix| value.starts_with(prefix)) {
        return true;
    }
    value.split(['/', '?', '&', '=']).any(looks_random)
}

/// Long, without spaces, of letters and digits in a mixture that words do not have.
fn looks_random(word: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "-_+.".contains(c);
    if word.len() < 20 || !word.chars().all(token) {
        return false;
    }
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let upper = word.chars().filter(char::is_ascii_uppercase).count();
    let lower = word.chars().filter(char::is_ascii_lowercase).count();
    digits >= 3 && (upper + lower) >= 3 && (upper >= 2 || digits * 4 >= word.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule_file::node::read;

    fn shown(text: &str) -> String {
        let masked = masked(text, &read(text).unwrap());
        assert_eq!(masked.len(), text.len());
        masked
    }

    #[test]
    fn what_could_be_secret_is_struck_out_and_the_rest_is_not() {
        let source = "rules:\n  - key: a\n    webhooks:\n      - url: https://h.example:8443/T0/x?y=1\n        \
                      headers: { X-A: \"se\\\"cret\", B: 'Bearer ${T} x' }\n        heders: { X-A: typo }\n";
        let expected = "rules:\n  - key: a\n    webhooks:\n      - url: https://h.example:8443*********\n        \
                        headers: { X-A: \"********\", B: '****** ${T} *' }\n        heders: { X-A: **** }\n";
        assert_eq!(shown(source), expected);
    }

    #[test]
    fn a_url_shows_no_user_and_no_password() {
        assert_eq!(shown("url: https://u:p@h/x\n"), "url: https://*******\n");
        assert_eq!(shown("url: ${X}/low\n"), "url: ${X}****\n");
        assert_eq!(shown("url: h.example/é\n"), "url: h.example***\n");
    }

    #[test]
    fn a_broken_file_shows_known_keys_only() {
        let source = "rules:\n  - key: [a\n    X-Token: \"se-cret\"\n  loose secret\n";
        assert_eq!(masked_blindly(source), "rules:\n  - key: [a\n    X-Token: \"**-****\"\n  ***** ******\n");
    }

    #[test]
    fn literals_that_look_like_secrets_are_noticed() {
        for (name, value) in [
            ("X-Team-Token", "abc"),
            ("secret", "38ee77617c3a489ab6e871fbeb2ec87d"),
            ("x", "sk-abc"),
            ("x", "38ee77617c3a489ab6e871fbeb2ec87d"),
            ("url", "/services/T00000000/B00000000/XXabXX11XX22XX33XX44XX55"),
        ] {
            assert!(looks_secret(name, value), "{name}: {value}");
        }
        for (name, value) in
            [("X-Team", "platform"), ("X-Env", "production-europe-west-1"), ("url", "/langsmith_webhook")]
        {
            assert!(!looks_secret(name, value), "{name}: {value}");
        }
    }
}
