"""A small agent that is instrumented with OpenTelemetry and sends with the exporter that comes with it, to whatever
`OTEL_EXPORTER_OTLP_ENDPOINT` names. Each span is sent when it ends, so children come before their parents. Says the
trace's id.
"""

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult


class Watched(SpanExporter):
    """The exporter, and whether it was content each time."""

    def __init__(self, exporter):
        self.exporter, self.results = exporter, []

    def export(self, spans):
        result = self.exporter.export(spans)
        self.results.append(result)
        return result

    def shutdown(self):
        self.exporter.shutdown()


watched = Watched(OTLPSpanExporter(compression=Compression.Gzip))
provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
provider.add_span_processor(SimpleSpanProcessor(watched))
tracer = provider.get_tracer("shop-agent", "1.2")

with tracer.start_as_current_span("agent") as agent:
    agent.set_attribute("openinference.span.kind", "AGENT")
    agent.set_attribute("session.id", "thread-7")
    agent.set_attribute("input.value", "where is my order?")
    with tracer.start_as_current_span("chat gpt-4o-mini") as chat:
        chat.set_attribute("gen_ai.operation.name", "chat")
        chat.set_attribute("gen_ai.provider.name", "openai")
        chat.set_attribute("gen_ai.request.model", "gpt-4o-mini")
        chat.set_attribute("gen_ai.input.messages", '[{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]')
        chat.set_attribute("gen_ai.output.messages", '[{"role": "assistant", "parts": []}]')
        chat.set_attribute("gen_ai.usage.input_tokens", 11)
        chat.set_attribute("gen_ai.usage.output_tokens", 7)
    try:
        with tracer.start_as_current_span("execute_tool look_up") as tool:
            tool.set_attribute("gen_ai.tool.name", "look_up")
            tool.set_attribute("gen_ai.tool.call.arguments", '{"order": "A-17"}')
            tool.set_attribute("langsmith.span.tags", "payments, eu")
            raise LookupError("order A-17 is locked")
    except LookupError:
        pass
    agent.set_attribute("output.value", "Sorry.")

provider.shutdown()
assert watched.results == [SpanExportResult.SUCCESS] * 3, watched.results
print(format(agent.get_span_context().trace_id, "032x"))
