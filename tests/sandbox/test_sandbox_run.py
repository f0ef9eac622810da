"""The sandbox runs honest code, names each way of failing, and leaves nothing behind."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rdistill.errors import PrerequisiteError
from rdistill.sandbox import LOCAL, Sandbox, probes, scratch


@pytest.fixture(scope="module", params=LOCAL)
def box(request):
    return Sandbox(request.param, timeout_s=10, memory_mb=256)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("print(6 * 7)", "ok"),
        ("raise ValueError('honest')", "error"),
        ("def f(:", "error"),
        ("import os; os._exit(7)", "error"),
        ("import os; os.abort()", "error"),
        ("print('\\ud800')", "error"),
        ("x = 'a\x00b'", "error"),
        ("x = '\ud800'", "error"),
        ("x = bytes(1 << 34)", "resource_limit"),
        ("open('big', 'wb').truncate(1 << 40)", "resource_limit"),
        ("print('x' * (1 << 20))", "resource_limit"),
        ("import sys; sys.stderr.write('x' * (1 << 20))", "resource_limit"),
    ],
)
def test_each_end_has_its_status(box, code, status):
    result = box.run(code)
    assert result.status == status, result
    assert len(result.stdout) <= 1 << 16
    assert len(result.stderr) <= 1 << 16


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import atexit, time; atexit.register(time.sleep, 99)",
        "import os\nos.close(1); os.close(2)\nwhile True: pass",
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\nwhile True: pass",
    ],
)
def test_the_deadline_holds(box, code):
    start = time.monotonic()
    assert box.run(code, timeout_s=0.5).status == "timeout"
    assert time.monotonic() - start < 5


def test_output_input_and_traceback_are_the_programs_own(box):
    result = box.run("import sys\nprint(input()[::-1], 'π')\n1 / 0", stdin="abc\n")
    assert result.stdout == "cba π\n"
    assert result.stderr.splitlines()[1:] == [
        '  File "main.py", line 3, in <module>',
        "ZeroDivisionError: division by zero",
    ]
    assert (result.exit_code, result.level) == (1, box.level)


def test_input_and_program_are_capped(box):
    assert box.run("print(1)", stdin="x" * (17 << 20)).status == "resource_limit"


def test_runs_share_nothing(box):
    assert box.run("open('left', 'w').write('x')").status == "ok"
    assert box.run("import os; print(os.listdir())").stdout == "[]\n"


def test_many_threads_get_their_own_answers(box):
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: box.run(f"print({n})").stdout, range(24)))
    assert results == [f"{n}\n" for n in range(24)]


def test_arun_is_the_same(box):
    assert asyncio.run(box.arun("print(input())", stdin="x")).stdout == "x\n"


@pytest.mark.parametrize("level", LOCAL)
def test_nothing_survives_the_harness(level):
    """SIGKILL to the process that holds the sandbox takes the sandboxed program along."""
    marker = f"rdistill-orphan-{os.getpid()}"
    program = (
        "import os, sys\nif os.fork(): os.wait()\nos.setsid()\n"
        "os.execv(sys.executable, [sys.executable, '-S', '-c', 'import time; time.sleep(60)', MARKER])"
    )
    program = program.replace("MARKER", repr(marker))
    harness = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"from rdistill.sandbox import Sandbox; Sandbox({level!r}, timeout_s=60).run({program!r})",
        ],
        cwd=Path(__file__).parents[2],
        process_group=0,
    )
    assert wait_until(lambda: processes_with(marker, besides=harness.pid)), "the program did not start"
    harness.send_signal(signal.SIGKILL)
    harness.wait()
    assert wait_until(lambda: not processes_with(marker)), "the program outlived its harness"


def processes_with(marker, besides=None):
    return [p for p in os.listdir("/proc") if p.isdigit() and int(p) != besides and marker in last_argument(p)]


def last_argument(pid):
    try:
        return Path("/proc", pid, "cmdline").read_bytes().split(b"\0")[-2].decode()
    except (OSError, IndexError, UnicodeDecodeError):
        return ""


def wait_until(is_true, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if is_true():
            return True
        time.sleep(0.05)
    return False


def test_a_sandbox_that_does_not_start_says_nothing_about_the_code(tmp_path, monkeypatch):
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 0\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    result = Sandbox().run("print(1)")
    assert result.status == "sandbox_error"
    assert "new namespace" in result.stderr
    with pytest.raises(PrerequisiteError, match=r"failed \d+ of \d+ probes .*new namespace"):
        probes.require("strong")


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("while True: os.mkdir('d' * 50); os.chdir('d' * 50)", "resource_limit"),
        ("for n in range(1 << 20): open(str(n), 'w').close()", "resource_limit"),
        (
            "for n in range(99): f = open('x', 'wb'); files.append(f); os.remove('x'); f.write(bytes(8 << 20))",
            "resource_limit",
        ),
        ("os.mkdir('a', 0); os.mkdir('b'); os.mkdir('b/c', 0); os.symlink('/', 'd')", "ok"),
    ],
)
def test_the_scratch_folder_is_bounded_and_goes(program, status, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = Sandbox("medium", timeout_s=30).run(f"import os\nfiles = []\n{program}")
    assert result.status == status, result
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_harness_left_goes_with_the_next_run(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "MIN_AGE_S", 0)
    left, held = tmp_path / f"{scratch.PREFIX}left", tmp_path / f"{scratch.PREFIX}held"
    (left / "a" / "b").mkdir(parents=True)
    held.mkdir()
    lock = os.open(held, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert Sandbox("weak").run("print(1)").status == "ok"
    assert list(tmp_path.iterdir()) == [held]
    os.close(lock)


@pytest.mark.parametrize("level", ["strong-nobwrap", "medium"])
def test_a_program_reaches_no_process_but_its_own(level):
    box = Sandbox(level)
    assert box.run("import os\ntry: os.kill(-1, 9)\nexcept OSError: pass").status == "ok"
    assert box.run("import os\nos.kill(os.getppid(), 9)").stderr.endswith("Operation not permitted\n")
    assert box.run("import os\nos.kill(0, 9)").exit_code == 137


@pytest.mark.parametrize("level", ["strong-nobwrap", "medium", "weak"])
def test_processes_that_flee_by_forking_are_caught(level):
    fleeing = "import os\nif os.fork() == 0:\n    os.setsid()\n    while True:\n        if os.fork(): os._exit(0)"
    assert Sandbox(level).run(fleeing).status == "ok"
