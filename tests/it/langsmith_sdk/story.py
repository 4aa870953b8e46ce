"""What people do with LangSmith's Python SDK, told to whatever `LANGSMITH_ENDPOINT` names. It ends well when every answer
is the right one. What the newest SDK says of methods that are to leave it is about this program and not about the
server, so it is left unsaid.
"""

import asyncio
import datetime
import importlib.metadata
import urllib.parse
import uuid
import warnings

from langsmith import Client, traceable
from langsmith.run_helpers import get_current_run_tree
from langsmith.schemas import Attachment
from langsmith.utils import LangSmithNotFoundError

VERSION = tuple(int(part) for part in importlib.metadata.version("langsmith").split("."))
PROJECT = "story"
TRACES = 70

client = Client()

if VERSION >= (0, 15):
    from langsmith._internal._beta_decorator import LangSmithDeprecationWarning

    warnings.simplefilter("ignore", LangSmithDeprecationWarning)


def flush():
    if VERSION < (0, 2):
        client.tracing_queue.join()
    else:
        client.flush()


@traceable(run_type="llm", client=client)
def plan(number):
    return {"plan": number, "usage_metadata": {"input_tokens": 2, "output_tokens": 3, "total_tokens": 5}}


@traceable(run_type="tool", client=client)
def look_up(number):
    if number % 10 == 0:
        raise ValueError(f"nothing is known of {number}")
    return {"found": number}


@traceable(run_type="chain", name="agent", client=client)
def agent(number):
    plan(number)
    try:
        look_up(number)
    except ValueError:
        pass
    return {"answer": number, "run_id": str(get_current_run_tree().id)}


@traceable(run_type="chain", name="reader", client=client)
def reader(note: Attachment):
    return {"run_id": str(get_current_run_tree().id)}


def trace():
    """Trees of three runs each. The ids of their roots."""
    roots = []
    for number in range(TRACES):
        tags = ["even" if number % 2 == 0 else "odd"]
        told = {"project_name": PROJECT, "tags": tags, "metadata": {"number": number}}
        roots.append(agent(number, langsmith_extra=told)["run_id"])
    flush()
    return roots


def search():
    runs = list(client.list_runs(project_name=PROJECT))
    assert len(runs) == 3 * TRACES and len({run.id for run in runs}) == 3 * TRACES, len(runs)
    starts = [run.start_time for run in runs]
    assert starts == sorted(starts, reverse=True)

    def count(**narrowing):
        return len(list(client.list_runs(project_name=PROJECT, **narrowing)))

    assert count(filter='eq(name, "look_up")', error=True) == 7
    assert count(filter='eq(run_type, "llm")', trace_filter='has(tags, "even")') == 35
    assert count(is_root=True, tree_filter='eq(status, "error")') == 7
    assert count(filter='eq(name, "plan")', trace_filter='has(tags, "odd")', tree_filter='eq(status, "error")') == 0
    assert count(filter='and(eq(metadata_key, "number"), eq(metadata_value, 7))', is_root=True) == 1
    assert count(is_root=True, limit=5) == 5
    # All three filters, over three pages.
    every = dict(filter='in(name, ["agent", "plan", "look_up"])', trace_filter='eq(name, "agent")', tree_filter='eq(run_type, "tool")')
    found = [run.id for run in client.list_runs(project_name=PROJECT, **every)]
    assert len(found) == len(set(found)) == 3 * TRACES > 200, len(found)
    assert count(start_time=datetime.datetime(2020, 1, 1), run_type="tool") == TRACES
    assert count(start_time=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)) == 0
    stats = client.get_run_stats(project_names=[PROJECT], is_root=True)
    assert (stats["run_count"], stats["total_tokens"]) == (TRACES, 5 * TRACES), stats


def read(root):
    run = client.read_run(root, load_child_runs=True)
    assert (run.name, run.status, run.run_type) == ("agent", "success", "chain"), run
    assert [child.name for child in run.child_runs] == ["plan", "look_up"], run.child_runs
    assert run.child_runs[1].status == "error" and "nothing is known of 0" in run.child_runs[1].error
    assert run.inputs == {"number": 0} and run.outputs["answer"] == 0 and run.total_tokens == 5
    assert run.tags == ["even"] and run.extra["metadata"]["number"] == 0 and run.session_id


def write():
    """A run without a trace around it, made and ended by hand."""
    made = uuid.uuid4()
    client.create_run("by hand", {"q": 1}, "chain", id=made, project_name=PROJECT)
    client.update_run(made, outputs={"a": 2}, end_time=datetime.datetime.now(datetime.timezone.utc))
    flush()
    run = client.read_run(made)
    assert (run.name, run.inputs, run.outputs, run.status) == ("by hand", {"q": 1}, {"a": 2}, "success"), run


def attach():
    note = Attachment(mime_type="text/plain", data=b"a note of some bytes")
    run_id = reader(note, langsmith_extra={"project_name": PROJECT})["run_id"]
    flush()
    run = client.read_run(run_id)
    if VERSION >= (0, 3):
        assert run.attachments["note"]["reader"].read() == b"a note of some bytes", run.attachments
        assert run.attachments["note"]["mime_type"] == "text/plain"
    else:  # it sends them and does not read them
        told = client.request_with_retries("GET", f"/runs/{run_id}").json()["s3_urls"]["attachment.note"]
        kept = client.session.get(urllib.parse.urljoin(client.api_url + "/", told["presigned_url"]))
        assert (kept.status_code, kept.content) == (200, b"a note of some bytes"), kept


def judge(root):
    of_run = {"session_id": client.read_run(root).session_id} if VERSION >= (0, 15) else {}
    made = client.create_feedback(root, "stars", score=0.5, comment="so so", value="fair", **of_run)
    client.create_feedback(root, "stars", score=1, trace_id=root, **of_run)
    token = client.create_presigned_feedback_token(root, "stars")
    assert token.expires_at > datetime.datetime.now(datetime.timezone.utc)
    client.create_feedback_from_token(token.id, score=0, metadata={"page": "help"})
    client.create_feedback_from_token(token.url, score=0.25, comment="by URL")
    flush()
    given = list(client.list_feedback(run_ids=[root]))
    assert sorted(record.score for record in given) == [0, 0.25, 0.5, 1], given
    assert {record.key for record in given} == {"stars"}
    assert len(list(client.list_feedback(run_ids=[root], feedback_key=["stars"], feedback_source_type=["api"], limit=3))) == 3
    assert len(list(client.list_feedback(run_ids=[root], has_comment=True))) == 2
    client.update_feedback(made.id, score=0.75, comment="better")
    changed = client.read_feedback(made.id)
    assert (changed.score, changed.comment, changed.value) == (0.75, "better", "fair"), changed
    client.delete_feedback(made.id)
    stars = client.read_run(root).feedback_stats["stars"]
    assert stars["n"] == 3 and abs(stars["avg"] - 1.25 / 3) < 1e-9, stars
    several = client.create_presigned_feedback_tokens(root, ["a", "b"], expiration=datetime.timedelta(minutes=5))
    listed = list(client.list_presigned_feedback_tokens(root))
    assert {one.id for one in listed} == {token.id, *(one.id for one in several)}, listed


def projects():
    made = client.create_project("made by hand", description="what it is for", metadata={"team": "blue", "floor": 2})
    if VERSION >= (0, 15):  # older ones do not say that it may be there
        again = client.create_project("made by hand", metadata={"team": "blue", "floor": 2}, upsert=True)
        assert made.id == again.id
    names = [project.name for project in client.list_projects()]
    assert {"default", PROJECT, "made by hand"} <= set(names), names
    assert [project.id for project in client.list_projects(name_contains="by hand")] == [made.id]
    if VERSION >= (0, 2):
        assert [project.id for project in client.list_projects(metadata={"team": "blue"})] == [made.id]
        assert list(client.list_projects(metadata={"team": "red"})) == []
    assert made.id in [project.id for project in client.list_projects(reference_free=True)]
    project = client.read_project(project_name=PROJECT, include_stats=True)
    assert project.run_count == 3 * TRACES + 2 and project.total_tokens == 5 * TRACES, project
    assert project.error_rate > 0 and project.latency_p50 is not None and project.last_run_start_time
    dataset = client.create_dataset("questions")
    experiment = client.create_project("experiment", reference_dataset_id=dataset.id)
    assert [one.id for one in client.list_projects(reference_dataset_name="questions")] == [experiment.id]
    client.delete_project(project_id=str(experiment.id))
    assert not client.has_project("experiment")


def queues(one, other):
    """Runs that wait to be looked at, and one that became an example."""
    made = client.create_annotation_queue(name="to review", description="what is odd")
    assert [queue.id for queue in client.list_annotation_queues(name="to review")] == [made.id]
    assert [queue.id for queue in client.list_annotation_queues(name_contains="review", limit=5)] == [made.id]
    assert [queue.description for queue in client.list_annotation_queues(queue_ids=[made.id])] == ["what is odd"]
    before = datetime.datetime.now(datetime.timezone.utc)
    client.add_runs_to_annotation_queue(made.id, run_ids=[one, other])
    if VERSION >= (0, 15):
        run = client.read_run(other)
        key = {"run_id": run.id, "session_id": run.session_id, "start_time": run.start_time}
        client.add_runs_to_annotation_queue(made.id, runs=[key])
        assert len(list(client.list_runs_from_annotation_queue(made.id))) == 2
    first, second = (client.get_run_from_annotation_queue(made.id, index=index) for index in (0, 1))
    assert (str(first.id), str(second.id)) == (one, other), (first, second)
    assert first.name == "agent" and first.inputs == {"number": 0} and first.last_reviewed_time is None
    assert before - datetime.timedelta(seconds=1) < first.added_at.astimezone(datetime.timezone.utc)
    try:
        client.get_run_from_annotation_queue(made.id, index=2)
        raise AssertionError("there is no third")
    except LangSmithNotFoundError:
        pass
    client.delete_run_from_annotation_queue(made.id, run_id=one)
    assert str(client.get_run_from_annotation_queue(made.id, index=0).id) == other
    client.create_example(inputs={"number": 0}, outputs={"answer": 0}, dataset_name="questions", source_run_id=one)
    assert (client.read_run(one).in_dataset, client.read_run(other).in_dataset) == (True, False)
    selected = ["id", "name", "run_type", "start_time", "trace_id", "in_dataset"]
    held = {str(run.id) for run in client.list_runs(id=[one, other], select=selected) if run.in_dataset}
    assert held == {one}, held
    client.delete_annotation_queue(made.id)
    assert list(client.list_annotation_queues(name="to review")) == []


async def second_version(root):
    project = client.read_project(project_name=PROJECT)
    found = []
    selects = ["ID", "NAME", "STATUS", "TRACE_ID", "TOTAL_TOKENS", "INPUTS", "START_TIME", "FEEDBACK_STATS"]
    pages = client.runs.query_v2(
        project_ids=[str(project.id)], is_root=True, page_size=30, selects=selects,
        filter='eq(name, "agent")', include_subtree_usage=True,
    )
    async for run in pages:
        found.append(run)
    assert len(found) == TRACES and len({run.id for run in found}) == TRACES, len(found)
    assert all(run.status == "SUCCESS" and run.total_tokens == 5 for run in found)
    failed = client.runs.query_v2(project_ids=[str(project.id)], run_type="TOOL", has_error=True)
    assert len([run async for run in failed]) == 7
    even = client.runs.query_v2(
        project_ids=[str(project.id)], run_type="LLM", trace_filter='has(tags, "even")',
        tree_filter='eq(status, "error")',
    )
    assert len([run async for run in even]) == 7
    selects = ["NAME", "INPUTS", "IS_ROOT", "IS_IN_DATASET", "LAST_QUEUED_AT"]
    run = await client.runs.retrieve_v2(root, project_id=str(project.id), selects=selects)
    assert (run.name, run.inputs, run.is_root) == ("agent", {"number": 0}, True), run
    assert (run.is_in_dataset, run.last_queued_at) == (True, None), run


roots = trace()
search()
read(roots[0])
write()
attach()
judge(roots[0])
projects()
queues(roots[0], roots[1])
if VERSION >= (0, 15):
    asyncio.run(second_version(roots[0]))
print("told with", importlib.metadata.version("langsmith"))
