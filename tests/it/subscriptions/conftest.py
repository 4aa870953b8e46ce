"""What the tests of `swh.webhooks` find around them: a Runhook in place of their Svix in a container."""

import json
import os
from pathlib import Path
import urllib.request

import pytest

from swh.webhooks.interface import EventType, Webhooks

# A Kafka of its own, for the tests of their journal client.
pytest_plugins = ["swh.journal.pytest_plugin"]

URL, TOKEN = os.environ["SVIX_TEST_URL"], os.environ["SVIX_TEST_TOKEN"]


@pytest.fixture(scope="session")
def svix_server_url():
    return URL


@pytest.fixture
def svix_auth_token():
    return TOKEN


@pytest.fixture(autouse=True)
def svix_wiper():
    yield
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    body = json.dumps({"yes": True, "tenant": os.environ["SVIX_TEST_TENANT"]}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{URL}/v1/wipe", body, headers)).read()


@pytest.fixture(scope="session")
def httpserver_listen_address():
    return ("127.0.0.1", 0)


@pytest.fixture
def swh_webhooks(svix_server_url, svix_auth_token):
    return Webhooks(svix_server_url=svix_server_url, svix_auth_token=svix_auth_token)


@pytest.fixture
def origin_create_event_type(datadir):
    return EventType(
        name="origin.create",
        description="This event is triggered when a new software origin is added to the archive",
        schema=json.loads(Path(datadir, "origin_create.json").read_text()),
    )


@pytest.fixture
def origin_visit_event_type(datadir):
    return EventType(
        name="origin.visit",
        description="This event is triggered when a new visit of a software origin was performed",
        schema=json.loads(Path(datadir, "origin_visit.json").read_text()),
    )


@pytest.fixture(autouse=True)
def mock_sleep(mocker):
    return mocker.patch("time.sleep")
