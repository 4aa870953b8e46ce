"""An Argilla listener app, as Argilla's documentation has it: it registers itself, says what it hears, and takes itself off
again when it is told to. `sys.argv`: the server, the key, and where else than at the default the events are to be sent."""

import json
import os
import socket
import sys
import threading
import warnings

import uvicorn
from fastapi import FastAPI

url, key = sys.argv[1:3]
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(128)
os.environ["WEBHOOK_SERVER_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}"

import argilla

said, sys.stdout = sys.stdout, sys.stderr


def say(**what):
    print(json.dumps(what), file=said, flush=True)


client = argilla.Argilla(api_url=url, api_key=key)
app = FastAPI()


def listen():
    # A second time the listeners are found, and the same webhooks stay.
    @argilla.webhook_listener(events=["record.completed"], client=client, server=app)
    async def typed(type, timestamp, record):
        say(heard="typed", type=type, fields=bool(record.fields))

    @argilla.webhook_listener(
        events=["record.completed", "dataset.published"], client=client, server=app, raw_event=True
    )
    async def raw(event):
        say(heard="raw", type=event.type, data=event.data)

    @argilla.webhook_listener(
        events=["dataset.created", "dataset.updated", "dataset.deleted"], client=client, server=app
    )
    async def sets(type, timestamp, dataset):
        say(heard="dataset", type=type, id=str(dataset.id), name=dataset.name, workspace=dataset.workspace.name)

    @argilla.webhook_listener(
        events=["record.created", "record.updated", "record.deleted"], client=client, server=app
    )
    async def records(type, timestamp, record):
        say(
            heard="record",
            type=type,
            id=str(record.id),
            fields=dict(record.fields),
            metadata=dict(record.metadata),
            status=record.status,
            dataset=record.dataset.name,
        )


listen()
ids = sorted(str(webhook.id) for webhook in client.webhooks)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    listen()
assert sorted(str(webhook.id) for webhook in client.webhooks) == ids
thread = threading.Thread(target=uvicorn.Server(uvicorn.Config(app, log_level="error")).run, kwargs={"sockets": [listener]})
thread.daemon = True
thread.start()
say(registered=ids, username=client.me.username, secrets=[len(webhook.secret) for webhook in client.webhooks])
sys.stdin.readline()
for webhook in client.webhooks:
    webhook.delete()
say(left=len(list(client.webhooks)))
