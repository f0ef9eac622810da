"""A corpus of hostile snippets from outside the repository: none escapes, none passes, none hangs, none survives."""

import json
import os
import socket
import time
from pathlib import Path

import pytest

from rdistill.sandbox import Sandbox, run_function

TIMEOUT_S = 2
EXPECTED = {"resource_limit": {"resource_limit"}, "timeout": {"timeout"}, "ok": {"ok"}, "ok_nonzero": {"error"}}
STOPPED_EARLIER = {"billion_laughs"}
"""The XML parser refuses it before it takes memory."""
NEEDS_OWN_ROOT = {"sparse_file", "fifo_wait", "subprocess_bomb"}
"""Only `strong` has a /tmp to write to, and a Python that any child can start; the others refuse earlier."""
LEVELS = ("strong", "strong-nobwrap", "medium")
CANARY = Path("/tmp/rdistill_canary")
ARGUMENTS, SUMS = [[2, 3], [1, 1], [-4, 9], [0, 0]], [5, 2, 5, 0]


@pytest.fixture(scope="module")
def cases(shared_data):
    path = shared_data / "hostile_python" / "cases.jsonl"
    if not path.is_file():
        pytest.skip(f"no hostile corpus in {path}")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def canary(monkeypatch):
    """What the corpus tries to read and reach: a file, a variable, listeners."""
    CANARY.mkdir(exist_ok=True)
    (CANARY / "secret.txt").write_text("CANARY-7f3a")
    monkeypatch.setenv("RDISTILL_CANARY", "CANARY-7f3a")
    tcp, udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    local = socket.socket(socket.AF_UNIX)
    with tcp, udp, local:
        for listener in (tcp, udp):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", 47113))
        local.bind("\0rdistill_canary")
        for listener in (tcp, udp, local):
            listener.setblocking(False)
        tcp.listen()
        local.listen()
        yield tcp, udp, local


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_every_hostile_script_is_held(cases, canary, level):
    box = Sandbox(level, timeout_s=TIMEOUT_S)
    before = sorted(os.listdir(CANARY))
    for case in (case for case in cases if case["mode"] == "script"):
        start = time.monotonic()
        result = box.run(case["code"])
        output = result.stdout + result.stderr
        assert "ESCAPED" not in result.stdout, (case["id"], result)
        assert "CANARY-" not in output, (case["id"], result)
        assert result.status != "sandbox_error", (case["id"], result)
        if case["id"] not in STOPPED_EARLIER | (set() if level == "strong" else NEEDS_OWN_ROOT):
            assert result.status in EXPECTED.get(case["expected"], {result.status}), (case["id"], result)
        assert time.monotonic() - start < 5 * TIMEOUT_S, case["id"]
    assert sorted(os.listdir(CANARY)) == before
    for listener in canary:
        with pytest.raises(BlockingIOError):
            listener.recv(1) if listener.type == socket.SOCK_DGRAM else listener.accept()


@pytest.mark.parametrize("level", LEVELS)
def test_no_hostile_solution_passes(cases, level):
    box = Sandbox(level, timeout_s=TIMEOUT_S)
    for case in (case for case in cases if case["mode"] == "solution"):
        run = run_function(box, case["code"], "add", ARGUMENTS)
        is_right = run.status == "ok" and [outcome.value for outcome in run.outcomes] == SUMS
        assert is_right == (case["expected"] == "pass"), (case["id"], run)
