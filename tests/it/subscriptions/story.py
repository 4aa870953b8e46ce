"""What people do with Svix's Python client of today, told to a Runhook. The receiver is in this process."""

import http.server
import json
import os
import queue
import threading
from datetime import datetime, timedelta, timezone

from svix.api import (
    ApplicationIn,
    ApplicationPatch,
    BackgroundTaskListOptions,
    BulkReplayIn,
    EndpointHeadersIn,
    EndpointHeadersPatchIn,
    EndpointIn,
    EndpointListOptions,
    EndpointPatch,
    EndpointSecretRotateIn,
    EndpointUpsertIn,
    EventExampleIn,
    EventTypeIn,
    EventTypeListOptions,
    EventTypePatch,
    MessageCreateOptions,
    MessageGetOptions,
    MessageIn,
    MessageListOptions,
    MessageAttemptListByEndpointOptions,
    MessageAttemptListByMsgOptions,
    Ordering,
    RecoverIn,
    ReplayIn,
    Svix,
    SvixOptions,
)
from svix.exceptions import HttpError, HTTPValidationError
from svix.models import BackgroundTaskStatus
from svix.webhooks import Webhook, WebhookVerificationError

received = queue.Queue()
answers = {}


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        received.put((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(answers.get(self.path, 200))
        self.end_headers()
        self.wfile.write(b"OK")

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_address[1]}"
svix = Svix(os.environ["SVIX_TEST_TOKEN"], SvixOptions(server_url=os.environ["SVIX_TEST_URL"]))


def arrived(count):
    return sorted((received.get(timeout=30) for _ in range(count)), key=lambda request: request[0])


def refused(status, code, call, *arguments):
    try:
        call(*arguments)
    except HttpError as error:
        assert (error.status_code, error.code) == (status, code), (error.status_code, error.code, error.detail)
        return error
    raise AssertionError(f"{call} was not refused")


def until(look):
    while not (found := look()):
        pass
    return found


svix.health.get()

# Applications.
app = svix.application.create(ApplicationIn(name="shop", uid="shop", metadata={"plan": "gold"}))
assert svix.application.get_or_create(ApplicationIn(name="other", uid="shop")).id == app.id
refused(409, "conflict", svix.application.create, ApplicationIn(name="again", uid="shop"))
assert svix.application.get("shop") == svix.application.get(app.id) == app
assert svix.application.patch("shop", ApplicationPatch(name="Shop")).name == "Shop"
assert svix.application.upsert("shop", ApplicationIn(name="Shop", uid="shop", metadata={"plan": "tin"})).metadata == {"plan": "tin"}
second = svix.application.create(ApplicationIn(name="second"))
assert [one.id for one in svix.application.list().data] == [app.id, second.id]
refused(404, "not_found", svix.application.get, "nobody")
svix.application.delete(second.id)
assert [one.id for one in svix.application.list().data] == [app.id]

# Event types.
schema = {"type": "object", "required": ["total"], "properties": {"total": {"type": "integer"}}}
made = svix.event_type.create(EventTypeIn(name="order.paid", description="paid", schemas={"1": schema}))
assert made.schemas == {"1": schema} and not made.deprecated
refused(409, "event_type_exists", svix.event_type.create, EventTypeIn(name="order.paid", description="again"))
svix.event_type.create(EventTypeIn(name="order.lost", description="lost"))
listed = svix.event_type.list(EventTypeListOptions(with_content=True))
assert [one.name for one in listed.data] == ["order.lost", "order.paid"] and listed.done
page = svix.event_type.list(EventTypeListOptions(limit=1))
assert [one.name for one in page.data] == ["order.lost"] and not page.done and page.data[0].schemas is None
page = svix.event_type.list(EventTypeListOptions(limit=1, iterator=page.iterator))
assert [one.name for one in page.data] == ["order.paid"] and page.done
assert svix.event_type.patch("order.lost", EventTypePatch(deprecated=True)).deprecated
svix.event_type.delete("order.lost")
assert svix.event_type.get("order.lost").archived
assert [one.name for one in svix.event_type.list().data] == ["order.paid"]
try:
    svix.event_type.create(EventTypeIn(name="bad.schema", description="", schemas={"1": {"type": "obj"}}))
    raise AssertionError("a bad schema was taken")
except HTTPValidationError as error:
    assert error.detail[0].loc[:3] == ["body", "schemas", "1"], error.detail
assert svix.event_type.get("rule.matched").description

# Endpoints.
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
paid = svix.endpoint.create(
    "shop",
    EndpointIn(url=f"{base}/paid", uid="paid", event_types=["order.paid"], secret=secret, headers={"X-Shop": "1"}),
)
assert paid.event_types == ["order.paid"] and paid.channels is None and paid.url == f"{base}/paid"
refused(409, "conflict", svix.endpoint.create, "shop", EndpointIn(url=f"{base}/x", uid="paid"))
berlin = svix.endpoint.create("shop", EndpointIn(url=f"{base}/berlin", channels=["berlin"]))
assert svix.endpoint.get("shop", "paid") == svix.endpoint.get("shop", paid.id) == paid
assert svix.endpoint.get_secret("shop", "paid").key == secret
headers = svix.endpoint.get_headers("shop", "paid")
assert headers.headers == {} and headers.sensitive == ["X-Shop"]
svix.endpoint.set_headers("shop", "paid", EndpointHeadersIn(headers={"X-Shop": "2", "X-More": "3"}))
svix.endpoint.patch_headers("shop", "paid", EndpointHeadersPatchIn(headers={"X-Last": "4"}, delete_headers=["x-more"]))
assert sorted(svix.endpoint.get_headers("shop", "paid").sensitive) == ["X-Last", "X-Shop"]
order = EndpointListOptions(order=Ordering.DESCENDING)
assert [one.id for one in svix.endpoint.list("shop", order).data] == [berlin.id, paid.id]
assert svix.endpoint.patch("shop", "paid", EndpointPatch(description="d", metadata={"a": "b"})).description == "d"
assert svix.endpoint.get("shop", "paid").event_types == ["order.paid"]

# Messages: what the payload's schema says holds, and where not it is told.
try:
    svix.message.create("shop", MessageIn(event_type="order.paid", payload={"total": "much"}))
    raise AssertionError("a payload that is none was taken")
except HTTPValidationError as error:
    assert error.detail[0].loc == ["body", "payload", "total"], error.detail
refused(404, "not_found", svix.message.create, "nobody", MessageIn(event_type="order.paid", payload={"total": 1}))
wanted = MessageIn(event_type="order.paid", payload={"z": "ü", "a": [1.50], "total": 7}, channels=["berlin"], event_id="o-1")
sent = svix.message.create("shop", wanted, MessageCreateOptions(with_content=True))
assert sent.payload == {"z": "ü", "a": [1.5], "total": 7} and sent.channels == ["berlin"] and sent.event_id == "o-1"
assert svix.message.create("shop", wanted).id == sent.id, "the same event again is the same message"
refused(409, "conflict", svix.message.create, "shop", wanted.model_copy(update={"payload": {"total": 8}}))
for path, headers, body in arrived(2):
    assert body.startswith('{"z":"ü","a":[1.5'.encode()), body
    assert headers["content-type"] == "application/json" and headers["webhook-id"] == sent.id
    Webhook(svix.endpoint.get_secret("shop", paid.id if path == "/paid" else berlin.id).key).verify(body, headers)
    assert (headers.get("x-shop"), headers.get("x-last")) == (("2", "4") if path == "/paid" else (None, None))
    assert len(headers["webhook-signature"].split(" ")) == 1
other = svix.message.create("shop", MessageIn(event_type="order.paid", payload={"total": 1}, channels=["paris"]))
((path, headers, body),) = arrived(1)
assert (path, body) == ("/paid", b'{"total":1}')
assert svix.message.get("shop", sent.id, MessageGetOptions(with_content=True)).payload["total"] == 7
assert svix.message.get("shop", "o-1").id == sent.id and svix.message.get("shop", sent.id).payload == {}
content = MessageListOptions(with_content=True, event_types=["order.paid"])
assert [one.id for one in svix.message.list("shop", content).data] == [other.id, sent.id]
assert [one.id for one in svix.message.list("shop", MessageListOptions(channel="berlin")).data] == [sent.id]
later = MessageListOptions(after=datetime.now(timezone.utc) + timedelta(hours=1))
assert svix.message.list("shop", later).data == []

# Attempts.
attempts = until(lambda: (found := svix.message_attempt.list_by_msg("shop", sent.id).data) and len(found) == 2 and found)
assert {one.endpoint_id for one in attempts} == {paid.id, berlin.id}
assert all((one.status, one.response_status_code, one.response, one.msg_id) == (0, 200, "OK", sent.id) for one in attempts)
attempts = until(lambda: (f := svix.message_attempt.list_by_endpoint("shop", "paid").data) and len(f) == 2 and f)
assert [one.msg_id for one in attempts] == [other.id, sent.id] and attempts[0].url == f"{base}/paid"
assert int(attempts[0].timestamp.timestamp()) == int(headers["webhook-timestamp"])
assert svix.message_attempt.get("shop", other.id, attempts[0].id).id == attempts[0].id
failed = MessageAttemptListByEndpointOptions(status=2)
assert svix.message_attempt.list_by_endpoint("shop", "paid", failed).data == []
page = svix.message_attempt.list_by_endpoint("shop", "paid", MessageAttemptListByEndpointOptions(limit=1))
page = svix.message_attempt.list_by_endpoint(
    "shop", "paid", MessageAttemptListByEndpointOptions(limit=1, iterator=page.iterator)
)
assert [one.msg_id for one in page.data] == [sent.id]
assert [one.id for one in svix.message_attempt.list_attempted_destinations("shop", other.id).data] == [paid.id]
assert [one.id for one in svix.message_attempt.list_attempted_messages("shop", "paid").data] == [other.id, sent.id]
svix.message_attempt.resend("shop", other.id, "paid")
((path, headers, body),) = arrived(1)
assert (path, headers["webhook-id"]) == ("/paid", other.id)

# Failures, statistics and recovery.
answers["/paid"] = 400
lost = svix.message.create("shop", MessageIn(event_type="order.paid", payload={"total": 2}))
arrived(1)
stats = until(lambda: (found := svix.endpoint.get_stats("shop", "paid")).fail and found)
assert (stats.success, stats.pending, stats.fail) == (2, 0, 1)
assert [one.msg_id for one in svix.message_attempt.list_by_endpoint("shop", "paid", failed).data] == [lost.id]
answers.clear()
task = svix.endpoint.recover("shop", "paid", RecoverIn(since=datetime.now(timezone.utc) - timedelta(hours=1)))
assert task.task == "endpoint.recover"
assert arrived(1)[0][1]["webhook-id"] == lost.id

# What one has sent is sent again, what one was never sent is sent, and so is an example.
until(lambda: svix.endpoint.get_stats("shop", "paid").success == 3)
before = svix.endpoint.get_attempt_stats("shop", "paid")
assert (before.success, before.fail, before.canceled) == (4, 1, 0), before
task = svix.endpoint.bulk_replay("shop", "paid", BulkReplayIn(since=app.created_at, status=0, event_types=["order.paid"]))
assert task.task == "endpoint.bulk-replay"
assert sorted({request[1]["webhook-id"] for request in arrived(3)}) == sorted([sent.id, other.id, lost.id])
fresh = svix.endpoint.create("shop", EndpointIn(url=f"{base}/fresh", uid="fresh", event_types=["order.paid"], throttle_rate=50))
assert fresh.throttle_rate == 50
task = svix.endpoint.replay_missing("shop", "fresh", ReplayIn(since=app.created_at))
assert task.task == "endpoint.replay" and task.status == "finished"
done = svix.background_task.get(task.id)
assert (done.id, done.task, done.status, done.data) == (task.id, task.task, "finished", {"messagesSent": 3}), done
newest = svix.background_task.list(BackgroundTaskListOptions(order=Ordering.DESCENDING))
kinds = ["endpoint.replay", "endpoint.bulk-replay", "endpoint.recover"]
assert [one.task for one in newest.data] == kinds and newest.done and newest.data[0] == done, newest
running = BackgroundTaskListOptions(status=BackgroundTaskStatus.RUNNING)
assert svix.background_task.list(running).data == []
again = svix.endpoint.replay_missing("shop", "fresh", ReplayIn(since=app.created_at))
assert svix.background_task.get(again.id).data == {"messagesSent": 0}, "nothing is missing any more"
refused(404, "not_found", svix.background_task.get, "qtask_x")
requests = arrived(3)
assert {path for path, _, _ in requests} == {"/fresh"}
assert sorted(headers["webhook-id"] for _, headers, _ in requests) == sorted([sent.id, other.id, lost.id])
svix.event_type.patch("order.paid", EventTypePatch(schemas={"2": {**schema, "examples": [{"total": 1}, {"total": 99}]}}))
example = svix.endpoint.send_example("shop", "fresh", EventExampleIn(event_type="order.paid", example_index=1))
((path, headers, body),) = arrived(1)
assert (path, headers["webhook-id"], body) == ("/fresh", example.id, b'{"total":99}')
svix.endpoint.delete("shop", "fresh")

# Lists are gone through forwards and backwards.
def there_and_back(ask):
    forwards, pages, iterator = [], [], None
    while not pages or not pages[-1].done:
        pages.append(ask(iterator))
        forwards.append([one.id for one in pages[-1].data])
        iterator = pages[-1].iterator
    back = pages[-1]
    for page in reversed(forwards[:-1]):
        back = ask(back.prev_iterator)
        assert [one.id for one in back.data] == page, (page, back)
    assert back.done and len(forwards) > 1, forwards
    assert [one.id for one in ask(back.iterator).data] == forwards[1], "and on again"


there_and_back(lambda iterator: svix.endpoint.list("shop", EndpointListOptions(limit=1, iterator=iterator)))
there_and_back(
    lambda iterator: svix.endpoint.list("shop", EndpointListOptions(limit=1, iterator=iterator, order=Ordering.DESCENDING))
)
there_and_back(lambda iterator: svix.message.list("shop", MessageListOptions(limit=2, iterator=iterator)))
there_and_back(
    lambda iterator: svix.message.list("shop", MessageListOptions(limit=1, iterator=iterator, event_types=["order.paid"]))
)
attempts_of = lambda limit, iterator: MessageAttemptListByEndpointOptions(limit=limit, iterator=iterator)
there_and_back(lambda iterator: svix.message_attempt.list_by_endpoint("shop", "paid", attempts_of(2, iterator)))
there_and_back(
    lambda iterator: svix.message_attempt.list_by_msg("shop", sent.id, MessageAttemptListByMsgOptions(limit=1, iterator=iterator))
)

# Secrets are rotated, and both sign for a while.
svix.endpoint.rotate_secret("shop", "paid", EndpointSecretRotateIn())
renewed = svix.endpoint.get_secret("shop", "paid").key
assert renewed != secret and renewed.startswith("whsec_")
svix.message.create("shop", MessageIn(event_type="order.paid", payload={"total": 3}))
((path, headers, body),) = arrived(1)
for key in (secret, renewed):
    Webhook(key).verify(body, headers)
try:
    Webhook("whsec_" + "A" * 32).verify(body, headers)
    raise AssertionError("another secret verifies")
except WebhookVerificationError:
    pass

# What is disabled hears nothing; what is removed is not there.
svix.endpoint.upsert("shop", "paid", EndpointUpsertIn(url=f"{base}/paid", uid="paid", disabled=True))
assert svix.endpoint.get("shop", "paid").disabled
svix.message.create("shop", MessageIn(event_type="order.other", payload={}, channels=["berlin"]))
assert [path for path, _, _ in arrived(1)] == ["/berlin"]
svix.endpoint.delete("shop", "paid")
refused(404, "not_found", svix.endpoint.get, "shop", "paid")
assert refused(401, "authentication_failed", Svix("foo", SvixOptions(server_url=os.environ["SVIX_TEST_URL"])).application.list).detail == "Invalid token"
print("told", flush=True)
