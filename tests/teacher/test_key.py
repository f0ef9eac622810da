"""The endpoint's key: where it comes from, and that nobody is told."""

import asyncio
import json

import httpx
import pytest

from rdistill.config import TeacherConfig
from rdistill.errors import PrerequisiteError, TeacherError
from rdistill.teacher import openai
from rdistill.teacher.engine import Completion, Request
from rdistill.teacher.key import Key
from rdistill.teacher.openai import OpenAIEngine, probe_endpoint

PLANTED = "sk-planted/SECRET-123456789"
CONFIG = TeacherConfig(engine="openai", model="m", base_url="http://127.0.0.1:1/v1", api_key_env="TEST_KEY")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "MAX_PAUSE_S", 0.01)
    monkeypatch.setenv("TEST_KEY", PLANTED)


def test_the_key_comes_from_the_environment_without_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", " secret\n")
    assert Key("TEST_KEY").header == {"Authorization": "Bearer secret"}
    assert Key("ABSENT_KEY").header == {}


@pytest.mark.parametrize(("value", "sign"), [("se\ncret", "U+000A"), ("s\u00e9cret", "U+00E9"), ("\u5bc6", "U+5BC6")])
def test_a_key_that_no_header_carries_is_named_and_not_shown(
    value: str, sign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", value)
    for start in (OpenAIEngine, probe_endpoint):
        with pytest.raises(PrerequisiteError) as error:
            start(CONFIG)
        assert f"$TEST_KEY has {sign} at place" in str(error.value) and value not in str(error.value)


def said_by(response: httpx.Response) -> str:
    """All that an engine hands on of what a server says."""

    async def work() -> Completion:
        engine = OpenAIEngine(CONFIG, httpx.MockTransport(lambda request: response))
        return await engine.chat([{"role": "user", "content": "1?"}], Request(temperature=0, max_tokens=9))

    try:
        return asyncio.run(work()).model_dump_json()
    except TeacherError as error:
        return str(error)


@pytest.mark.parametrize("status", [200, 400, 401, 413, 500])
@pytest.mark.parametrize("spelled", [PLANTED, PLANTED.replace("/", "\\/"), PLANTED.replace("/", "%2F")])
@pytest.mark.parametrize("before", ["", "x" * 180])
def test_a_key_that_the_server_repeats_is_masked(status: int, spelled: str, before: str) -> None:
    body = '{"choices": [{"message": {"content": "HERE"}}], "error": "HERE"}'
    said = said_by(httpx.Response(status, text=body.replace("HERE", f"{before} blocked: Bearer {spelled}")))
    assert "$TEST_KEY" in said or before
    assert "planted" not in said and "SECRET" not in said


def test_an_odd_key_in_an_error_of_the_connection_is_masked() -> None:
    class Echo(httpx.MockTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.LocalProtocolError(f"Illegal header value {request.headers['authorization']}")

    async def work() -> Completion:
        engine = OpenAIEngine(CONFIG, Echo(lambda request: httpx.Response(200)))
        return await engine.chat([{"role": "user", "content": "1?"}], Request(temperature=0, max_tokens=9))

    found = asyncio.run(work())
    assert "Bearer $TEST_KEY" in (found.fault or "") and "SECRET" not in found.model_dump_json()


def test_the_probe_masks_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai.httpx, "post", lambda *_, **__: httpx.Response(403, text=json.dumps({"key": PLANTED})))
    with pytest.raises(PrerequisiteError, match=r"HTTP 403 .*\$TEST_KEY.*; set the key in \$TEST_KEY") as error:
        probe_endpoint(CONFIG)
    assert "SECRET" not in str(error.value)


def test_what_is_no_secret_garbles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "x")
    assert Key("TEST_KEY").masked("an example") == "an example"


@pytest.mark.parametrize("placeholder", ["EMPTY", "null", "test", "dummy-key"])
def test_a_placeholder_is_no_secret_and_changes_no_reply(placeholder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", placeholder)
    reply = {"choices": [{"message": {"content": f"say {placeholder}", "refusal": None}, "finish_reason": "stop"}]}
    said = json.loads(said_by(httpx.Response(200, json=reply)))
    assert (said["text"], said["finish_reason"]) == (f"say {placeholder}", "stop")
