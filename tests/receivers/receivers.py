"""Receivers as their authors publish them, in one process: each under a path of its own on one address, but for
Hugging Face's, which brings its own server. Prints the two addresses as JSON when all of them take requests."""

import json
import os
import socket
import sys
import threading

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"

import standardwebhooks
import svix
import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request

SECRET, SIGNING = sys.argv[1:3]
# What libraries print is not what the test reads.
said, sys.stdout = sys.stdout, sys.stderr


def listen():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


def serve(served, listener):
    uvicorn.Server(uvicorn.Config(served, log_level="error")).run(sockets=[listener])


app, (listener, base) = FastAPI(), listen()
# A listener asks its Argilla for more while it handles an event, and nothing else meanwhile: so that one is apart.
server, (server_listener, server_base) = FastAPI(), listen()
registered = []


@app.post("/langsmith")
async def langsmith(request: Request, secret: str = Query(...)):
    if secret != SECRET:
        raise HTTPException(status_code=401)
    return [run["id"] for run in (await request.json())["runs"]]


@app.post("/verified/{library}")
async def verified(library: str, request: Request):
    verifier = {"svix": svix.Webhook, "standardwebhooks": standardwebhooks.Webhook}[library]
    try:
        verifier(SIGNING).verify(await request.body(), dict(request.headers))
    except (svix.WebhookVerificationError, standardwebhooks.WebhookVerificationError) as error:
        raise HTTPException(status_code=400, detail=str(error))
    return "verified"


# What an Argilla server answers to a listener that registers itself.
@server.get("/api/v1/me")
async def me():
    return {
        "id": "5f0e3c1a-0000-4000-8000-000000000001",
        "username": "me",
        "first_name": "me",
        "role": "owner",
        "inserted_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
    }


@server.get("/api/v1/webhooks")
async def webhooks():
    return {"items": registered}


@server.post("/api/v1/webhooks", status_code=201)
async def register(request: Request):
    wish = await request.json()
    webhook = wish | {
        "id": f"5f0e3c1a-0000-4000-8000-0000000001{len(registered):02}",
        "enabled": True,
        "secret": SIGNING.removeprefix("whsec_"),
        "inserted_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
    }
    registered.append(webhook)
    return webhook


for served in [(app, listener), (server, server_listener)]:
    threading.Thread(target=serve, args=served, daemon=True).start()
os.environ["WEBHOOK_SERVER_URL"] = base

import argilla

client = argilla.Argilla(api_url=server_base, api_key="any")


@argilla.webhook_listener(events=["record.completed"], client=client, server=app)
async def typed(type, timestamp, record):
    assert record.fields


@argilla.webhook_listener(events=["record.completed"], client=client, server=app, raw_event=True)
async def raw(event):
    assert event.data["runs"]


import gradio
from huggingface_hub import WebhookPayload, WebhooksServer

with gradio.Blocks() as ui:
    gradio.Markdown("receiver")
hub = WebhooksServer(ui=ui, webhook_secret=SECRET)


@hub.add_webhook("/hub")
async def on_hub(payload: WebhookPayload):
    return {"scope": payload.event.scope}


hub.launch(prevent_thread_lock=True, share=False, quiet=True, server_name="127.0.0.1")
print(json.dumps({"base": base, "hub": ui.local_url.rstrip("/")}), file=said, flush=True)
# The test closes standard input when it is over.
sys.stdin.read()
os._exit(0)
