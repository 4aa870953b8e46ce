//! What becomes of attributes and events: a line for each word of the table in `docs/opentelemetry.md`.

use runhook::model::run::{Payload, StoredRun};
use serde_json::{Value, json};

use super::{Engine, pairs, send, span};

/// Attributes, events, where to look, and what has to be there.
type Line = (Value, Value, &'static str, Value);

fn on(attributes: Value, place: &'static str, expected: Value) -> Line {
    (attributes, json!([]), place, expected)
}

fn event(name: &str, attributes: Value, place: &'static str, expected: Value) -> Line {
    (json!({}), Value::Array(vec![Value::Array(vec![name.into(), attributes])]), place, expected)
}

fn types_and_names() -> Vec<Line> {
    vec![
        on(json!({}), "/run_type", json!("chain")),
        on(json!({"langsmith.span.kind": "LLM", "gen_ai.operation.name": "embedding"}), "/run_type", json!("llm")),
        on(json!({"langsmith.span.kind": "parser"}), "/run_type", json!("parser")),
        on(json!({"langsmith.span.kind": "else", "gen_ai.operation.name": "chat"}), "/run_type", json!("llm")),
        on(json!({"gen_ai.operation.name": "completion", "llm.request.type": "embedding"}), "/run_type", json!("llm")),
        on(json!({"gen_ai.operation.name": "text_completion"}), "/run_type", json!("llm")),
        on(json!({"gen_ai.operation.name": "generate_content"}), "/run_type", json!("llm")),
        on(json!({"gen_ai.operation.name": "embedding"}), "/run_type", json!("embedding")),
        on(json!({"gen_ai.operation.name": "embeddings"}), "/run_type", json!("embedding")),
        on(json!({"gen_ai.operation.name": "execute_tool"}), "/run_type", json!("tool")),
        on(json!({"gen_ai.operation.name": "invoke_agent"}), "/run_type", json!("chain")),
        on(json!({"llm.request.type": "embedding"}), "/run_type", json!("embedding")),
        on(json!({"llm.request.type": "chat", "openinference.span.kind": "TOOL"}), "/run_type", json!("llm")),
        on(
            json!({"openinference.span.kind": "RETRIEVER", "traceloop.span.kind": "tool"}),
            "/run_type",
            json!("retriever"),
        ),
        on(json!({"openinference.span.kind": "AGENT"}), "/run_type", json!("chain")),
        on(json!({"openinference.span.kind": "EMBEDDING"}), "/run_type", json!("embedding")),
        on(json!({"openinference.span.kind": "GUARDRAIL"}), "/run_type", json!("chain")),
        on(json!({"traceloop.span.kind": "workflow"}), "/run_type", json!("chain")),
        on(json!({"traceloop.span.kind": "tool"}), "/run_type", json!("tool")),
        on(json!({"gen_ai.tool.name": "look", "langsmith.span.kind": "llm"}), "/run_type", json!("tool")),
        on(json!({"llm.prompt_template.variables": "{}", "gen_ai.tool.name": "x"}), "/run_type", json!("prompt")),
        on(json!({}), "/name", json!("span 1")),
        on(json!({"langsmith.trace.name": "a", "traceloop.entity.name": "b"}), "/name", json!("a")),
        on(
            json!({"traceloop.entity.name": "b", "tool.name": "c", "openinference.span.kind": "TOOL"}),
            "/name",
            json!("b"),
        ),
        on(json!({"tool.name": "c", "openinference.span.kind": "TOOL"}), "/name", json!("c")),
        on(json!({"tool.name": "c", "openinference.span.kind": "CHAIN"}), "/name", json!("span 1")),
        on(
            json!({"langsmith.reference_example_id": "01a2010ff27274d0816b895478208850"}),
            "/example",
            json!("01a2010f-f272-74d0-816b-895478208850"),
        ),
        on(json!({"langsmith.span.tags": "t1, t2,"}), "/tags", json!(["t1", "t2"])),
        on(json!({"langsmith.span.tags": ["a", "b,c"], "tag.tags": ["d"]}), "/tags", json!(["a", "b,c"])),
        on(json!({"tag.tags": ["d"]}), "/tags", json!(["d"])),
    ]
}

fn metadata() -> Vec<Line> {
    vec![
        on(
            json!({"gen_ai.request.model": "m", "gen_ai.request.temperature": 0.5, "gen_ai.request.top_p": 1.0}),
            "/extra/invocation_params",
            json!({"model": "m", "temperature": 0.5, "top_p": 1.0}),
        ),
        on(
            json!({"gen_ai.request.max_tokens": 7, "gen_ai.request.seed": 1, "gen_ai.request.top_k": 2}),
            "/extra/invocation_params",
            json!({"max_tokens": 7, "seed": 1, "top_k": 2}),
        ),
        on(
            json!({"gen_ai.request.frequency_penalty": 0.1, "gen_ai.request.presence_penalty": 0.2}),
            "/extra/invocation_params",
            json!({"frequency_penalty": 0.1, "presence_penalty": 0.2}),
        ),
        on(
            json!({"gen_ai.request.stop_sequences": ["x"], "gen_ai.request.encoding_formats": ["f"]}),
            "/extra/invocation_params",
            json!({"stop_sequences": ["x"], "encoding_formats": ["f"]}),
        ),
        on(
            json!({"gen_ai.response.model": "m-1", "llm.presence_penalty": 0.3, "llm.frequency_penalty": 0.4}),
            "/extra/invocation_params",
            json!({"model": "m-1", "presence_penalty": 0.3, "frequency_penalty": 0.4}),
        ),
        on(
            json!({"llm.request.functions": "f", "llm.invocation_parameters": "{\"n\": 2}"}),
            "/extra/invocation_params",
            json!({"functions": "f", "n": 2}),
        ),
        on(
            json!({"tools": "[\"a\"]", "tool_arguments": "{\"x\": 1}", "gen_ai.tool.name": "t"}),
            "/extra/invocation_params",
            json!({"tools": ["a"], "tool_arguments": {"x": 1}, "tool_name": "t"}),
        ),
        on(json!({"tools": "one"}), "/extra/invocation_params/tools", json!(["one"])),
        on(
            json!({"gen_ai.tool.definitions": "[{\"name\": \"t\"}]"}),
            "/extra/invocation_params/tools",
            json!([{"name": "t"}]),
        ),
        on(json!({"gen_ai.system": "openai", "llm.system": "x"}), "/extra/metadata/ls_provider", json!("openai")),
        on(json!({"llm.system": "x", "gen_ai.provider.name": "y"}), "/extra/metadata/ls_provider", json!("x")),
        on(json!({"gen_ai.provider.name": "y"}), "/extra/metadata/ls_provider", json!("y")),
        on(
            json!({"gen_ai.request.model": "a", "gen_ai.response.model": "b"}),
            "/extra/metadata/ls_model_name",
            json!("a"),
        ),
        on(json!({"gen_ai.response.model": "b", "model": "c"}), "/extra/metadata/ls_model_name", json!("b")),
        on(json!({"model": "c", "llm.model_name": "d"}), "/extra/metadata/ls_model_name", json!("c")),
        on(json!({"llm.model_name": "d"}), "/extra/metadata/ls_model_name", json!("d")),
        on(json!({"traceloop.association.properties.user": "u"}), "/extra/metadata/user", json!("u")),
        on(
            json!({"langsmith.metadata.user": "v", "traceloop.association.properties.user": "u"}),
            "/extra/metadata/user",
            json!("v"),
        ),
        on(
            json!({"langsmith.metadata.n": 7, "langsmith.metadata.deep": "{\"a\": [1]}"}),
            "/extra/metadata/deep/a/0",
            json!(1),
        ),
        on(
            json!({"metadata": "{\"user\": \"w\"}", "langsmith.metadata.user": "v"}),
            "/extra/metadata/user",
            json!("w"),
        ),
        on(json!({}), "/extra/metadata/service.name", json!("shop")),
        on(json!({"service.name": "till"}), "/extra/metadata/service.name", json!("till")),
        on(json!({}), "/extra/metadata/otel.scope.name", json!("tests")),
        on(json!({"http.route": "/orders", "input.value": "x"}), "/extra/metadata/http.route", json!("/orders")),
        on(json!({"http.route": "/orders", "input.value": "x"}), "/extra/metadata/input.value", Value::Null),
        on(json!({}), "/extra/metadata/OTEL_SPAN_ID", json!("0000000000000001")),
        on(json!({"session.id": "s"}), "/extra/metadata/session_id", json!("s")),
        on(json!({"session.id": "s", "langsmith.metadata.thread_id": "t"}), "/extra/metadata/session_id", Value::Null),
        on(json!({"gen_ai.conversation.id": "c"}), "/extra/metadata/conversation_id", json!("c")),
    ]
}

fn inputs() -> Vec<Line> {
    vec![
        event("gen_ai.content.prompt", json!({"gen_ai.prompt": "{\"a\": 1}"}), "/inputs", json!({"a": 1})),
        event("gen_ai.content.prompt", json!({"gen_ai.prompt": "hi"}), "/inputs", json!({"input": "hi"})),
        (
            json!({"input.value": "no"}),
            json!([["gen_ai.system.message", {"content": "be"}], ["gen_ai.user.message", {"content": "hi", "role": "human"}]]),
            "/inputs",
            json!({"messages": [{"role": "system", "content": "be"}, {"role": "human", "content": "hi"}]}),
        ),
        event(
            "gen_ai.user.message",
            json!({"gen_ai.event.content": "{\"role\": \"user\", \"content\": \"k\"}"}),
            "/inputs/messages/0/content",
            json!("k"),
        ),
        on(
            json!({"llm.prompt_template.variables": "{\"x\": \"v\"}", "input.value": "{\"a\": 1}"}),
            "/inputs",
            json!({"a": 1}),
        ),
        on(
            json!({"llm.prompt_template.variables": "{\"x\": \"v\", \"y\": \"w\"}", "input.value": "w"}),
            "/inputs",
            json!({"y": "w"}),
        ),
        on(json!({"llm.prompt_template.variables": "{\"x\": \"v\"}"}), "/inputs", json!({"x": "v"})),
        on(
            json!({"openinference.span.kind": "RETRIEVER", "input.value": "where"}),
            "/inputs",
            json!({"query": "where"}),
        ),
        on(
            json!({"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "hi", "llm.input_messages.0.message.role": "no"}),
            "/inputs",
            json!({"messages": [{"role": "user", "content": "hi"}]}),
        ),
        on(
            json!({"gen_ai.prompt.0.message.role": "user", "gen_ai.prompt.0.message.content": "hi"}),
            "/inputs",
            json!({"messages": [{"role": "user", "content": "hi"}]}),
        ),
        on(
            json!({"llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "hi", "input.value": "no"}),
            "/inputs",
            json!({"messages": [{"role": "user", "content": "hi"}]}),
        ),
        on(
            json!({"gen_ai.input.messages": "[{\"role\": \"user\", \"parts\": []}]", "gen_ai.system_instructions": "[{\"type\": \"text\"}]", "input.value": "no"}),
            "/inputs",
            json!({"messages": [{"role": "user", "parts": []}], "system_instructions": [{"type": "text"}]}),
        ),
        on(json!({"gen_ai.input.messages": [{"role": "user"}]}), "/inputs", json!({"messages": [{"role": "user"}]})),
        event(
            "gen_ai.client.inference.operation.details",
            json!({"gen_ai.input.messages": "[{\"role\": \"user\"}]"}),
            "/inputs",
            json!({"messages": [{"role": "user"}]}),
        ),
        on(json!({"input.value": "{\"b\" : 1.10}", "traceloop.entity.input": "no"}), "/inputs", json!({"b": 1.10})),
        on(json!({"input.value": "hi"}), "/inputs", json!({"input": "hi"})),
        on(json!({"input.value": "[1]"}), "/inputs", json!({"input": "[1]"})),
        on(json!({"input.value": {"a": {"b": [1]}}}), "/inputs", json!({"a": {"b": [1]}})),
        on(json!({"traceloop.entity.input": "{\"args\": []}", "gen_ai.prompt": "no"}), "/inputs", json!({"args": []})),
        on(json!({"gen_ai.prompt": "{\"q\": 1}", "prompt": "no"}), "/inputs", json!({"q": 1})),
        on(json!({"gen_ai.tool.call.arguments": "{\"x\": 1}"}), "/inputs", json!({"x": 1})),
        on(json!({"prompt": "say"}), "/inputs", json!({"input": "say"})),
        on(
            json!({"events": "[{\"event.name\": \"gen_ai.user.message\", \"content\": \"hi\"}, {\"event.name\": \"gen_ai.choice\"}]"}),
            "/inputs",
            json!({"input": [{"event.name": "gen_ai.user.message", "content": "hi"}]}),
        ),
        on(json!({}), "/inputs", Value::Null),
    ]
}

fn outputs() -> Vec<Line> {
    vec![
        event("gen_ai.content.completion", json!({"gen_ai.completion": "{\"a\": 1}"}), "/outputs", json!({"a": 1})),
        event("gen_ai.content.completion", json!({"gen_ai.completion": "yes"}), "/outputs", json!({"text": "yes"})),
        event(
            "gen_ai.assistant.message",
            json!({"content": "yes"}),
            "/outputs",
            json!({"messages": [{"role": "assistant", "content": "yes"}]}),
        ),
        event(
            "gen_ai.tool.message",
            json!({"content": "42", "id": "c1"}),
            "/outputs",
            json!({"messages": [{"role": "tool", "content": "42", "tool_call_id": "c1"}]}),
        ),
        event(
            "gen_ai.choice",
            json!({"finish_reason": "stop", "message.content": "yes", "message.role": "assistant", "tool_calls.0.id": "c1", "tool_calls.0.function.name": "f"}),
            "/outputs",
            json!({"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}, "tool_calls": [{"id": "c1", "function": {"name": "f"}}]}]}),
        ),
        on(
            json!({"openinference.span.kind": "RETRIEVER", "retrieval.documents.0.document.content": "c", "retrieval.documents.0.document.metadata": "{\"p\": 1}", "output.value": "no"}),
            "/outputs",
            json!({"documents": [{"page_content": "c", "metadata": {"p": 1}, "type": "Document"}]}),
        ),
        on(
            json!({"openinference.span.kind": "RETRIEVER", "retrieval.documents.0.document.content": "c", "retrieval.documents.0.document.score": 0.5}),
            "/outputs/documents/0",
            json!({"page_content": "c", "metadata": {}, "type": "Document", "score": 0.5}),
        ),
        on(
            json!({"gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "yes", "llm.output_messages.0.message.role": "no"}),
            "/outputs",
            json!({"messages": [{"role": "assistant", "content": "yes"}]}),
        ),
        on(
            json!({"llm.output_messages.0.message.content": "yes", "output.value": "no"}),
            "/outputs",
            json!({"messages": [{"content": "yes"}]}),
        ),
        on(
            json!({"gen_ai.output.messages": "[{\"role\": \"assistant\"}]", "output.value": "no"}),
            "/outputs",
            json!({"messages": [{"role": "assistant"}]}),
        ),
        on(json!({"output.value": "{\"a\": 1}", "traceloop.entity.output": "no"}), "/outputs", json!({"a": 1})),
        on(json!({"output.value": "yes"}), "/outputs", json!({"text": "yes"})),
        on(json!({"traceloop.entity.output": "{\"a\": 2}", "gen_ai.completion": "no"}), "/outputs", json!({"a": 2})),
        on(json!({"gen_ai.completion": "{\"a\": 3}", "all_messages_events": "no"}), "/outputs", json!({"a": 3})),
        on(json!({"gen_ai.tool.call.result": "42"}), "/outputs", json!({"text": "42"})),
        on(json!({"all_messages_events": "[{}]"}), "/outputs", json!({"text": "[{}]"})),
        on(
            json!({"events": "[{\"event.name\": \"gen_ai.choice\", \"index\": 0}]"}),
            "/outputs",
            json!({"event.name": "gen_ai.choice", "index": 0}),
        ),
    ]
}

fn usage_and_endings() -> Vec<Line> {
    vec![
        on(
            json!({"langsmith.usage_metadata": "{\"input_tokens\": 1, \"total_cost\": 0.5}", "gen_ai.usage.input_tokens": 9}),
            "/outputs/usage_metadata",
            json!({"input_tokens": 1, "total_cost": 0.5}),
        ),
        on(
            json!({"gen_ai.usage.prompt_tokens": 1, "gen_ai.usage.input_tokens": 9, "output.value": "x"}),
            "/outputs",
            json!({"text": "x", "usage_metadata": {"input_tokens": 1}}),
        ),
        on(
            json!({"gen_ai.usage.input_tokens": 2, "llm.token_count.prompt": 9, "output.value": "{\"a\":1}"}),
            "/outputs",
            json!({"a": 1, "usage_metadata": {"input_tokens": 2}}),
        ),
        on(json!({"llm.token_count.prompt": 3}), "/tokens/0", json!(3)),
        on(json!({"gen_ai.usage.completion_tokens": 1, "gen_ai.usage.output_tokens": 9}), "/tokens/1", json!(1)),
        on(json!({"gen_ai.usage.output_tokens": 2, "llm.token_count.completion": 9}), "/tokens/1", json!(2)),
        on(json!({"llm.token_count.completion": 3}), "/tokens/1", json!(3)),
        on(json!({"gen_ai.usage.total_tokens": 1, "llm.usage.total_tokens": 9}), "/tokens/2", json!(1)),
        on(json!({"llm.usage.total_tokens": 2, "llm.token_count.total": 9}), "/tokens/2", json!(2)),
        on(json!({"llm.token_count.total": 3}), "/tokens/2", json!(3)),
        on(
            json!({"gen_ai.usage.details.reasoning_tokens": 4, "gen_ai.usage.details.audio_tokens": 5}),
            "/outputs/usage_metadata",
            json!({"output_token_details": {"reasoning": 4}, "audio_tokens": 5}),
        ),
        on(
            json!({"llm.token_count.prompt_details.cache_read": 6, "gen_ai.usage.cache_creation.input_tokens": 7}),
            "/outputs/usage_metadata/input_token_details",
            json!({"cache_read": 6, "cache_creation": 7}),
        ),
        on(
            json!({"gen_ai.usage.input_token_details": "{\"cache_read\": 8}"}),
            "/outputs/usage_metadata/input_token_details",
            json!({"cache_read": 8}),
        ),
        on(json!({"llm.cost.prompt": 0.25, "llm.cost.completion": 0.5}), "/cost", json!("0.75")),
        on(
            json!({"output.value": "{\"usage_metadata\": {\"input_tokens\": 1}}", "gen_ai.usage.input_tokens": 9}),
            "/tokens/0",
            json!(1),
        ),
        on(json!({}), "/status", json!("success")),
        event(
            "exception",
            json!({"exception.message": "m", "exception.stacktrace": "s"}),
            "/error",
            json!("m\n\nStacktrace:\ns"),
        ),
        event("exception", json!({"exception.stacktrace": "s"}), "/error", json!("Stacktrace:\ns")),
        event("exception", json!({"exception.type": "E"}), "/error", json!("E")),
        event("exception", json!({}), "/status", json!("error")),
        event("exception", json!({"exception.message": "m"}), "/events/0/kwargs/exception.message", json!("m")),
        event("gen_ai.user.message", json!({"content": "hi"}), "/events", Value::Null),
        event(
            "new_token",
            json!({}),
            "/events/0",
            json!({"name": "new_token", "time": "2026-11-22T12:00:01.250000+00:00", "kwargs": {}}),
        ),
    ]
}

fn told(stored: &StoredRun) -> Value {
    let run = &stored.run;
    let body = |payload: Option<&Payload>| match payload {
        Some(Payload::Inline(json)) => json.read::<Value>().unwrap(),
        _ => Value::Null,
    };
    json!({
        "name": run.name, "run_type": run.run_type, "status": run.status.as_str(), "error": run.error, "tags": run.tags,
        "example": run.reference_example_id, "inputs": body(run.inputs.as_ref()), "outputs": body(run.outputs.as_ref()),
        "extra": run.extra.as_ref().map(|extra| extra.read::<Value>().unwrap()),
        "events": run.events.as_ref().map(|events| events.read::<Value>().unwrap()),
        "tokens": [run.usage.prompt_tokens, run.usage.completion_tokens, run.usage.total_tokens],
        "cost": run.usage.total_cost.map(|cost| cost.to_string()),
    })
}

#[tokio::test]
async fn attributes_become_what_the_table_says() {
    let lines = [types_and_names(), metadata(), inputs(), outputs(), usage_and_endings()].concat();
    let trace = |number: usize| format!("{:032x}", number + 1);
    let spans: Vec<Value> = lines
        .iter()
        .enumerate()
        .map(|(number, (attributes, events, _, _))| {
            let mut span = span(1, None, attributes.clone());
            span["traceId"] = trace(number).into();
            let event = |event: &Value| json!({ "name": event[0], "attributes": pairs(&event[1]), "timeUnixNano": "1795348801250000000" });
            span["events"] = events.as_array().unwrap().iter().map(event).collect();
            span
        })
        .collect();
    let engine = Engine::start().await;
    assert_eq!(send(&engine, &spans).await.expect(200).json(), json!({}));
    let mut wrong = Vec::new();
    for (number, (attributes, events, place, expected)) in lines.iter().enumerate() {
        let run = told(&engine.run(&trace(number)).await.unwrap());
        // A key with a dot is one key; those of the table are looked for one after the other.
        let found = place.trim_start_matches('/').split('/').fold(&run, |at, key| match key.parse::<usize>() {
            Ok(index) => &at[index],
            Err(_) => &at[key],
        });
        if found != expected {
            wrong.push(format!("{attributes} {events}: {place} is {found}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_status_of_error_fails_a_run_and_objects_keep_their_bytes() {
    let engine = Engine::start().await;
    let failed = |number: u8, message: &str, attributes: Value| {
        let mut span = span(number, Some(100), attributes);
        span["status"] =
            json!({ "code": if number == 1 { json!(2) } else { json!("STATUS_CODE_ERROR") }, "message": message });
        span
    };
    let text = "{\"b\" : 1.10, \"a\":\"\\u00e9\"}";
    let spans = [
        failed(1, "upstream is away", json!({ "error.type": "Timeout" })),
        failed(2, "", json!({ "error.type": "Timeout" })),
        failed(3, "", json!({ "input.value": text })),
    ];
    send(&engine, &spans).await.expect(200);
    for (number, error) in [(1, Some("upstream is away")), (2, Some("Timeout")), (3, None)] {
        let run = engine.run(&super::run_of(number)).await.unwrap().run;
        assert_eq!((run.status.as_str(), run.error.as_deref()), ("error", error));
        if let Some(Payload::Inline(inputs)) = run.inputs {
            assert_eq!(inputs.text(), text);
        }
    }
}

#[tokio::test]
async fn the_links_of_a_span_are_metadata_that_finds_what_they_lead_to() {
    let mut linked = span(2, Some(1), json!({}));
    linked["links"] = json!([
        { "traceId": format!("{:032x}", 0xdef), "spanId": format!("{:016x}", 9), "attributes": pairs(&json!({"why": "retry of"})) },
        { "traceId": format!("{:032x}", 0xabc), "spanId": format!("{:016x}", 1) },
    ]);
    let expected = json!([
        { "OTEL_TRACE_ID": format!("{:032x}", 0xdef), "OTEL_SPAN_ID": format!("{:016x}", 9), "attributes": { "why": "retry of" } },
        { "OTEL_TRACE_ID": format!("{:032x}", 0xabc), "OTEL_SPAN_ID": format!("{:016x}", 1) },
    ]);
    let spans = [span(1, None, json!({})), linked];
    for request in super::every_way(&spans) {
        let engine = Engine::start().await;
        engine.send(request).await.expect(200);
        let run = engine.run(&super::run_of(2)).await.unwrap();
        assert_eq!(told(&run).pointer("/extra/metadata/OTEL_LINKS"), Some(&expected));
        let led = &expected[1]["OTEL_SPAN_ID"];
        let filter = format!("and(eq(metadata_key, \"OTEL_SPAN_ID\"), eq(metadata_value, {led}))");
        let session = engine.get("/sessions?name=default").await.json()[0]["id"].clone();
        let found =
            engine.post("/runs/query", &json!({ "session": [session], "filter": filter })).await.expect(200).json();
        let found: Vec<&Value> = found["runs"].as_array().unwrap().iter().map(|run| &run["id"]).collect();
        assert_eq!(found, [&json!(super::root())]);
    }
    let mut broken = span(3, Some(1), json!({}));
    broken["links"] = json!([{ "traceId": "00", "spanId": "01" }]);
    let engine = Engine::start().await;
    let said = send(&engine, &[span(1, None, json!({})), broken]).await.expect(200).json();
    assert_eq!(said["partialSuccess"]["rejectedSpans"], "1");
    assert!(said["partialSuccess"]["errorMessage"].as_str().unwrap().contains("links.traceId"), "{said}");
}
