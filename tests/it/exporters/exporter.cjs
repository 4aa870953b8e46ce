// The same with the exporter for JavaScript, which sends JSON: a parent and a child, all at once.
const { BasicTracerProvider, BatchSpanProcessor } = require("@opentelemetry/sdk-trace-base");
const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-http");
const { trace, context, SpanStatusCode } = require("@opentelemetry/api");

const exporter = new OTLPTraceExporter();
const sent = [];
const watched = {
  export: (spans, done) => exporter.export(spans, (result) => { sent.push(result.code); done(result); }),
  shutdown: () => exporter.shutdown(),
};
const provider = new BasicTracerProvider({ spanProcessors: [new BatchSpanProcessor(watched)] });
const tracer = provider.getTracer("shop-agent");
const parent = tracer.startSpan("workflow", { attributes: { "traceloop.span.kind": "workflow", "list": ["a", "b"] } });
const child = tracer.startSpan(
  "chat",
  { attributes: { "gen_ai.operation.name": "chat", "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "hi" } },
  trace.setSpan(context.active(), parent),
);
child.setStatus({ code: SpanStatusCode.ERROR, message: "upstream is away" });
child.end();
parent.end();
provider.forceFlush().then(() => provider.shutdown()).then(() => {
  if (sent.join() !== "0") throw new Error(`sent: ${sent}`);
  console.log(parent.spanContext().traceId);
});
