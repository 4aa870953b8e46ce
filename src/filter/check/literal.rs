//! Literals to values of the type their field has.

use std::ops::Range;

use uuid::Uuid;

use crate::filter::checked::Contained;
use crate::filter::field::{Field, Plain, Type};
use crate::filter::flatten;
use crate::filter::suggest::nearest;
use crate::filter::tree::{Kind, Node};
use crate::filter::value::{Number, Value, seconds};
use crate::model::problem::Problem;
use crate::model::time::Timestamp;

const STATUSES: [&str; 4] = ["pending", "success", "error", "interrupted"];
const RUN_TYPES: [&str; 7] = ["tool", "chain", "llm", "retriever", "embedding", "prompt", "parser"];

/// Reads a literal for a field. What a literal of another type could have meant is never guessed: a filter that matches
/// nothing without saying so is worse than one that is refused.
pub(crate) fn value(field: &Field, node: &Node, problems: &mut Vec<Problem>) -> Option<Value> {
    if matches!(node.kind, Kind::Bad) {
        return None;
    }
    if let Some(unfilled) = placeholder(field, node) {
        let message = "this looks like a placeholder that was not filled in";
        problems.push(Problem::warning("placeholder", node.span.clone(), message));
        return Some(unfilled);
    }
    let read = match field.kind() {
        Type::Id => id(node, problems),
        Type::Text | Type::Key | Type::Tags => text_value(node),
        Type::Flag => flag(node),
        Type::Time => time(node),
        Type::Seconds => duration(node),
        Type::Number => number(node),
        Type::Score => score(node),
        Type::Any | Type::Thread => any(node),
        Type::Document => (node.kind == Kind::Null).then_some(Value::Null),
    };
    match read {
        Some(Value::Null) if field.kind() == Type::Key => {
            let problem = Problem::error("wrong-type", node.span.clone(), format!("`{field}` is never null"));
            problems.push(problem.hint(format!("`neq({field}, \"x\")` says that no entry is called x")));
            None
        }
        Some(value) => {
            unlikely(field, &value, &node.span, problems);
            Some(value)
        }
        None => {
            problems.push(wrong_type(field, node));
            None
        }
    }
}

/// Text such as `{run_id}` or `${since}`, which a program was to replace. It is text like any other, and so no instant and
/// no id.
fn placeholder(field: &Field, node: &Node) -> Option<Value> {
    let Kind::Text(text) = &node.kind else { return None };
    let inner = text.strip_prefix('$').unwrap_or(text).strip_prefix('{')?.strip_suffix('}')?;
    let plain = !inner.is_empty() && !inner.contains(['"', '{', '}', '\n']);
    let typed = matches!(field.kind(), Type::Flag | Type::Seconds | Type::Number | Type::Score | Type::Document);
    (plain && !typed).then(|| Value::Text(text.as_str().into()))
}

/// The text of a literal, quoted or not.
pub(crate) fn text(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Text(text) | Kind::Word(text) => Some(text),
        _ => None,
    }
}

fn text_value(node: &Node) -> Option<Value> {
    match &node.kind {
        Kind::Null => Some(Value::Null),
        _ => text(node).map(|text| Value::Text(text.into())),
    }
}

fn id(node: &Node, problems: &mut Vec<Problem>) -> Option<Value> {
    if node.kind == Kind::Null {
        return Some(Value::Null);
    }
    let text = text(node)?;
    Some(Uuid::try_parse(text.trim()).map_or_else(
        |_| {
            let message = "this is not an id, so nothing is equal to it";
            let problem = Problem::warning("never-true", node.span.clone(), message);
            problems.push(problem.hint("an id has 32 hexadecimal digits, with or without dashes"));
            Value::Text(text.into())
        },
        Value::Id,
    ))
}

fn flag(node: &Node) -> Option<Value> {
    match node.kind {
        Kind::Bool(yes) => Some(Value::Bool(yes)),
        _ => None,
    }
}

fn time(node: &Node) -> Option<Value> {
    if node.kind == Kind::Null {
        return Some(Value::Null);
    }
    // Years of another width cannot be written in a way that reads back.
    Timestamp::parse(text(node)?).ok().filter(|time| time.to_string().len() == 27).map(Value::Time)
}

fn duration(node: &Node) -> Option<Value> {
    match &node.kind {
        Kind::Null => Some(Value::Null),
        Kind::Number(number, None) => Some(Value::Number(*number)),
        Kind::Number(number, Some(unit)) => number.times(unit.seconds()).map(Value::Number),
        _ => seconds(text(node)?).map(Value::Number),
    }
}

fn number(node: &Node) -> Option<Value> {
    match &node.kind {
        Kind::Null => Some(Value::Null),
        Kind::Number(number, None) => Some(Value::Number(*number)),
        _ => None,
    }
}

fn score(node: &Node) -> Option<Value> {
    match node.kind {
        Kind::Bool(yes) => Number::of_f64(f64::from(u8::from(yes))).map(Value::Number),
        _ => number(node),
    }
}

fn any(node: &Node) -> Option<Value> {
    match &node.kind {
        Kind::Bool(yes) => Some(Value::Bool(*yes)),
        Kind::Text(text) | Kind::Word(text) => Some(Value::Text(text.as_str().into())),
        _ => number(node),
    }
}

fn wrong_type(field: &Field, node: &Node) -> Problem {
    let kind = field.kind();
    let (found, hint) = match &node.kind {
        Kind::Call(_) => ("a call", None),
        Kind::List(_) => ("a list", Some(format!("to compare with several values write in({field}, [...])"))),
        Kind::Number(number, None) if matches!(kind, Type::Text | Type::Key | Type::Id | Type::Tags) => {
            ("a number", Some(format!("write it in quotes: \"{number}\"")))
        }
        Kind::Number(_, None) if kind == Type::Time => {
            ("a number", Some("write ISO 8601, such as \"2026-11-22T08:30:00Z\"".into()))
        }
        Kind::Number(_, None) => ("a number", None),
        Kind::Number(_, Some(_)) => ("a duration", Some("units belong to latency; text needs quotes".into())),
        Kind::Bool(_) => ("true or false", None),
        Kind::Null => ("null", None),
        Kind::Text(text) | Kind::Word(text) => ("text", text_hint(kind, text)),
        Kind::Bad => ("wrong", None),
    };
    if kind == Type::Time && text(node).is_some() {
        return Problem::error("bad-time", node.span.clone(), "this is not a time")
            .hint("write ISO 8601, such as \"2026-11-22T08:30:00Z\"; no offset means UTC");
    }
    let problem = if kind == Type::Document {
        Problem::error(
            "wrong-type",
            node.span.clone(),
            format!("`{field}` is a document, which can only be null or not"),
        )
        .hint(format!("ask about a part of it, as in eq({field}.key, \"value\")"))
    } else {
        let message = format!("`{field}` is {}, and this is {found}", kind.article());
        Problem::error("wrong-type", node.span.clone(), message)
    };
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

fn text_hint(kind: Type, text: &str) -> Option<String> {
    match kind {
        Type::Number | Type::Score if Number::parse(text).is_some() => Some(format!("write it without quotes: {text}")),
        Type::Flag if ["true", "false"].contains(&text.to_ascii_lowercase().as_str()) => {
            Some(format!("write it without quotes: {}", text.to_ascii_lowercase()))
        }
        Type::Seconds => Some("write seconds, or a duration such as \"5s\", \"500ms\" or \"1m30s\"".into()),
        _ => None,
    }
}

/// Warns of words that no run is likely to have.
fn unlikely(field: &Field, value: &Value, span: &Range<usize>, problems: &mut Vec<Problem>) {
    let Value::Text(word) = value else { return };
    let known: &[&str] = match field {
        Field::Plain(Plain::Status) => &STATUSES,
        Field::Plain(Plain::RunType) => &RUN_TYPES,
        _ => return,
    };
    if known.contains(&&**word) {
        return;
    }
    let nearest = nearest(word, known.iter().copied());
    if *field != Field::Plain(Plain::Status) && nearest.is_none() {
        return;
    }
    let problem =
        Problem::warning("unlikely-value", span.clone(), format!("`{}` is no usual {field}", word.escape_debug()));
    problems.push(match nearest {
        Some(nearest) => problem.hint(format!("did you mean \"{nearest}\"?")),
        None => problem.hint(format!("usual ones are {}", known.join(", "))),
    });
}

/// Reads a JSON object that another document must contain. `None` when the text is none, which is reported if it looks
/// like one.
pub(crate) fn contained(text: &str) -> Option<Result<Contained, String>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    Some(match serde_json::from_str::<serde_json::Value>(text) {
        Ok(json) => Ok(Contained { json: json.to_string(), entries: flatten::rows(json) }),
        Err(error) => Err(error.to_string()),
    })
}
