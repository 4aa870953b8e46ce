//! `template`: a body of the endpoint's own making, in the language of Jinja. What it prints is JSON-escaped, and the whole
//! is checked to be JSON before it is sent.
//!
//! A template sees the members of the documented payload, `message` and `secrets`. What it may do is [`super::sandbox`]'s
//! business; steps and output have limits here.

use std::collections::BTreeMap;
use std::io;

use minijinja::value::{Rest, Serde, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use secrecy::ExposeSecret;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::model::endpoint::MASK;
use crate::payload::format::sandbox::vet;
use crate::payload::format::told::brief;
use crate::payload::format::{FormatError, Source};
use crate::payload::sample;

/// Steps of one rendering.
const STEPS: u64 = 500_000;

/// Bytes of the largest result.
const LARGEST: usize = 8 * 1024 * 1024;

/// Characters of the longest text that `text` and `join` make.
const LONGEST_TEXT: usize = 64 * 1024;

/// The longest reason given.
const LONGEST_REASON: usize = 300;

/// Renders a template for a message, and checks that it is JSON.
pub(super) fn write(text: &str, source: Source<'_>) -> Result<Vec<u8>, FormatError> {
    let body = render(text, source)?;
    check_json(&body)?;
    Ok(body)
}

/// Renders a template for a message, whatever comes of it.
pub(super) fn render(text: &str, source: Source<'_>) -> Result<Vec<u8>, FormatError> {
    vet(text)?;
    let environment = environment();
    let template = environment.template_from_named_str("the template", text).map_err(said)?;
    let mut out = Bounded(Vec::new());
    template.render_captured_to(context(source)?, &mut out).map_err(said)?;
    Ok(out.0.trim_ascii().to_vec())
}

/// Whether what a template gave can be sent.
pub(super) fn check_json(body: &[u8]) -> Result<(), FormatError> {
    serde_json::from_slice::<IgnoredAny>(body)
        .map(|_| ())
        .map_err(|error| FormatError(format!("what the template gives is no JSON: {}", brief(&error.to_string(), 200))))
}

/// Whether a template renders a notification that has everything.
pub(super) fn check(text: &str, secrets: &[String]) -> Result<(), FormatError> {
    let (message, body) = sample::notification().map_err(|error| FormatError(error.to_string()))?;
    let secrets: Vec<_> = secrets.iter().map(|name| (name.clone(), MASK.into())).collect();
    write(text, Source { message: &message, body: &body, secrets: &secrets }).map(|_| ())
}

fn context(source: Source<'_>) -> Result<Value, FormatError> {
    let unreadable = |_| FormatError("its stored body is no JSON object".to_owned());
    let mut told: BTreeMap<String, serde_json::Value> = serde_json::from_slice(source.body).map_err(unreadable)?;
    let message = source.message;
    told.insert("message".to_owned(), json!({"id": message.id, "created_at": message.created_at.to_string()}));
    let secrets: BTreeMap<&str, &str> =
        source.secrets.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
    told.insert("secrets".to_owned(), json!(secrets));
    Ok(Value::from(Serde(&told)))
}

/// The engine with what a template may use, and nothing else.
fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_auto_escape_callback(|_| AutoEscape::Json);
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_fuel(Some(STEPS));
    environment.set_recursion_limit(50);
    environment.add_function("text", |parts: Rest<Value>| joined(&parts, ""));
    environment.add_filter("inner", |value: Value| inner(&value));
    environment.add_filter("length", |value: Value| value.len().unwrap_or(0));
    environment.add_filter("default", |value: Value, other: Value| if is_nothing(&value) { other } else { value });
    environment.add_filter("truncate", |value: Value, most: usize| brief(&plain(&value), most.min(LONGEST_TEXT)));
    environment.add_filter("upper", |value: Value| plain(&value).to_uppercase());
    environment.add_filter("lower", |value: Value| plain(&value).to_lowercase());
    environment.add_filter("json", |value: Value| as_json(&value));
    environment.add_filter("join", |values: Value, by: String| {
        let parts: Vec<Value> = values.try_iter()?.collect();
        joined(&parts, &by)
    });
    environment.add_test("defined", |value: Value| !value.is_undefined());
    environment.add_test("none", |value: Value| value.is_none());
    environment
}

fn is_nothing(value: &Value) -> bool {
    value.is_undefined() || value.is_none()
}

/// A value as it stands in a text.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| if is_nothing(value) { String::new() } else { value.to_string() }, str::to_owned)
}

fn joined(parts: &[Value], by: &str) -> Result<String, Error> {
    let mut text = String::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            text.push_str(by);
        }
        text.push_str(&plain(part));
        if text.len() > LONGEST_TEXT {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("a text is longer than {LONGEST_TEXT} bytes")));
        }
    }
    Ok(text)
}

/// A text for a place inside quotes.
fn inner(value: &Value) -> Value {
    let quoted = serde_json::Value::from(plain(value)).to_string();
    let inside = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    Value::from_safe_string(inside.to_owned())
}

/// A value as JSON text, such as a body inside a body.
fn as_json(value: &Value) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what errors are mapped with")]
fn said(error: Error) -> FormatError {
    let reason = match (error.kind(), error.line()) {
        (ErrorKind::WriteFailure, _) => format!("what the template gives is larger than {LARGEST} bytes"),
        (ErrorKind::OutOfFuel, _) => "the template takes too many steps".to_owned(),
        (_, Some(line)) => {
            let what =
                error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
            format!("line {line} of the template: {what}")
        }
        (_, None) => error.to_string(),
    };
    FormatError(brief(&reason, LONGEST_REASON))
}

/// What was written, up to a limit.
struct Bounded(Vec<u8>);

impl io::Write for &mut Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > LARGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> Result<String, String> {
        let (message, body) = sample::notification().unwrap();
        let secrets = [("token".to_owned(), "t0\"k".into())];
        let written = write(text, Source { message: &message, body: &body, secrets: &secrets });
        written.map(|body| String::from_utf8(body).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_template_prints_is_escaped_wherever_it_stands() {
        assert_eq!(
            rendered(r#"{"p": {{ project }}, "n": {{ runs|length }}, "t": {{ secrets.token }}}"#).unwrap(),
            r#"{"p": "sample", "n": 1, "t": "t0\"k"}"#
        );
        assert_eq!(
            rendered(r#" {"t": "{{ secrets.token|inner }} of {{ rule_name|inner }}"} "#).unwrap(),
            r#"{"t": "t0\"k of A \"sample\" rule"}"#
        );
        assert_eq!(
            rendered("[{% for run in runs %}{{ text(run.name, ' ', run.status)|upper }}{% endfor %}]").unwrap(),
            r#"["ANSWER ERROR"]"#
        );
        assert_eq!(rendered("{{ runs[0].no_such_key|default('none') }}").unwrap(), r#""none""#);
    }

    #[test]
    fn a_template_that_goes_wrong_says_where() {
        assert_eq!(
            rendered("{\"a\": {{ rule_name }}").unwrap_err().split(':').next().unwrap(),
            "what the template gives is no JSON"
        );
        assert!(
            rendered("{\n{{ nothing_like_it }}}").unwrap_err().starts_with("line 2 of the template: undefined value")
        );
        assert!(rendered("{{ runs|sort }}").unwrap_err().contains("unknown filter"));
        assert!(rendered("{% for a in runs %}").unwrap_err().starts_with("line 1 of the template"));
        assert!(rendered("{% include 'x' %}").unwrap_err().contains("no tag `include`"));
    }

    #[test]
    fn a_template_has_its_limits() {
        let loops = |depth: usize| {
            let names = "{% for c in range %}".repeat(depth);
            format!("{}{}{}", names, "1", "{% endfor %}".repeat(depth)).replace("range", "runs[0].tags")
        };
        let error = rendered(&loops(20)).unwrap_err();
        assert!(error.contains("too many steps") || error.contains("larger than"), "{error}");
        let long = format!("{{{{ text({}) }}}}", vec!["runs[0].inputs|json"; 3000].join(", "));
        assert!(rendered(&long).unwrap_err().contains("longer than"));
    }
}
