"""The pool: order, limits, concurrency, recycling, back-pressure."""

import asyncio
import contextlib
import time

import psutil
import pytest

from rdistill.config import VerifierSpec
from rdistill.errors import PrerequisiteError, VerifierError
from rdistill.records import Reason, Status
from rdistill.verifiers import lane
from rdistill.verifiers.pool import VerifierPool
from rdistill.verifiers.process import WorkerProcess

MATH, FORMAT = VerifierSpec(name="math"), VerifierSpec(name="format")
SLOW_PLUGIN = """
import time
from rdistill.verifiers import passed

class Sleeps:
    name, version = "sleeps", "3"
    def __init__(self, *, seconds=0.0):
        self.seconds = seconds
    def check(self, problem, sample):
        time.sleep(float(problem.gold if self.seconds == 0 else self.seconds))
        return passed(self, sample)
"""


@pytest.fixture
def sleeps(tmp_path):
    path = tmp_path / "sleeps.py"
    path.write_text(SLOW_PLUGIN)
    return f"{path}:Sleeps"


def test_verdicts_come_in_the_order_of_the_specs(make, judge_all, sleeps):
    specs = [FORMAT, VerifierSpec(name=sleeps, options={"seconds": 0.01}), MATH]
    [verdicts] = judge_all(specs, [make("7", "So 8.\n#### 8")])
    assert [v.verifier for v in verdicts] == ["format", "sleeps", "math"]
    assert [v.status for v in verdicts] == ["pass", "pass", "fail"]
    assert verdicts[1].version == "3" and verdicts[1].seconds >= 0.01


def test_a_check_past_its_limit_is_killed_in_time_and_the_next_is_right(make, sleeps):
    async def work():
        async with VerifierPool([VerifierSpec(name=sleeps)], workers=1, timeout_s=0.5) as pool:
            start = time.monotonic()
            [late] = await pool.check(*make("60", "x"))
            took = time.monotonic() - start
            [quick] = await pool.check(*make("0", "x"))
            return late, took, quick

    late, took, quick = asyncio.run(work())
    assert (late.status, late.reason) == (Status.UNVERIFIABLE, Reason.TIMEOUT)
    assert 0.5 <= took < 1.0
    assert quick.status is Status.PASS


def test_waiting_for_a_free_process_does_not_count(make, sleeps):
    async def work():
        async with VerifierPool([VerifierSpec(name=sleeps)], workers=1, timeout_s=0.6) as pool:
            return await asyncio.gather(*(pool.check(*make(f"0.{4}{i}", "x")) for i in range(4)))

    assert {v.status for [v] in asyncio.run(work())} == {Status.PASS}


def test_a_busy_event_loop_does_not_time_out_a_check_that_was_quick(make):
    async def work():
        async with VerifierPool([MATH], workers=1, timeout_s=0.2) as pool:
            await pool.check(*make("1", "#### 1"))
            task = asyncio.create_task(pool.check(*make("7", "#### 7")))
            await asyncio.sleep(0)
            time.sleep(1)  # blocking on purpose
            return await task

    [v] = asyncio.run(work())
    assert v.status is Status.PASS


def test_a_long_row_that_a_busy_event_loop_sends_late_has_its_whole_time(make, sleeps):
    async def work():
        async with VerifierPool([VerifierSpec(name=sleeps)], workers=1, timeout_s=0.5) as pool:
            await pool.check(*make("0", "x"))
            task = asyncio.create_task(pool.check(*make("0.4", "x" * 40_000)))
            await asyncio.sleep(0)
            time.sleep(1)  # blocking on purpose: a part of the row is not yet in the pipe
            return await task

    [v] = asyncio.run(work())
    assert v.status is Status.PASS, v.detail


def test_what_is_too_much_waits_with_its_caller_however_long(make, sleeps, monkeypatch):
    """Back-pressure: each process has one request at a time, and a wait of many limits times nothing out."""
    ask, open_now, most = lane.Lane.ask, 0, 0

    async def counted(*args):
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        try:
            return await ask(*args)
        finally:
            open_now -= 1

    async def work():
        monkeypatch.setattr(lane.Lane, "ask", counted)
        async with VerifierPool([VerifierSpec(name=sleeps)], workers=2, timeout_s=0.5) as pool:
            start = time.monotonic()
            verdicts = await asyncio.gather(*(pool.check(*make("0.1", f"{i}")) for i in range(40)))
            return verdicts, time.monotonic() - start

    verdicts, took = asyncio.run(work())
    assert {v.status for [v] in verdicts} == {Status.PASS} and took >= 2.0
    assert most == 2


def test_many_clients_get_the_verdicts_of_one(make, judge_all):
    pairs = [make(str(i), f"So.\n#### {i + i % 3}") for i in range(500)]
    serial = [v.status for [v] in judge_all([MATH], pairs)]

    async def work():
        async with VerifierPool([MATH], workers=2) as pool:
            return await asyncio.gather(*(pool.check(*pair) for pair in pairs))

    assert [v.status for [v] in asyncio.run(work())] == serial
    assert serial.count(Status.PASS) == 167


def test_workers_are_recycled(make, monkeypatch):
    monkeypatch.setattr(lane, "MIN_JOBS", 5)
    monkeypatch.setattr(lane, "MAX_START_SHARE", 1e9)

    async def work():
        seen = set()
        async with VerifierPool([MATH], workers=1) as pool:
            for i in range(20):
                [v] = await pool.check(*make(str(i), f"#### {i}"))
                assert v.status is Status.PASS
                seen |= {w._process.pid for w in pool._lanes[0].alive}
        return seen

    assert len(asyncio.run(work())) >= 3


def test_a_worker_is_recycled_after_some_jobs_and_once_its_start_was_worth_it():
    async def work():
        async with VerifierPool([FORMAT], workers=1) as pool:
            return pool._lanes[0].alive.pop()

    worker = asyncio.run(work())
    assert 0 < worker.start_s < 60
    worker.start_s = 0.5
    found = []
    for jobs, check_s in ((299, 1.0), (300, 0.1), (300, 0.0001), (50_000, 0.0001), (60_000, 0.0001)):
        worker.jobs, worker.busy_s = jobs, jobs * (check_s + lane.JOB_S)
        found.append(lane.is_worn(worker))
    assert found == [False, True, False, False, True]


def test_a_cancelled_check_does_not_spoil_the_next(make, sleeps):
    async def work():
        async with VerifierPool([VerifierSpec(name=sleeps)], workers=1, timeout_s=5) as pool:
            task = asyncio.create_task(pool.check(*make("4", "x")))
            await asyncio.sleep(0.2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return await pool.check(*make("0", "y"))

    [v] = asyncio.run(work())
    assert v.status is Status.PASS


def test_a_plugin_that_cannot_start_again_is_an_error_not_a_hang(make, sleeps, tmp_path):
    async def work():
        async with VerifierPool([VerifierSpec(name=sleeps)], workers=1, timeout_s=0.3) as pool:
            (tmp_path / "sleeps.py").unlink()
            await pool.check(*make("60", "x"))
            await pool.check(*make("0", "x"))

    with pytest.raises(VerifierError, match="no such file"):
        asyncio.run(work())


def test_a_busy_worker_dies_with_its_keeper(make, sleeps):
    async def work():
        async with VerifierPool([VerifierSpec(name=sleeps)], workers=1, timeout_s=30) as pool:
            [worker] = pool._lanes[0].alive
            check = asyncio.create_task(pool.check(*make("20", "x")))
            await asyncio.sleep(0.5)
            below = psutil.Process(worker._process.pid).children()
            worker._process.kill()
            _, alive = psutil.wait_procs(below, timeout=5)
            assert below and not alive
            [verdict] = await check
            assert verdict.reason is Reason.VERIFIER_ERROR and "SIGKILL" in verdict.detail

    asyncio.run(work())


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_pool_that_is_closed_while_a_process_starts_does_not_hang(turns):
    async def work():
        group = lane.Lane({0: MATH}, 1, 5, 2048, guarded=False, probe=False)
        started = asyncio.create_task(WorkerProcess.start(group.setup))
        for _ in range(turns):
            await asyncio.sleep(0)
        time.sleep(0.3)  # a busy event loop: the process is there, and has one of its own, before we look again
        started.cancel()
        done, _ = await asyncio.wait([started], timeout=10)
        assert done
        if not started.cancelled():
            await (await started).kill()

    asyncio.run(work())


def test_sympy_is_not_imported_until_needed(make, judge_all, tmp_path):
    plugin = tmp_path / "loaded.py"
    plugin.write_text(
        "import sys\nfrom rdistill.verifiers import passed, failed, Reason\n"
        "from rdistill.verifiers.math import Math\n"
        "class Loaded(Math):\n"
        "    name = 'loaded'\n"
        "    def check(self, problem, sample):\n"
        "        super().check(problem, sample)\n"
        "        heavy = {'sympy', 'torch', 'math_verify', 'numpy'} & set(sys.modules)\n"
        "        return failed(self, sample, Reason.FORMAT, str(heavy)) if heavy else passed(self, sample)\n"
    )
    pairs = [make("7", "So 7 apples.\n#### 7"), make("\\sqrt{2}/2", "\\boxed{\\frac{1}{\\sqrt{2}}}")]
    [[light], [heavy]] = judge_all([VerifierSpec(name=f"{plugin}:Loaded")], pairs)
    assert light.status is Status.PASS, light.detail
    assert "sympy" in heavy.detail


def test_quick_checks_are_quick(make):
    pairs = [make(str(i), f"So {i}.\n#### {i}") for i in range(1000)]

    async def work():
        async with VerifierPool([MATH], workers=2) as pool:
            start = time.monotonic()
            await asyncio.gather(*(pool.check(*pair) for pair in pairs))
            return len(pairs) / (time.monotonic() - start)

    assert asyncio.run(work()) > 100  # 12,000 alone on two cores; others may be using them


def test_a_check_that_outlives_the_pool_starts_no_process(make, sleeps):
    async def work() -> tuple[set, list]:
        async with VerifierPool([VerifierSpec(name=sleeps)], workers=1, timeout_s=30) as pool:
            late = [asyncio.create_task(pool.check(*make("30", "x"))) for _ in range(2)]
            await asyncio.sleep(0.1)
        found = await asyncio.wait_for(asyncio.gather(*late, return_exceptions=True), 5)
        return pool._lanes[0].alive, found

    alive, (running, waiting) = asyncio.run(work())
    assert not alive
    assert running[0].reason is Reason.VERIFIER_ERROR
    assert isinstance(waiting, VerifierError)


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        ("raise PrerequisiteError('no server; start one')", PrerequisiteError, "verifier 'asks': no server; start one"),
        ("1 / 0", VerifierError, "verifier 'asks': its probe raised ZeroDivisionError"),
        ("pass", None, ""),
    ],
)
def test_a_verifier_may_look_for_what_it_needs(tmp_path, body, error, said):
    (tmp_path / "asks.py").write_text(
        "from rdistill.errors import PrerequisiteError\n"
        "class Asks:\n    name, version = 'asks', '1'\n    def check(self, problem, sample): ...\n"
        f"    def probe(self): {body}\n"
    )
    specs = [VerifierSpec(name=f"{tmp_path / 'asks.py'}:Asks")]

    async def enter(probe):
        async with VerifierPool(specs, workers=1, probe=probe):
            pass

    asyncio.run(enter(False))
    with pytest.raises(error, match=said) if error else contextlib.nullcontext():
        asyncio.run(enter(True))
