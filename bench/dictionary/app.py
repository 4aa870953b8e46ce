"""Traces what LLM applications are made of, with the official SDKs, to the server that LANGSMITH_ENDPOINT names.

Models are fakes that answer with prose from the standard library's documentation, so that nothing leaves the machine;
all else (LangChain, LangGraph, the wrappers around OpenAI's and Anthropic's clients, plain traceable functions) is real.
"""
import importlib
import inspect
import json
import pkgutil
import random
import sys
import uuid

import httpx
import httpx2
import openai
import anthropic
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.graph import StateGraph, MessagesState, START, END
from langgraph.prebuilt import ToolNode
from langchain_core.tracers.langchain import wait_for_all_tracers
from langsmith import Client, traceable
from langsmith.run_trees import get_cached_client
from langsmith.wrappers import wrap_openai, wrap_anthropic

rng = random.Random(20261122)


def prose():
    texts = []
    for module in pkgutil.iter_modules():
        if module.name.startswith(("_", "idle", "test", "turtle", "antigravity", "this")):
            continue
        try:
            doc = inspect.getdoc(importlib.import_module(module.name))
        except BaseException:
            continue
        for paragraph in (doc or "").split("\n\n"):
            if 40 < len(paragraph) < 900:
                texts.append(" ".join(paragraph.split()))
    return texts


TEXTS = prose()


def text():
    return rng.choice(TEXTS)


def few(most=3):
    return " ".join(text() for _ in range(rng.randint(1, most)))


MODELS = ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5", "gpt-5-mini", "o3"]
CLAUDES = ["claude-sonnet-4-5", "claude-3-7-sonnet-latest", "claude-opus-4-1"]


def metadata():
    return {
        "session_id": str(uuid.UUID(int=rng.getrandbits(128))),
        "thread_id": f"thread-{rng.randint(1, 99999)}",
        "user_id": f"user_{rng.randint(1, 99999)}",
        "customer_tier": rng.choice(["free", "pro", "enterprise"]),
        "environment": rng.choice(["production", "staging", "development"]),
        "app_version": f"{rng.randint(0, 4)}.{rng.randint(0, 20)}.{rng.randint(0, 9)}",
        "ls_provider": rng.choice(["openai", "anthropic", "google_genai"]),
        "ls_model_name": rng.choice(MODELS), "ls_model_type": "chat", "ls_temperature": rng.choice([0.0, 0.2, 0.7]),
    }


def usage(n, m):
    return {"prompt_tokens": n, "completion_tokens": m, "total_tokens": n + m,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0,
                                          "rejected_prediction_tokens": 0}}


def provider(request):
    said = json.loads(request.content)
    n, m = rng.randint(20, 4000), rng.randint(5, 900)
    if rng.random() < 0.06:
        return httpx.Response(429, json={"error": {"message": "Rate limit reached for requests", "type": "requests",
                                                   "param": None, "code": "rate_limit_exceeded"}})
    if "anthropic" in request.url.host:
        return httpx.Response(200, json={
            "id": f"msg_{rng.getrandbits(80):024x}", "type": "message", "role": "assistant", "model": said["model"],
            "content": [{"type": "text", "text": few()}], "stop_reason": "end_turn", "stop_sequence": None,
            "usage": {"input_tokens": n, "output_tokens": m, "cache_creation_input_tokens": 0,
                      "cache_read_input_tokens": 0, "service_tier": "standard"}})
    calls = None
    if said.get("tools") and rng.random() < 0.5:
        calls = [{"id": f"call_{rng.getrandbits(80):024x}", "type": "function",
                  "function": {"name": "search_documents", "arguments": json.dumps({"query": text()[:60], "top_k": 5})}}]
    return httpx.Response(200, json={
        "id": f"chatcmpl-{rng.getrandbits(96):029x}", "object": "chat.completion", "created": 1760000000 + rng.randint(0, 9**7),
        "model": said["model"], "system_fingerprint": f"fp_{rng.getrandbits(40):010x}", "service_tier": "default",
        "choices": [{"index": 0, "finish_reason": "tool_calls" if calls else "stop", "logprobs": None,
                     "message": {"role": "assistant", "content": None if calls else few(), "refusal": None,
                                 "annotations": [], "tool_calls": calls}}],
        "usage": usage(n, m)})


def provider2(request):
    answer = provider(request)
    return httpx2.Response(answer.status_code, content=answer.content, headers={"content-type": "application/json"})


http = httpx.Client(transport=httpx.MockTransport(provider))
http2 = httpx2.Client(transport=httpx2.MockTransport(provider2))
gpt = wrap_openai(openai.OpenAI(api_key="none", http_client=http, max_retries=0))
claude = wrap_anthropic(anthropic.Anthropic(api_key="none", http_client=http2, max_retries=0))
TOOLS = [{"type": "function", "function": {"name": "search_documents", "description": "Search the knowledge base.",
          "parameters": {"type": "object", "properties": {"query": {"type": "string"}, "top_k": {"type": "integer"}},
                         "required": ["query"]}}}]


@tool
def search_documents(query: str) -> str:
    """Search the knowledge base for documents that answer a question."""
    return few(2)


@tool
def get_weather(city: str) -> str:
    """Get the current weather of a city."""
    return json.dumps({"city": city, "temperature_c": rng.randint(-10, 35), "conditions": rng.choice(["sunny", "rain"])})


class Shelf(BaseRetriever):
    def _get_relevant_documents(self, query, *, run_manager):
        return [Document(page_content=text(), metadata={"source": f"docs/{rng.randint(1, 99)}.md", "score": rng.random()})
                for _ in range(rng.randint(1, 4))]


def answers():
    while True:
        if rng.random() < 0.4:
            yield AIMessage(content="", tool_calls=[{"name": rng.choice(["search_documents", "get_weather"]),
                            "args": {"query": text()[:50], "city": "Paris"}, "id": f"call_{rng.getrandbits(80):020x}"}])
        else:
            n, m = rng.randint(20, 4000), rng.randint(5, 900)
            yield AIMessage(content=few(), usage_metadata={"input_tokens": n, "output_tokens": m, "total_tokens": n + m},
                            response_metadata={"model_name": rng.choice(MODELS), "finish_reason": "stop"})


def proses():
    while True:
        yield AIMessage(content=few())


def graph():
    model = GenericFakeChatModel(messages=answers())

    def agent(state):
        return {"messages": [model.invoke(state["messages"])]}

    def more(state):
        asks = getattr(state["messages"][-1], "tool_calls", None)
        return "tools" if asks and len(state["messages"]) < 7 else END

    built = StateGraph(MessagesState)
    built.add_node("agent", agent)
    built.add_node("tools", ToolNode([search_documents, get_weather]))
    built.add_edge(START, "agent")
    built.add_conditional_edges("agent", more)
    built.add_edge("tools", "agent")
    return built.compile()


@traceable(run_type="chain")
def answer_question(question, history):
    found = retrieve(question)
    return generate(question, found, history)


@traceable(run_type="retriever")
def retrieve(query):
    return [{"page_content": text(), "type": "Document", "metadata": {"source": f"kb/{rng.randint(1, 999)}"}} for _ in range(rng.randint(1, 4))]


@traceable(run_type="llm", metadata={"ls_provider": "openai", "ls_model_name": "gpt-4o-mini"})
def generate(question, documents, history):
    if rng.random() < 0.08:
        raise rng.choice([ValueError, TimeoutError, KeyError, RuntimeError])(text()[:80])
    messages = [{"role": "system", "content": "You are a helpful assistant. Answer from the documents only."}, *history,
                {"role": "user", "content": question}]
    return {"messages": messages, "choices": [{"message": {"role": "assistant", "content": few()}}],
            "usage_metadata": {"input_tokens": rng.randint(20, 4000), "output_tokens": rng.randint(5, 900), "total_tokens": 1000}}


@traceable(run_type="embedding")
def embed(texts): return {"embeddings": len(texts), "model": "text-embedding-3-small"}


@traceable(run_type="parser", tags=["json"])
def parse(output): return {"answer": output[:100], "confidence": rng.random(), "citations": [rng.randint(1, 9)]}


def history():
    return [{"role": r, "content": text()} for _ in range(rng.randint(0, 2)) for r in ("user", "assistant")]


SYSTEM = [
    "You are a helpful assistant.",
    "You are a support agent. Be polite and concise.",
    "Answer the question based only on the following context:",
]
agent = graph()
chain = (
    ChatPromptTemplate.from_messages([("system", SYSTEM[0]), ("human", "{question}")])
    | GenericFakeChatModel(messages=proses())
    | StrOutputParser()
)
rag = (
    {"context": Shelf(), "question": lambda question: question}
    | ChatPromptTemplate.from_messages([("system", SYSTEM[2] + " {context}"), ("human", "{question}")])
    | GenericFakeChatModel(messages=proses())
    | StrOutputParser()
)


def ask_gpt(extra):
    messages = [{"role": "system", "content": rng.choice(SYSTEM)}, *history(), {"role": "user", "content": text()}]
    more = {"tools": TOOLS} if rng.random() < 0.5 else {}
    model = rng.choice(MODELS)
    gpt.chat.completions.create(model=model, messages=messages, temperature=0.2, langsmith_extra=extra, **more)


def ask_claude(extra):
    messages = [{"role": "user", "content": few(2)}]
    model, system = rng.choice(CLAUDES), rng.choice(SYSTEM)
    claude.messages.create(model=model, max_tokens=1024, system=system, messages=messages, langsmith_extra=extra)


def embed_and_parse(extra):
    embed([text(), text()], langsmith_extra=extra)
    parse(text(), langsmith_extra=extra)


KINDS = [
    lambda extra: answer_question(text(), history(), langsmith_extra=extra),
    ask_gpt,
    ask_claude,
    lambda extra: chain.invoke({"question": text()}, config=extra),
    lambda extra: rag.invoke(text(), config=extra),
    lambda extra: agent.invoke({"messages": [SystemMessage(rng.choice(SYSTEM)), HumanMessage(text())]}, config=extra),
    embed_and_parse,
]


def trace_one():
    labels = ["prod", "beta", "rag", "agent", "eval", "seq:step:1"]
    extra = {"metadata": metadata(), "tags": rng.sample(labels, rng.randint(0, 3))}
    try:
        rng.choice(KINDS)(extra)
    except Exception:
        pass  # An application that fails is part of the story.


for _ in range(int(sys.argv[1])):
    trace_one()
Client().flush()
get_cached_client().flush()
wait_for_all_tracers()
