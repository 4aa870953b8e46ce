"""LangSmith's SDK, told to trace by OpenTelemetry, and asked for what it traced."""

import os
import warnings

from langsmith import Client, traceable
from langsmith._internal._beta_decorator import LangSmithDeprecationWarning
from opentelemetry import trace

warnings.simplefilter("ignore", LangSmithDeprecationWarning)
client = Client()


@traceable(run_type="llm", client=client, tags=["t1", "t2"], metadata={"ls_provider": "openai", "ls_model_name": "gpt-4o-mini"})
def plan(question):
    return {"plan": question, "usage_metadata": {"input_tokens": 2, "output_tokens": 3, "total_tokens": 5}}


@traceable(run_type="tool", client=client)
def look_up(question):
    raise ValueError(f"nothing is known of {question}")


@traceable(run_type="chain", name="agent", client=client, metadata={"thread_id": "th-1", "nested": {"deep": [1]}})
def agent(question):
    plan(question)
    try:
        look_up(question)
    except ValueError:
        return {"answer": None}


agent("orders")
client.flush()
# The SDK hands its spans to OpenTelemetry, which sends them when it pleases, or is told to.
trace.get_tracer_provider().force_flush()

runs = {run.name: run for run in client.list_runs(project_name=os.environ["LANGSMITH_PROJECT"])}
assert set(runs) == {"agent", "plan", "look_up"}, runs
top, llm, tool = runs["agent"], runs["plan"], runs["look_up"]
assert top.parent_run_id is None and top.trace_id == top.id and top.status == "success", top
for child in (llm, tool):
    assert child.parent_run_id == top.id and child.trace_id == top.id, child
    assert child.dotted_order.startswith(top.dotted_order + "."), child
assert (top.run_type, llm.run_type, tool.run_type) == ("chain", "llm", "tool")
assert (top.inputs, top.outputs) == ({"question": "orders"}, {"answer": None}), top
assert top.extra["metadata"]["thread_id"] == "th-1" and top.extra["metadata"]["nested"] == {"deep": [1]}, top.extra
assert llm.tags == ["t1", "t2"] and llm.total_tokens == 5 and llm.extra["metadata"]["ls_model_name"] == "gpt-4o-mini", llm
assert llm.outputs["plan"] == "orders", llm
assert tool.status == "error" and "nothing is known of orders" in tool.error, tool
print("told")
