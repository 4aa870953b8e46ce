//! Endpoints as written: a URL, what is sent with it, and nothing that cannot be sent.

use std::ops::Range;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::model::endpoint::{Format, Overrides, Policy, Target, is_reserved};
use crate::model::signing::Signing;
use crate::rule_file::format;
use crate::rule_file::node::{Node, Value};
use crate::rule_file::reading::{Reading, Resolved, Section};
use crate::rule_file::secret::looks_secret;
use crate::rule_file::signing::{self, SigningDraft};
use crate::rule_file::trying::{self, Choice};

/// Keys of an endpoint, but its own key.
pub(super) const TARGET_KEYS: &[&str] = &[
    "url",
    "query",
    "headers",
    "format",
    "template",
    "secrets",
    "policy",
    "timeout",
    "retries",
    "rate",
    "burst",
    "concurrency",
    "signing_secret",
    "signature",
];

/// An endpoint as a file describes it. Its `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct TargetDraft {
    /// Where and with what to knock, without its signatures: those depend on the ones it had.
    pub target: Target,
    /// What the file says about signatures.
    pub signing: SigningDraft,
    /// The shape of what it is sent.
    pub format: Format,
    /// How it is tried.
    pub policy: Policy,
    /// What it says beyond its policy.
    pub overrides: Overrides,
    /// Where its format is written.
    pub format_span: Range<usize>,
    /// Where its URL is written.
    pub url_span: Range<usize>,
    /// Where each header's value is written, in the order of the target's.
    pub header_spans: Vec<Range<usize>>,
}

/// Reads what the sections of a webhook and of a named endpoint share.
pub(super) fn lower(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<TargetDraft> {
    let url_node = section.require(reading, "url", "say where notifications go: `url: ${MY_WEBHOOK_URL}`");
    let url = url_node.and_then(|node| url(reading, node));
    let query = section.get("query").map_or(Some(Vec::new()), |node| query(reading, node));
    let headers = section.get("headers").map_or(Some(Vec::new()), |node| headers(reading, node));
    let body = format::lower(reading, section);
    let policy = trying::policy(reading, section);
    let overrides = trying::overrides(reading, section);
    let signing = signing::lower(reading, section);
    let (headers, header_spans) = headers?.into_iter().map(|(name, value, span)| ((name, value), span)).unzip();
    let body = body?;
    Some(TargetDraft {
        target: Target { url: url?, query: query?, headers, secrets: body.secrets, signing: Signing::default() },
        signing: signing?,
        policy: match policy? {
            Choice::Usual => body.format.usual_policy(),
            Choice::Named(policy) => policy,
        },
        format: body.format,
        format_span: body.span,
        overrides: overrides?,
        url_span: url_node?.span.clone(),
        header_spans,
    })
}

fn url(reading: &mut Reading<'_>, node: &Node) -> Option<SecretString> {
    let resolved = reading.resolved(node, "`url`")?;
    let refused = |reading: &mut Reading<'_>, why: &str, hint: &str| {
        reading.error("bad-url", &node.span, why, hint);
        None
    };
    if resolved.text.trim().is_empty() {
        return refused(reading, "the URL is empty", "write it whole: https://example.com/hook");
    }
    // The URL standard drops these silently, so that what is sent to is not what was read.
    if resolved.text.contains(|c: char| c.is_control() || c == ' ') {
        let hint = "remove the blank or line break; does a variable end in one?";
        return refused(reading, "the URL holds a blank or a control character", hint);
    }
    let url = match Url::parse(&resolved.text) {
        Ok(url) => url,
        Err(error) => {
            let hint = "write it whole: https://example.com/hook";
            return refused(reading, &format!("not a URL: {error}"), hint);
        }
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refused(reading, "the URL is neither http nor https", "write it whole: https://example.com/hook");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return refused(reading, "the URL names no host", "write it whole: https://example.com/hook");
    }
    if !url.username().is_empty() || url.password().is_some() {
        let hint = "send it as a header: `headers: { Authorization: \"Basic ${CREDENTIALS}\" }`";
        return refused(reading, "the URL holds a user name or password", hint);
    }
    if url.fragment().is_some() {
        reading.warning("fragment", &node.span, "what follows the `#` of a URL is never sent", "remove it");
    }
    lint_url(reading, node, &resolved);
    Some(resolved.text.into())
}

fn lint_url(reading: &mut Reading<'_>, node: &Node, resolved: &Resolved) {
    let after_host = resolved.literal.split_once("://").map_or(resolved.literal.as_str(), |(_, rest)| rest);
    let path = after_host.find(['/', '?']).and_then(|at| after_host.get(at..)).unwrap_or_default();
    let parameters = path.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let named = parameters.split('&').filter_map(|pair| pair.split_once('='));
    if looks_secret("", path) || named.into_iter().any(|(name, value)| looks_secret(name, value)) {
        lint(reading, node, "the URL holds what looks like a secret", "`url: ${MY_WEBHOOK_URL}`");
    } else {
        lint_bare(reading, node, resolved);
    }
}

fn query(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<(String, SecretString)>> {
    let pairs = named_values(reading, node, "query")?;
    Some(pairs.into_iter().map(|(name, value, _)| (name, value)).collect())
}

fn headers(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<(String, SecretString, Range<usize>)>> {
    let found = named_values(reading, node, "headers")?;
    let before = reading.problems.len();
    let Value::Mapping(entries) = &node.value else { return None };
    for (key, _) in entries {
        if is_reserved(&key.text) {
            let message = format!("the header {} is set by Runhook", key.text.to_ascii_lowercase());
            reading.error("reserved-header", &key.span, message, "remove it");
        } else if !is_token(&key.text) {
            let hint = "a header's name is letters, digits and any of !#$%&'*+-.^_`|~";
            reading.error("bad-header", &key.span, "this is not the name of a header", hint);
        }
    }
    for (name, value, span) in &found {
        let value = value.expose_secret();
        let why = if value.contains(['\n', '\r']) {
            "holds a line break"
        } else if !value.chars().all(|c| c == '\t' || (' '..='~').contains(&c)) {
            "holds a character that HTTP headers cannot carry"
        } else if value.trim() != value {
            "begins or ends with a blank"
        } else {
            continue;
        };
        let hint = "use visible ASCII characters; does a variable end in a line break?";
        reading.error("bad-header", span, format!("the value of the header {name} {why}"), hint);
    }
    (reading.problems.len() == before).then_some(found)
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A mapping of names to values, each name once, whatever the case of a header's.
pub(super) fn named_values(
    reading: &mut Reading<'_>,
    node: &Node,
    what: &str,
) -> Option<Vec<(String, SecretString, Range<usize>)>> {
    let mut found: Vec<(String, SecretString, Range<usize>)> = Vec::new();
    let mut complete = true;
    for (key, value) in reading.entries(node, &format!("`{what}`"))? {
        let same = |name: &str| if what == "headers" { name.eq_ignore_ascii_case(&key.text) } else { name == key.text };
        if found.iter().any(|(name, ..)| same(name)) {
            reading.error("repeated-key", &key.span, format!("`{}` is given twice", key.text), "keep one of them");
            continue;
        }
        let Some(resolved) = reading.resolved(value, &format!("`{}`", key.text)) else {
            complete = false;
            continue;
        };
        if !resolved.has_variables && looks_secret(&key.text, &resolved.literal) {
            lint(reading, value, &format!("`{}` holds what looks like a secret", key.text), "\"${MY_SECRET}\"");
        } else {
            lint_bare(reading, value, &resolved);
        }
        found.push((key.text.clone(), resolved.text.into(), value.span.clone()));
    }
    complete.then_some(found)
}

pub(super) fn lint(reading: &mut Reading<'_>, node: &Node, message: &str, instead: &str) {
    let hint = format!("keep it out of the file: write {instead} and set the variable where you apply");
    reading.warning("literal-secret", &node.span, message, &hint);
}

/// `$NAME` is a text of its own; whoever wrote it most likely meant a variable.
pub(super) fn lint_bare(reading: &mut Reading<'_>, node: &Node, resolved: &Resolved) {
    let name = resolved.literal.strip_prefix('$').unwrap_or_default();
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
        let hint = format!("write ${{{name}}} for the variable");
        reading.warning("bare-variable", &node.span, "this is text, not a variable", &hint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Mode;
    use crate::rule_file::node::read;

    fn problems(yaml: &str) -> Vec<String> {
        let root = read(yaml).unwrap();
        let variables = |name: &str| (name == "TOKEN").then(|| "t0k3n\n".to_owned());
        let mut reading = Reading { text: yaml, variables: &variables, mode: Mode::Lenient, problems: Vec::new() };
        let section = reading.section(&root, "a webhook", TARGET_KEYS).unwrap();
        let lowered = lower(&mut reading, &section);
        let errors = reading.problems.iter().filter(|p| p.severity == crate::model::problem::Severity::Error).count();
        assert_eq!(lowered.is_none(), errors > 0, "{:?}", reading.problems);
        let at = |span: &Range<usize>| yaml.get(span.clone()).unwrap().to_owned();
        reading.problems.iter().map(|p| format!("{} [{}] {}", p.code, at(&p.span), p.message)).collect()
    }

    #[test]
    fn a_url_is_whole_http_and_without_credentials() {
        assert_eq!(problems("url: https://h.example/x\n"), Vec::<String>::new());
        for (url, why) in [
            ("h.example/x", "not a URL: relative URL without a base"),
            ("ftp://h/x", "the URL is neither http nor https"),
            ("https://u:p@h/x", "the URL holds a user name or password"),
            ("\"https://h/\\n\"", "the URL holds a blank or a control character"),
            ("https://h:99999/", "not a URL: invalid port number"),
            ("\"\"", "the URL is empty"),
        ] {
            let found = problems(&format!("url: {url}\n"));
            assert_eq!(found, [format!("bad-url [{url}] {why}")]);
        }
    }

    #[test]
    fn headers_are_ones_http_can_carry_and_runhook_does_not_set() {
        let found = problems("url: https://h\nheaders: { Host: h, X-A: '${TOKEN}', x-a: b, X-C: }\n");
        assert_eq!(found, ["repeated-key [x-a] `x-a` is given twice", "empty [] `X-C` is empty",]);
        let found = problems("url: https://h\nheaders: { Host: h, X Y: a, X-A: '${TOKEN}', X-B: é }\n");
        assert_eq!(
            found,
            [
                "reserved-header [Host] the header host is set by Runhook",
                "bad-header [X Y] this is not the name of a header",
                "bad-header ['${TOKEN}'] the value of the header X-A holds a line break",
                "bad-header [é] the value of the header X-B holds a character that HTTP headers cannot carry",
            ]
        );
    }

    #[test]
    fn literal_secrets_are_noticed_and_never_repeated() {
        let found = problems(
            "url: https://hooks.example/T0/x?token=abc\nquery: { secret: hunter2 }\nheaders: { X-A: $TEAM }\n",
        );
        assert_eq!(
            found,
            [
                "literal-secret [https://hooks.example/T0/x?token=abc] the URL holds what looks like a secret",
                "literal-secret [hunter2] `secret` holds what looks like a secret",
                "bare-variable [$TEAM] this is text, not a variable",
            ]
        );
    }

    #[test]
    fn a_signing_secret_is_one_that_its_receivers_can_verify_with() {
        let url = "url: https://h\n";
        assert_eq!(
            problems(&format!("{url}signing_secret: 'c2hvcnQ='\n")).last().unwrap(),
            "bad-secret ['c2hvcnQ='] a signing \
            secret has 24 to 64 bytes, which are 32 to 88 characters of base64"
        );
        assert_eq!(
            problems(&format!("{url}signature: langsmith\nsigning_secret: '${{TOKEN}}'\n")),
            ["bad-secret ['${TOKEN}'] the signing secret is empty, or begins or ends with a blank"]
        );
        assert_eq!(
            problems(&format!("{url}signature: stadard\n")),
            ["unknown-value [stadard] there is no signature `stadard`"]
        );
        let literal = format!("whsec_{}", "a".repeat(32));
        assert_eq!(
            problems(&format!("{url}signing_secret: {literal}\n")),
            [format!("literal-secret [{literal}] `signing_secret` is written out")]
        );
        let found = problems(&format!("{url}signature: both\nsigning_secret: whsk_{}\n", "A".repeat(43)));
        assert!(found.last().unwrap().ends_with("is made with a shared secret, not with a private key"), "{found:?}");
    }

    #[test]
    fn waits_are_durations_within_bounds() {
        let url = "url: https://h\npolicy: standard\n";
        assert_eq!(problems(&format!("{url}timeout: 9s\nretries: [1s, 5m]\n")), Vec::<String>::new());
        assert_eq!(
            problems(&format!("{url}timeout: 16s\nretries: [soon, 8d]\n")),
            [
                "out-of-range [16s] `timeout` is out of range",
                "bad-duration [soon] a wait before a retry is not a duration",
                "out-of-range [8d] a wait before a retry is out of range",
            ]
        );
    }

    #[test]
    fn a_pace_is_a_rate_with_a_burst_and_a_concurrency() {
        let url = "url: https://h\n";
        assert_eq!(problems(&format!("{url}rate: 10/s\nburst: 20\nconcurrency: 4\n")), Vec::<String>::new());
        assert_eq!(
            problems(&format!("{url}rate: fast\nburst: 0\nconcurrency: 20000\n")),
            [
                "bad-rate [fast] `rate` is not a rate",
                "out-of-range [0] `burst` is not a number that can be used",
                "out-of-range [20000] `concurrency` is not a number that can be used",
            ]
        );
        assert_eq!(problems(&format!("{url}burst: 20\n")), ["no-rate [20] `burst` says nothing without `rate`"]);
    }

    #[test]
    fn a_format_has_what_it_needs_and_nothing_else() {
        let found = |lines: &str| problems(&format!("url: https://h\n{lines}"));
        assert_eq!(found("format: pagerduty\nsecrets: { routing_key: '${TOKEN}' }\n"), Vec::<String>::new());
        assert_eq!(found("format: template\ntemplate: '{}'\n"), Vec::<String>::new());
        assert_eq!(
            found("format: slak\npolicy: langsmit\n"),
            [
                "unknown-value [slak] there is no format `slak`",
                "unknown-value [langsmit] there is no policy `langsmit`",
            ]
        );
        assert_eq!(found("format: template\n"), ["missing-key [format] the format template has no `template`"]);
        assert_eq!(
            found("template: '{}'\n"),
            ["no-template [template] `template` says nothing without `format: template`"]
        );
        assert_eq!(
            found("format: slack\nsecrets: { a: '${TOKEN}' }\n"),
            ["unused-secrets [secrets] the format slack puts no secret into the body"]
        );
    }
}
