"""Child processes: what they are given, how their end is told, and that none is left behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rdistill import process
from rdistill.process import OWNER, child_environment, last_error_line

PARENT = """
import subprocess, sys, time
from rdistill.process import watch_over_children
watch_over_children()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_killed_process_started_is_killed_too() -> None:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, env=child_environment(), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while is_alive(child):
        assert time.monotonic() < deadline, "left behind"
        time.sleep(0.05)


def test_nobody_waits_for_the_watchdog() -> None:
    """Its hands are empty: a pipe on our output ends when we do."""
    code = "from rdistill.process import watch_over_children; watch_over_children(); import os; os._exit(0)"
    with subprocess.Popen([sys.executable, "-c", code], env=child_environment(), stdout=subprocess.PIPE) as parent:
        parent.wait()
        ended = time.monotonic()
        assert parent.stdout is not None and parent.stdout.read() == b""
        assert time.monotonic() - ended < 0.25


def test_a_childs_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "preloads", lambda: [Path("/lib/a.so"), Path("/lib/b.so")])
    monkeypatch.setenv("LD_PRELOAD", "/lib/b.so:/lib/own.so")
    env = child_environment({"EXTRA": "1"})
    assert env["LD_PRELOAD"].split(":") == ["/lib/b.so", "/lib/own.so", "/lib/a.so"]
    assert env["PATH"].startswith(str(Path(sys.executable).parent)) and env["EXTRA"] == "1"
    assert child_environment()[OWNER] != env[OWNER], "each child's family has a mark of its own"


def test_the_last_line_of_a_log_that_names_an_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_error_line(log, "nothing") == "nothing"
    log.write_text("fine\nValueError: first\n  File x\nRuntimeError: second\nshutting down\n")
    assert last_error_line(log, "nothing") == "RuntimeError: second"
    log.write_bytes(b"\xff\xfe no name\n    IndentedError: in a traceback\n")
    assert last_error_line(log, "nothing") == "nothing"
