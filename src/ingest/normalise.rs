//! A run object, in any of the spellings clients use, as what it says of the run.
//!
//! The object is taken apart no deeper than its own keys: inputs, outputs and the other bodies stay the bytes that were
//! sent. Keys nobody knows are ignored, `null` is the same as absent.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ingest::depth;
use crate::ingest::error::Invalid;
use crate::ingest::part_name::Heavy;
use crate::ingest::value;
use crate::model::dotted_order::DottedOrder;
use crate::model::id::{RunId, TraceId};
use crate::model::project::{DEFAULT_PROJECT, ProjectRef};
use crate::model::run::{Fields, PartKind, Payload};

/// What a run object says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    /// The run, if the object names it.
    pub(crate) run_id: Option<RunId>,
    /// The project.
    pub(crate) project: Option<ProjectRef>,
    /// Everything else.
    pub(crate) fields: Fields,
}

/// The keys that are read.
#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    name: Option<&'a RawValue>,
    run_type: Option<&'a RawValue>,
    start_time: Option<&'a RawValue>,
    end_time: Option<&'a RawValue>,
    status: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    tags: Option<&'a RawValue>,
    parent_run_id: Option<&'a RawValue>,
    trace_id: Option<&'a RawValue>,
    dotted_order: Option<&'a RawValue>,
    session_id: Option<&'a RawValue>,
    session_name: Option<&'a RawValue>,
    reference_example_id: Option<&'a RawValue>,
    inputs: Option<&'a RawValue>,
    outputs: Option<&'a RawValue>,
    extra: Option<&'a RawValue>,
    events: Option<&'a RawValue>,
    serialized: Option<&'a RawValue>,
}

/// Reads a run object. `named` is the run its request names already, if it does.
pub(crate) fn run(json: &[u8], kind: PartKind, named: Option<RunId>, depth_limit: u32) -> Result<Draft, Invalid> {
    depth::check("run", json, depth_limit)?;
    if json.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Invalid::new("run", "must be a JSON object"));
    }
    let keys: Keys<'_> =
        serde_json::from_slice(json).map_err(|error| Invalid::new("run", format!("is not valid JSON: {error}")))?;
    let run_id = each("id", keys.id, value::id)?;
    if let (Some(named), Some(said)) = (named, run_id)
        && named != said
    {
        return Err(Invalid::new("id", format!("is {said}, but the request is about run {named}")));
    }
    let run_id = named.or(run_id);
    let project = project(&keys, kind)?;
    let mut fields = fields(&keys)?;
    if let Some(run_id) = run_id {
        complete_lineage(&mut fields, run_id);
    }
    Ok(Draft { run_id, project, fields })
}

/// Reads a field that came as a document of its own.
pub(crate) fn heavy(field: Heavy, json: &[u8], depth_limit: u32, fields: &mut Fields) -> Result<(), Invalid> {
    let name = field.name();
    // One level less: the same run is accepted or refused alike, whole or in parts.
    depth::check(name, json, depth_limit.saturating_sub(1))?;
    let raw: Option<&RawValue> =
        serde_json::from_slice(json).map_err(|error| Invalid::new(name, format!("is not valid JSON: {error}")))?;
    let Some(raw) = raw else { return Ok(()) };
    match field {
        Heavy::Inputs => fields.inputs = Some(Payload::Inline(value::any(raw))),
        Heavy::Outputs => fields.outputs = Some(Payload::Inline(value::any(raw))),
        Heavy::Events => fields.events = Some(value::any(raw)),
        Heavy::Extra => fields.extra = Some(value::object(name, raw)?),
        Heavy::Error => fields.error = said(value::text(raw)),
        Heavy::Serialized => fields.serialized = Some(value::any(raw)),
    }
    Ok(())
}

fn each<T>(
    name: &str,
    raw: Option<&RawValue>,
    read: impl FnOnce(&str, &RawValue) -> Result<T, Invalid>,
) -> Result<Option<T>, Invalid> {
    raw.map(|raw| read(name, raw)).transpose()
}

fn project(keys: &Keys<'_>, kind: PartKind) -> Result<Option<ProjectRef>, Invalid> {
    if let Some(id) = each("session_id", keys.session_id, value::id)? {
        return Ok(Some(ProjectRef::Id(id)));
    }
    let name = each("session_name", keys.session_name, value::string)?.and_then(said);
    Ok(match (name, kind) {
        (Some(name), _) => Some(ProjectRef::Name(name)),
        (None, PartKind::Post) => Some(ProjectRef::Name(DEFAULT_PROJECT.to_owned())),
        (None, PartKind::Patch) => None,
    })
}

fn fields(keys: &Keys<'_>) -> Result<Fields, Invalid> {
    let payload = |raw: Option<&RawValue>| raw.map(value::any).map(Payload::Inline);
    Ok(Fields {
        name: each("name", keys.name, value::string)?,
        run_type: each("run_type", keys.run_type, value::string)?.and_then(said),
        start_time: each("start_time", keys.start_time, value::time)?,
        end_time: each("end_time", keys.end_time, value::time)?,
        status: each("status", keys.status, value::string)?.and_then(said),
        error: keys.error.map(value::text).and_then(said),
        tags: each("tags", keys.tags, value::strings)?,
        parent_run_id: each("parent_run_id", keys.parent_run_id, value::id)?,
        trace_id: each("trace_id", keys.trace_id, value::id)?,
        dotted_order: each("dotted_order", keys.dotted_order, value::string)?.and_then(said),
        reference_example_id: each("reference_example_id", keys.reference_example_id, value::id::<RunId>)?
            .map(|id| id.0),
        inputs: payload(keys.inputs),
        outputs: payload(keys.outputs),
        extra: each("extra", keys.extra, value::object)?,
        events: keys.events.map(value::any),
        serialized: keys.serialized.map(value::any),
        attachments: Vec::new(),
        alias: None,
    })
}

/// A text that says something.
fn said(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A dotted order that contradicts the run's id or trace would hang the run under a stranger: it is left out. One that
/// does not can say which trace and which parent, when nothing else does.
pub(crate) fn complete_lineage(fields: &mut Fields, run_id: RunId) {
    let Some(text) = fields.dotted_order.take() else { return };
    let path = match consistent(&text, run_id, fields.trace_id) {
        Ok(path) => path,
        Err(reason) => return tracing::warn!(%run_id, reason, "a dotted_order was left out"),
    };
    follow(fields, run_id, &path);
    fields.dotted_order = Some(text);
}

/// Takes trace and parent from a path.
fn follow(fields: &mut Fields, run_id: RunId, path: &DottedOrder) {
    fields.trace_id = fields.trace_id.or(path.first().map(|segment| segment.run_id.into()));
    if let Some(parent) = path.ancestors().last().map(|segment| segment.run_id) {
        if fields.parent_run_id.is_some_and(|said| said != parent) {
            tracing::warn!(%run_id, %parent, "a parent_run_id gave way to the dotted_order, which names another one");
        }
        fields.parent_run_id = Some(parent);
    }
}

fn consistent(text: &str, run_id: RunId, trace_id: Option<TraceId>) -> Result<DottedOrder, String> {
    let path = DottedOrder::parse(text).map_err(|error| error.to_string())?;
    let root = path.first().map(|segment| TraceId::from(segment.run_id));
    if path.last().map(|segment| segment.run_id) != Some(run_id) {
        return Err("it ends in another run".to_owned());
    }
    if trace_id.is_some() && trace_id != root {
        return Err("it begins in another trace".to_owned());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::ProjectId;
    use crate::model::time::Timestamp;

    const ID: &str = "01a2010f-f272-74d0-816b-895478208850";
    const CHILD: &str = "01a20110-1e2b-7995-b1aa-a4e1248ba31a";

    const OTHER: &str = "01a20110-1e2b-7995-b1aa-a4e1248ba31b";

    fn post(json: &str) -> Result<Draft, Invalid> {
        run(json.as_bytes(), PartKind::Post, None, 128)
    }

    #[test]
    fn null_and_absent_say_nothing() {
        let draft = run(
            br#"{"id":null,"name":null,"tags":null,"extra":null,"inputs":null,"session_id":null,"session_name":null,
                "error":null,"end_time":null,"parent_run_id":null}"#,
            PartKind::Patch,
            Some(ID.parse().unwrap()),
            128,
        )
        .unwrap();
        assert_eq!(draft.fields, Fields::default());
        assert_eq!(draft.project, None);
    }

    #[test]
    fn a_post_without_a_project_goes_to_the_default_one_and_an_id_wins_over_a_name() {
        let default = post("{}").unwrap().project;
        assert_eq!(default, Some(ProjectRef::Name("default".to_owned())));
        let both = post(&format!(r#"{{"session_name":"a","session_id":"{ID}"}}"#)).unwrap().project;
        assert_eq!(both, Some(ProjectRef::Id(ID.parse::<ProjectId>().unwrap())));
    }

    #[test]
    fn bodies_keep_their_senders_bytes() {
        let draft = post(r#"{"inputs": {"b" : 1.10, "a":"\u00e9"}, "unknown": {"x": []}}"#).unwrap();
        let Some(Payload::Inline(inputs)) = draft.fields.inputs else { panic!() };
        assert_eq!(inputs.text(), r#"{"b" : 1.10, "a":"\u00e9"}"#);
    }

    #[test]
    fn ids_without_dashes_and_epoch_milliseconds_are_read() {
        let draft = post(&format!(r#"{{"id":"{}","end_time":1763778152065,"error":{{"a":1}}}}"#, ID.replace('-', "")));
        let draft = draft.unwrap();
        assert_eq!(draft.run_id, Some(ID.parse().unwrap()));
        assert_eq!(draft.fields.end_time, Some(Timestamp(1_763_778_152_065_000)));
        assert_eq!(draft.fields.error.as_deref(), Some(r#"{"a":1}"#));
    }

    #[test]
    fn errors_name_the_field() {
        for (json, field) in [
            (r#"{"start_time":"soon"}"#, "start_time"),
            (r#"{"tags":"a"}"#, "tags"),
            (r#"{"name":[]}"#, "name"),
            (r#"{"extra":1}"#, "extra"),
            (r#"{"parent_run_id":"x"}"#, "parent_run_id"),
            (r#"["a"]"#, "run"),
            (r#"{"name":"#, "run"),
        ] {
            assert_eq!(post(json).unwrap_err().field, field, "{json}");
        }
        let deep = format!(r#"{{"inputs":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        assert!(post(&deep).unwrap_err().reason.contains("128 levels"));
    }

    #[test]
    fn a_dotted_order_fills_in_trace_and_parent_unless_it_contradicts_them() {
        let order = format!("20261122T022243227253Z{ID}.20261122T022243243878Z{CHILD}");
        let draft = post(&format!(r#"{{"id":"{CHILD}","dotted_order":"{order}"}}"#)).unwrap();
        assert_eq!(draft.fields.trace_id, Some(ID.parse().unwrap()));
        assert_eq!(draft.fields.parent_run_id, Some(ID.parse().unwrap()));
        let elsewhere = post(&format!(r#"{{"id":"{CHILD}","parent_run_id":"{OTHER}","dotted_order":"{order}"}}"#));
        assert_eq!(elsewhere.unwrap().fields.parent_run_id, Some(ID.parse().unwrap()), "the path says more");
        let other = post(&format!(r#"{{"id":"{CHILD}","trace_id":"{CHILD}","dotted_order":"{order}"}}"#)).unwrap();
        assert_eq!(other.fields.dotted_order, None);
        assert_eq!(other.fields.parent_run_id, None);
    }
}
