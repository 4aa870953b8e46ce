//! What OpenTelemetry exporters send.

mod answers;
mod mapping;
mod trees;

use axum::body::Body;
use axum::http::Request;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as wire;
use prost::Message as _;
use serde_json::{Value, json};

use super::engine::{Answer, Engine, gzip};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// When spans begin: 22 November 2026, 12:00 UTC.
const NANOS: u64 = 1_795_348_800_000_000_000;

/// A span of trace 1 with this number, which began so many seconds later.
fn span(number: u8, parent: Option<u8>, attributes: Value) -> Value {
    let Value::Object(attributes) = attributes else { panic!("attributes are an object") };
    let id = |number: u8| format!("{number:016x}");
    json!({
        "traceId": format!("{:032x}", 0xabc_u32), "spanId": id(number), "parentSpanId": parent.map(id).unwrap_or_default(),
        "name": format!("span {number}"), "kind": 1,
        "startTimeUnixNano": (NANOS + u64::from(number) * 1_000_000_000).to_string(),
        "endTimeUnixNano": (NANOS + u64::from(number) * 1_000_000_000 + 500_000_000).to_string(),
        "attributes": pairs(&Value::Object(attributes)), "status": {},
    })
}

/// Attributes as OTLP's JSON has them.
fn pairs(attributes: &Value) -> Value {
    let pairs = attributes.as_object().unwrap().iter();
    pairs.map(|(key, value)| json!({ "key": key, "value": any(value) })).collect()
}

fn any(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(flag) => json!({ "boolValue": flag }),
        Value::Number(number) if number.is_i64() => json!({ "intValue": number.to_string() }),
        Value::Number(number) => json!({ "doubleValue": number }),
        Value::String(text) => json!({ "stringValue": text }),
        Value::Array(list) => json!({ "arrayValue": { "values": list.iter().map(any).collect::<Vec<_>>() } }),
        Value::Object(_) => json!({ "kvlistValue": { "values": pairs(value) } }),
    }
}

/// A request of these spans.
fn request(spans: &[Value]) -> Value {
    let resource = json!({ "attributes": pairs(&json!({ "service.name": "shop" })) });
    json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "scope": { "name": "tests", "version": "1" }, "spans": spans }] }] })
}

/// The same request in protobuf.
fn protobuf(request: &Value) -> ExportTraceServiceRequest {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let whole = |value: &Value| value.as_str().map_or(0, |text| text.parse().unwrap());
    let bytes = |value: &Value| -> Vec<u8> {
        let text = value.as_str().unwrap();
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let event = |event: &Value| wire::span::Event {
        time_unix_nano: whole(&event["timeUnixNano"]),
        name: text(&event["name"]),
        attributes: list(&event["attributes"]).iter().map(pair).collect(),
        dropped_attributes_count: 0,
    };
    let link = |link: &Value| wire::span::Link {
        trace_id: bytes(&link["traceId"]),
        span_id: bytes(&link["spanId"]),
        attributes: list(&link["attributes"]).iter().map(pair).collect(),
        ..wire::span::Link::default()
    };
    let span = |span: &Value| wire::Span {
        trace_id: bytes(&span["traceId"]),
        span_id: bytes(&span["spanId"]),
        parent_span_id: bytes(&span["parentSpanId"]),
        name: text(&span["name"]),
        start_time_unix_nano: whole(&span["startTimeUnixNano"]),
        end_time_unix_nano: whole(&span["endTimeUnixNano"]),
        attributes: list(&span["attributes"]).iter().map(pair).collect(),
        events: list(&span["events"]).iter().map(event).collect(),
        links: list(&span["links"]).iter().map(link).collect(),
        status: Some(wire::Status {
            code: i32::try_from(span["status"]["code"].as_i64().unwrap_or(0)).unwrap(),
            message: text(&span["status"]["message"]),
        }),
        ..wire::Span::default()
    };
    let of_scope = |scope: &Value| wire::ScopeSpans {
        scope: Some(InstrumentationScope {
            name: text(&scope["scope"]["name"]),
            version: text(&scope["scope"]["version"]),
            ..InstrumentationScope::default()
        }),
        spans: list(&scope["spans"]).iter().map(span).collect(),
        schema_url: String::new(),
    };
    let of_resource = |resource: &Value| wire::ResourceSpans {
        resource: Some(Resource {
            attributes: list(&resource["resource"]["attributes"]).iter().map(pair).collect(),
            ..Resource::default()
        }),
        scope_spans: list(&resource["scopeSpans"]).iter().map(of_scope).collect(),
        schema_url: String::new(),
    };
    ExportTraceServiceRequest { resource_spans: list(&request["resourceSpans"]).iter().map(of_resource).collect() }
}

fn pair(pair: &Value) -> KeyValue {
    let key = pair["key"].as_str().unwrap().to_owned();
    KeyValue { key, value: Some(value(&pair["value"])), ..KeyValue::default() }
}

fn value(any: &Value) -> AnyValue {
    let value = any.as_object().unwrap().iter().next().map(|(kind, inside)| match kind.as_str() {
        "stringValue" => Any::StringValue(inside.as_str().unwrap().to_owned()),
        "boolValue" => Any::BoolValue(inside.as_bool().unwrap()),
        "intValue" => Any::IntValue(inside.as_str().unwrap().parse().unwrap()),
        "doubleValue" => Any::DoubleValue(inside.as_f64().unwrap()),
        "arrayValue" => {
            Any::ArrayValue(ArrayValue { values: inside["values"].as_array().unwrap().iter().map(value).collect() })
        }
        "kvlistValue" => {
            Any::KvlistValue(KeyValueList { values: inside["values"].as_array().unwrap().iter().map(pair).collect() })
        }
        other => panic!("{other}"),
    });
    AnyValue { value }
}

fn post(content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post("/otel/v1/traces").header("content-type", content_type).body(body.into()).unwrap()
}

async fn send(engine: &Engine, spans: &[Value]) -> Answer {
    engine.send(post(JSON, request(spans).to_string())).await
}

/// Each way to send the same request.
fn every_way(spans: &[Value]) -> [Request<Body>; 4] {
    let json = request(spans);
    let packed = protobuf(&json).encode_to_vec();
    let gzipped = |content_type: &str, body: &[u8]| {
        let mut request = post(content_type, gzip(body));
        request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        request
    };
    [
        post(JSON, json.to_string()),
        gzipped("application/json; charset=utf-8", json.to_string().as_bytes()),
        gzipped(PROTOBUF, &packed),
        post("application/vnd.google.protobuf+proto", packed),
    ]
}

/// The id of the run of a span that is no root.
fn run_of(number: u8) -> String {
    uuid::Uuid::from_u128(number.into()).to_string()
}

/// The id of the run that is the root of trace 1.
fn root() -> String {
    uuid::Uuid::from_u128(0xabc).to_string()
}
