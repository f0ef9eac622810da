"""`rdistill serve` with a scripted student: how it starts, says no, and ends."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from command import Done, error, rdistill
from serving import ASK, LiveEngine

from rdistill import process
from rdistill.errors import PrerequisiteError, TeacherError
from rdistill.infer import serve as serve_module
from rdistill.infer.card import Card

MODEL = "bundled:smollm2-135m-instruct"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LiveEngine:
    """A scripted student instead of vLLM."""
    engine = LiveEngine()

    async def start(*_: Any, **__: Any) -> LiveEngine:
        return engine

    monkeypatch.setenv("RDISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RDISTILL_API_KEY", raising=False)
    monkeypatch.setattr(serve_module, "start_vllm", start)
    monkeypatch.setattr(process, "prepare_this_process", lambda: None)
    return engine


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def serve_while(act: Callable[[str], None], port: int, *options: object) -> Done:
    """`rdistill serve` in this thread, and what is done to it in another once it is there."""
    url = f"http://127.0.0.1:{port}"

    def other() -> None:
        for _ in range(200):
            try:
                httpx.get(url + "/health", timeout=1)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        act(url)

    thread = threading.Thread(target=other)
    thread.start()
    done = rdistill("serve", MODEL, "--port", port, *options)
    thread.join(20)
    return done


def tell(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def test_it_says_where_it_is_and_ends_when_told(
    engine: LiveEngine, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    found = []

    def act(url: str) -> None:
        body = {**ASK, "model": "smollm2-135m-instruct:hidden"}
        found.append(httpx.post(url + "/v1/chat/completions", json=body).json())
        tell(signal.SIGTERM)

    done = serve_while(act, port)
    assert (done.code, done.err) == (0, "") and engine.is_closed
    assert found[0]["choices"][0]["message"]["content"] == "7"
    said, tried = capfd.readouterr().out.splitlines()
    assert said.startswith("serving smollm2-135m-instruct, smollm2-135m-instruct:concise, ")
    assert said.endswith(f" at http://127.0.0.1:{port}/v1")
    assert tried.startswith(
        f"try: curl http://127.0.0.1:{port}/v1/chat/completions -H 'Content-Type: application/json'"
    )


def test_sigint_is_130(engine: LiveEngine, port: int) -> None:
    done = serve_while(lambda url: tell(signal.SIGINT), port)
    assert (done.code, done.err) == (130, "") and engine.is_closed


def test_what_runs_is_finished_first(engine: LiveEngine, port: int) -> None:
    engine.delay_s, statuses = 1.0, []

    def act(url: str) -> None:
        threading.Timer(0.4, tell, [signal.SIGTERM]).start()
        body = {**ASK, "model": "smollm2-135m-instruct"}
        statuses.append(httpx.post(url + "/v1/chat/completions", json=body).status_code)

    assert serve_while(act, port).code == 0 and statuses == [200] and engine.aborted == 0


def test_grace_ends(engine: LiveEngine, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_module, "GRACE_S", 1)
    engine.delay_s, statuses = 60, []

    def act(url: str) -> None:
        threading.Timer(0.4, tell, [signal.SIGTERM]).start()
        body = {**ASK, "model": "smollm2-135m-instruct"}
        statuses.append(httpx.post(url + "/v1/chat/completions", json=body, timeout=20).status_code)

    started = time.monotonic()
    assert serve_while(act, port).code == 0 and statuses == [503] and engine.aborted == 1
    assert time.monotonic() - started < 10


def test_a_dead_engine_ends_the_server(engine: LiveEngine, port: int, tmp_path: Path) -> None:
    def act(url: str) -> None:
        engine.is_alive = False

    done = serve_while(act, port)
    assert done.code == 4 and "the engine died, and the server with it; start it again" in error(done)
    assert str(tmp_path / "cache" / f"serve-{port}.log") in done.err and engine.is_closed


def test_the_key_comes_from_the_environment(
    engine: LiveEngine, port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RDISTILL_API_KEY", "s3cret")
    statuses = []

    def act(url: str) -> None:
        key = {"authorization": "Bearer s3cret"}
        statuses.extend(httpx.get(url + "/v1/models", headers=h).status_code for h in ({}, key))
        assert "RDISTILL_API_KEY" not in os.environ
        tell(signal.SIGTERM)

    assert serve_while(act, port, "--host", "0.0.0.0").code == 0 and statuses == [401, 200]
    said = capfd.readouterr().out
    assert "$RDISTILL_API_KEY" in said and "s3cret" not in said


@pytest.mark.parametrize(
    ("options", "code", "part"),
    [
        (("--host", "0.0.0.0"), 2, "--host 0.0.0.0 lets other machines in and there is no key; set RDISTILL_API_KEY"),
        (("--host", "::"), 2, "lets other machines in and there is no key"),
        (("--host", "no.such.host.invalid"), 2, "--host no.such.host.invalid --port 8000 is no address"),
        (("--mode", "loud"), 2, "--mode 'loud'; expected one of concise, direct"),
        (("--port", "70000"), 2, "less than or equal to 65535"),
    ],
)
def test_it_says_what_is_wrong(engine: LiveEngine, options: tuple, code: int, part: str) -> None:
    done = rdistill("serve", MODEL, *options)
    assert (done.code, done.out) == (code, "") and part in done.err
    assert "Traceback" not in done.err


def test_a_port_in_use(engine: LiveEngine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = rdistill("serve", MODEL, "--port", port)
    assert done.code == 2 and error(done).endswith(
        f"--port {port} cannot be had (Address already in use); give another"
    )


def test_a_mode_that_was_not_trained(engine: LiveEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_module, "find_student", lambda name: (MODEL, Card(prompts={"direct": "d"}, marker="#")))
    done = rdistill("serve", MODEL, "--mode", "hidden")
    assert done.code == 2 and "--mode 'hidden' was not trained; this student has concise, direct" in error(done)


def test_no_model(engine: LiveEngine) -> None:
    done = rdistill("serve", "none/at/all")
    assert done.code == 3 and "RUN_OR_MODEL='none/at/all' is no folder here and no hub id" in error(done)


def test_a_missing_extra_is_named(engine: LiveEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_module, "NEEDED", ("uvicorn", "no_such_package"))
    done = rdistill("serve", MODEL)
    assert done.code == 3 and error(done).endswith("needs no_such_package: pip install 'rdistill[serve]'")


def test_an_engine_that_does_not_start(engine: LiveEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(fault: Exception) -> Any:
        async def start(*_: Any, **__: Any) -> LiveEngine:
            raise fault

        return start

    monkeypatch.setattr(serve_module, "start_vllm", failing(TeacherError("vLLM cannot start 'm'")))
    done = rdistill("serve", MODEL, "--port", 0)
    assert done.code == 4 and "vLLM cannot start 'm' (" in error(done) and ".log)" in done.err
    monkeypatch.setattr(serve_module, "start_vllm", failing(PrerequisiteError("the vllm engine needs vLLM")))
    assert rdistill("serve", MODEL, "--port", 0).code == 3


def test_python_without_a_sandbox_is_not_offered(
    engine: LiveEngine, monkeypatch: pytest.MonkeyPatch, port: int, tmp_path: Path
) -> None:
    card = Card(prompts={"direct": "d", "tool": "t"}, marker="#", tools=["python"])
    monkeypatch.setattr(serve_module, "find_student", lambda name: (MODEL, card))

    def no_sandbox(*_: Any) -> Any:
        raise PrerequisiteError("sandbox.require=strong is not met")

    monkeypatch.setattr(serve_module, "settle_sandbox", no_sandbox)
    models = []

    def act(url: str) -> None:
        models.extend(m["id"] for m in httpx.get(url + "/v1/models").json()["data"])
        tell(signal.SIGTERM)

    done = serve_while(act, port)
    assert done.code == 0 and done.err == "warning: mode tool is not served: sandbox.require=strong is not met\n"
    assert [m.partition(":")[2] for m in models] == ["", "concise", "direct"]
    refused = rdistill("serve", MODEL, "--mode", "tool", "--port", 0)
    assert refused.code == 3 and "sandbox.require=strong is not met" in error(refused)


def test_a_models_name_is_its_folders(tmp_path: Path) -> None:
    card = Card(prompts={"direct": "d"}, marker="#")
    (tmp_path / "my-run").mkdir()
    names = [serve_module.make_offer(m, card, "direct").name for m in (f"{tmp_path}/my-run/", "owner/name", MODEL)]
    assert names == ["my-run", "name", "smollm2-135m-instruct"]
