"""A receiver as LangSmith's page on rule webhooks describes one: it checks the secret in the query, asks for the
feedback on the runs it was told, and makes an example of each run with the correction that was given.

It is called by the server that it calls back with the SDK. `LANGSMITH_ENDPOINT` says where that is.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from langsmith import Client


def receive(payload):
    client = Client()
    told = payload["runs"]
    feedback = list(client.list_feedback(run_ids=[run["id"] for run in told]))
    by_run = {str(record.run_id): record for record in feedback}
    for run in told:
        client.create_example(
            inputs=run["inputs"],
            outputs={"output": by_run[run["id"]].correction},
            dataset_name="corrections",
        )


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if parse_qs(urlsplit(self.path).query).get("secret") != [os.environ["LS_WEBHOOK"]]:
            return self.answer(401)
        try:
            receive(json.loads(body))
        except Exception as error:
            print(f"failed: {error!r}", flush=True)
            return self.answer(400)
        print("received", flush=True)
        self.answer(200)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(f"listening on {server.server_address[1]}", flush=True)
sys.stdout.flush()
server.serve_forever()
