"""Receivers as their authors publish them, in one process: each under a path of its own on one address, but for
Hugging Face's, which brings its own server. Prints the two addresses as JSON when all of them take requests."""

import json
import os
import socket
import sys
import threading

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request

SECRET, SIGNING = sys.argv[1:3]
app = FastAPI()
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(128)
base = f"http://127.0.0.1:{listener.getsockname()[1]}"
registered = []


@app.post("/langsmith")
async def langsmith(request: Request, secret: str = Query(...)):
    if secret != SECRET:
        raise HTTPException(status_code=401)
    return [run["id"] for run in (await request.json())["runs"]]


@app.post("/verified/{library}")
async def verified(library: str, request: Request):
    import standardwebhooks
    import svix

    verifier = {"svix": svix.Webhook, "standardwebhooks": standardwebhooks.Webhook}[library]
    try:
        verifier(SIGNING).verify(await request.body(), dict(request.headers))
    except (svix.WebhookVerificationError, standardwebhooks.WebhookVerificationError) as error:
        raise HTTPException(status_code=400, detail=str(error))
    return "verified"


# What an Argilla server answers to a listener that registers itself.
@app.get("/api/v1/me")
async def me():
    return {
        "id": "5f0e3c1a-0000-4000-8000-000000000001",
        "username": "me",
        "first_name": "me",
        "role": "owner",
        "inserted_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
    }


@app.get("/api/v1/webhooks")
async def webhooks():
    return {"items": registered}


@app.post("/api/v1/webhooks", status_code=201)
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


def serve():
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


threading.Thread(target=serve, daemon=True).start()
os.environ["WEBHOOK_SERVER_URL"] = base

import argilla

# The line the test reads is the only one on standard output: libraries print to it, too.
said = sys.stdout
sys.stdout = sys.stderr

client = argilla.Argilla(api_url=base, api_key="any")


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
