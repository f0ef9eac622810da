"""What a verifier starts: its memory counts with its own, and nothing of it outlives the pool or the worker."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from rdistill.config import VerifierSpec
from rdistill.records import Reason, Status
from rdistill.verifiers.pool import VerifierPool
from rdistill.verifiers.process import KEEPER

EATS = "import time; kept = b'x' * ({} << 20); time.sleep(60)"
PLUGIN = """
import os, subprocess, sys, time
from rdistill.verifiers import passed

EATS = {eats!r}

class Starts:
    '''Gold: what to do. The pid of what it starts goes into a file beside this one.'''
    name, version = "starts", "1"

    def check(self, problem, sample):
        kind, size, number = problem.gold["kind"], problem.gold.get("size", 1), problem.gold.get("number", 1)
        command = [sys.executable, "-I", "-S", "-c", EATS.format(size)]
        if kind == "children":
            children = [subprocess.Popen(command) for _ in range(number)]
            note(*(child.pid for child in children))
            time.sleep(problem.gold["seconds"])
            for child in children:
                child.kill()
        if "daemon" in kind and os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                note(os.getpid())
                os.closerange(0, 256)
                os.execve(command[0], command, {{}})
            os._exit(0)
        if "daemon" in kind:
            os.wait()
            while not os.path.exists({pids!r}):
                time.sleep(0.01)
        if "hang" in kind:
            time.sleep(60)
        if "exit" in kind:
            os._exit(1)
        return passed(self, sample)

def note(*pids):
    with open({pids!r}, "a") as file:
        file.writelines(f"{{pid}}\\n" for pid in pids)
"""


@pytest.fixture
def starts(tmp_path):
    (tmp_path / "starts.py").write_text(PLUGIN.format(eats=EATS, pids=str(tmp_path / "pids")))
    return VerifierSpec(name=f"{tmp_path / 'starts.py'}:Starts")


def alive(tmp_path, number):
    """Those of the `number` processes that were started which are running, in a moment at most."""
    deadline, pids = time.monotonic() + 10, []
    while len(pids) < number and time.monotonic() < deadline:
        time.sleep(0.05)
        pids = (tmp_path / "pids").read_text().split() if (tmp_path / "pids").exists() else []
    assert len(pids) == number
    return [pid for pid in pids if is_running(pid)]


def is_gone(tmp_path, number, seconds=5):
    deadline = time.monotonic() + seconds
    while left := alive(tmp_path, number):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return not left


def is_running(pid):
    with contextlib.suppress(OSError):
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_the_memory_of_its_children_counts(make, starts, tmp_path):
    async def work():
        async with VerifierPool([starts], workers=1, timeout_s=50, memory_mb=400) as pool:
            start = time.monotonic()
            [many] = await pool.check(*make({"kind": "children", "size": 130, "number": 4, "seconds": 50}, "x"))
            took, left = time.monotonic() - start, not is_gone(tmp_path, 4)
            [few] = await pool.check(*make({"kind": "children", "size": 20, "number": 4, "seconds": 1}, "x"))
            return many, took, left, few

    many, took, left, few = asyncio.run(work())
    assert (many.status, many.reason) == (Status.UNVERIFIABLE, Reason.VERIFIER_ERROR)
    assert many.detail == "it and what it started held more than 400 MiB of memory" and took < 40 and not left
    assert few.status is Status.PASS


def test_a_keeper_that_is_told_to_end_many_times_leaves_no_daemon():
    """The pool says it twice, one soon after the other: a worker holds too much, and is replaced."""
    mark = f"{50 + os.getpid() / 1e7:.7f}"
    worker = ["/bin/sh", "-c", f"setsid sleep {mark} & setsid sleep {mark} & wait"]
    for delay_us in range(0, 160, 4):
        keeper = subprocess.Popen([sys.executable, "-I", "-S", KEEPER, *worker], start_new_session=True)
        time.sleep(0.06)
        for _ in range(12):
            keeper.send_signal(signal.SIGTERM)
            until = time.perf_counter() + delay_us / 1e6
            while time.perf_counter() < until:
                pass
        assert keeper.wait(10) == 128 + signal.SIGTERM or keeper.returncode == -signal.SIGTERM
    assert not [p.pid for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or [])]


def test_the_memory_of_daemons_counts_though_every_check_is_quick(make, starts, tmp_path):
    async def work():
        async with VerifierPool([starts], workers=1, timeout_s=30, memory_mb=400) as pool:
            for size in (250, 251):
                verdicts = await pool.check(*make({"kind": "daemon", "size": size}, "x"))
            alive(tmp_path, 2)
            deadline = time.monotonic() + 20
            while verdicts[0].status is Status.PASS and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
                verdicts = await pool.check(*make({"kind": "nothing"}, "x"))
            return verdicts[0]

    verdict = asyncio.run(work())
    assert verdict.reason is Reason.VERIFIER_ERROR and "400 MiB" in verdict.detail
    assert not alive(tmp_path, 2)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("daemon", Reason.OK), ("daemon hang", Reason.TIMEOUT), ("daemon exit", Reason.VERIFIER_ERROR)],
)
def test_a_daemon_in_a_session_of_its_own_dies_with_its_worker(make, starts, tmp_path, kind, reason):
    async def work():
        async with VerifierPool([starts], workers=1, timeout_s=0.5) as pool:
            [verdict] = await pool.check(*make({"kind": kind}, "x"))
            if reason is Reason.OK:
                assert alive(tmp_path, 1), "a worker that goes on keeps what it started"
            else:
                await pool.check(*make({"kind": "nothing"}, "x"))  # by another process: the first is gone
                assert not alive(tmp_path, 1)
            return verdict

    assert asyncio.run(work()).reason is reason
    assert not alive(tmp_path, 1)


def test_nothing_is_left_where_the_parent_is_killed(starts, tmp_path):
    code = (
        "import asyncio\nfrom rdistill.config import VerifierSpec\nfrom rdistill.verifiers.cases import to_pair\n"
        "from rdistill.verifiers.pool import VerifierPool\n"
        "async def main():\n"
        f"    async with VerifierPool([VerifierSpec(name={starts.name!r})], workers=1, timeout_s=60) as pool:\n"
        "        await pool.check(*to_pair({'id': 'a', 'gold': {'kind': 'daemon hang'}, 'answer': 'x'}))\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert alive(tmp_path, 1)
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    assert is_gone(tmp_path, 1, 10)
