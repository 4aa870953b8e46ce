"""A receiver of Runhook's notifications in the standard library alone: checks the secret, prints what arrived.

    RECEIVER_SECRET=s3cret python receiver.py 8000
"""

import hmac
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

SECRET = os.environ.get("RECEIVER_SECRET", "")


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        given = parse_qs(urlsplit(self.path).query).get("secret", [""])[-1]
        if not hmac.compare_digest(given.encode(), SECRET.encode()):
            return self.answer(401)
        batch = json.loads(body)
        print(f"{self.headers['webhook-id']}: {len(batch['runs'])} run(s) for rule {batch['rule_id']}", flush=True)
        for run in batch["runs"]:
            print(f"  {run['status']:8} {run['run_type']:10} {run['name']}  {run['error'] or ''}", flush=True)
        self.answer(200)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """The request line holds the secret: it is not logged."""


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    server = ThreadingHTTPServer(("127.0.0.1", port), Receiver)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
