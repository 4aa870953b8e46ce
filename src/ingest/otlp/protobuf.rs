//! Protobuf requests. The spans are left as bytes at first, each to be decoded by itself: bytes that are no span, or no
//! text where a text is due, cost that span only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as wire;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use serde_json::{Map, Number, Value};

use crate::ingest::error::{IngestError, Invalid};
use crate::ingest::otlp::check_count;
use crate::ingest::otlp::span::{self, Attributes, Event, Link, Sheet, Span};
use crate::ingest::otlp::weight::Weight;

/// `ExportTraceServiceRequest`, its spans still bytes.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

/// `ResourceSpans`.
#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

/// `ScopeSpans`. On the wire a message is bytes.
#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<InstrumentationScope>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    spans: Vec<Bytes>,
}

/// Hands over each span of a request.
pub(super) fn read(
    body: &Bytes,
    limit: u32,
    take: &mut dyn FnMut(&Sheet, Result<Span, Invalid>),
) -> Result<(), IngestError> {
    let weight = Weight::of(body);
    check_count(weight.spans, limit)?;
    if !weight.fits(body.len()) {
        return Err(IngestError::Malformed("the body is made of empty messages".to_owned()));
    }
    let request = Request::decode(body.clone())
        .map_err(|error| IngestError::Malformed(format!("the body is no ExportTraceServiceRequest: {error}")))?;
    for of_resource in request.resource_spans {
        let resource = attributes(of_resource.resource.unwrap_or_default().attributes);
        for of_scope in of_resource.scope_spans {
            let scope = of_scope.scope.unwrap_or_default();
            let sheet = Sheet { resource: resource.clone(), scope_name: scope.name, scope_version: scope.version };
            for bytes in of_scope.spans {
                take(&sheet, read_span(bytes));
            }
        }
    }
    Ok(())
}

fn read_span(bytes: Bytes) -> Result<Span, Invalid> {
    let read =
        wire::Span::decode(bytes).map_err(|error| Invalid::new("span", format!("cannot be decoded: {error}")))?;
    let status = read.status.unwrap_or_default();
    Ok(Span {
        trace_id: span::own_id("trace_id", &read.trace_id)?,
        id: span::own_id("span_id", &read.span_id)?,
        parent: span::id("parent_span_id", &read.parent_span_id)?,
        name: read.name,
        start: span::start(read.start_time_unix_nano)?,
        end: span::instant(read.end_time_unix_nano),
        attributes: attributes(read.attributes),
        events: read.events.into_iter().map(event).collect(),
        links: read.links.into_iter().map(link).collect::<Result<_, _>>()?,
        failure: (status.code == StatusCode::Error as i32).then_some(status.message),
    })
}

fn event(event: wire::span::Event) -> Event {
    let at = span::instant(event.time_unix_nano).unwrap_or_default();
    Event { name: event.name, at, attributes: attributes(event.attributes) }
}

fn link(link: wire::span::Link) -> Result<Link, Invalid> {
    Ok(Link {
        trace_id: span::own_id("links.trace_id", &link.trace_id)?,
        id: span::own_id("links.span_id", &link.span_id)?,
        attributes: attributes(link.attributes),
    })
}

fn attributes(pairs: Vec<KeyValue>) -> Attributes {
    pairs.into_iter().map(|pair| (pair.key, any(pair.value))).collect()
}

fn any(value: Option<AnyValue>) -> Value {
    match value.and_then(|any| any.value) {
        None | Some(Any::StringValueStrindex(_)) => Value::Null,
        Some(Any::StringValue(text)) => Value::String(text),
        Some(Any::BoolValue(flag)) => Value::Bool(flag),
        Some(Any::IntValue(number)) => Value::Number(number.into()),
        Some(Any::DoubleValue(number)) => double(number),
        Some(Any::ArrayValue(list)) => list.values.into_iter().map(|value| any(Some(value))).collect(),
        Some(Any::KvlistValue(pairs)) => {
            Value::Object(pairs.values.into_iter().map(|pair| (pair.key, any(pair.value))).collect::<Map<_, _>>())
        }
        Some(Any::BytesValue(bytes)) => Value::String(STANDARD.encode(bytes)),
    }
}

/// A float. JSON has no word for those that are no numbers, so they become texts.
pub(super) fn double(number: f64) -> Value {
    Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
}
