"""A stage in a process of its own: how it fails, how it is interrupted, and that nothing of it stays behind."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from scripted import Endpoint

from rdistill import stages
from rdistill.config import load_config
from rdistill.errors import RdistillError, kind_of
from rdistill.ledger import Ledger
from rdistill.process import child_environment
from rdistill.records import Sample
from rdistill.run import RunFolder
from rdistill.stages import Stage


class Place:
    """A config whose teacher is an endpoint, and the command line on it."""

    def __init__(self, root: Path, endpoint: Endpoint, problems: int = 40) -> None:
        rows = [{"prompt": f"Item {n}: what is {n} + {n * 3 % 50}?", "gold": n + n * 3 % 50} for n in range(problems)]
        (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        config = {
            "name": "p",
            "prompts": {"sources": [{"path": "rows.jsonl"}], "near_duplicate": 1},
            "teacher": {"engine": "openai", "model": "m", "base_url": endpoint.url, "concurrency": 4, "timeout_s": 4},
            "verify": {"timeout_s": 60, "workers": 1},
            "student": {"model": "bundled:smollm2-135m-instruct"},
        }
        self.path, self.run, self.endpoint = root / "p.yaml", RunFolder(root / "run"), endpoint
        self.path.write_text(yaml.safe_dump(config))

    def start(self, command: str, *options: str) -> subprocess.Popen:
        arguments = [sys.executable, "-m", "rdistill.cli", command, str(self.path), "--run-dir", str(self.run.root)]
        # Whoever runs the tests may ignore Ctrl-C, which children inherit.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return subprocess.Popen([*arguments, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        finally:
            signal.signal(signal.SIGINT, before)

    def do(self, command: str, *options: str) -> tuple[int, str]:
        process = self.start(command, *options)
        _, err = process.communicate()
        return process.returncode, err

    def wait_for_requests(self, number: int) -> None:
        deadline = time.monotonic() + 60
        while self.endpoint.requests < number:
            assert time.monotonic() < deadline, "the teacher was not asked"
            time.sleep(0.005)

    def samples(self) -> int:
        return Ledger(self.run.ledger, read_only=True).count(Sample)

    def children(self, process: subprocess.Popen) -> list[int]:
        return [int(p) for p in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Endpoint(latency_s=0.03) as endpoint:
        yield Place(tmp_path, endpoint)


def last_line(err: str) -> str:
    assert "Traceback" not in err
    return err.strip().splitlines()[-1]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_teacher_that_breaks_down_ends_the_stage_with_one_sentence(place: Place) -> None:
    place.endpoint.broken = lambda n: (500, b"out of order") if n > 60 else None
    code, err = place.do("generate")
    assert code == 4
    assert "left 20 requests in a row without a reply (teacher.base_url=" in last_line(err)
    assert last_line(err).startswith("error: ") and "HTTP 500: out of order" in last_line(err)
    assert place.run.read_manifest("generate") is None
    kept = place.samples()
    assert kept >= 50, "what was finished is on disk"
    place.endpoint.broken, asked = (lambda n: None), place.endpoint.requests
    code, err = place.do("generate")
    assert code == 0, err
    manifest = place.run.read_manifest("generate")
    assert manifest is not None and manifest["result"]["completions_reused"] >= 50
    assert place.endpoint.requests - asked == manifest["result"]["completions_asked"] + 2, "and two probes"


def test_an_interrupt_ends_both_processes_and_keeps_the_work(place: Place) -> None:
    process = place.start("generate")
    place.wait_for_requests(40)
    (child,) = place.children(process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert last_line(err) == "interrupted; what was finished is kept, the same command goes on from there"
    assert not is_alive(child)
    assert place.samples() >= 20
    assert place.do("generate")[0] == 0


def test_a_killed_run_is_free_within_a_second(place: Place) -> None:
    place.endpoint.latency_s = 0.5
    process = place.start("generate")
    place.wait_for_requests(5)
    (child,) = place.children(process)
    second = place.do("generate")
    assert second[0] == 2 and f"in use by process {process.pid}" in last_line(second[1])
    process.kill()
    started = time.monotonic()
    process.communicate()
    place.run.check_usable()
    assert time.monotonic() - started < 2
    assert not is_alive(child)


def test_a_stage_that_is_killed_from_outside_says_so(place: Place) -> None:
    process = place.start("generate")
    place.wait_for_requests(10)
    os.kill(place.children(process)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 4
    assert "stage generate failed: its process was killed by SIGKILL (out of memory?)" in last_line(err)


CHILD = """
import rdistill.stages, rdistill.steps
from rdistill import errors
from rdistill.train.spans import SpanError

def work(run, config, ledger):
    print("noise on stdout")
    raise {error}

rdistill.steps.verify = work
rdistill.stages.main()
"""


@pytest.mark.parametrize(
    ("error", "code", "kind", "message"),
    [
        ("errors.PrerequisiteError('no sandbox; install it')", 3, "PrerequisiteError", "no sandbox; install it"),
        ("SpanError('TOO_LONG', 'row too long; cut it')", 2, "DataError", "row too long; cut it"),
        ("KeyboardInterrupt", 130, None, None),
        ("ValueError('odd\\n thing')", 4, "RdistillError", "stage verify failed: ValueError: odd thing; the whole"),
        (
            "ExceptionGroup('g', [ExceptionGroup('h', [errors.TeacherError('no teacher')])])",
            4,
            "TeacherError",
            "no teacher",
        ),
    ],
)
def test_every_kind_of_failure_reaches_the_parent(
    place: Place, error: str, code: int, kind: str | None, message: str | None
) -> None:
    place.run.root.mkdir()
    place.run.config.write_text(place.path.read_text())
    log = place.run.root / "stage.log"
    command = [
        sys.executable,
        "-c",
        CHILD.format(error=error),
        str(place.run.root),
        "verify",
        str(log),
        str(os.getpid()),
    ]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
    assert "noise on stdout" in log.read_text()
    found = place.run.stage("verify") / "error.json"
    if kind is None:
        assert not found.exists()
    else:
        assert json.loads(found.read_text())["kind"] == kind
        assert json.loads(found.read_text())["message"].startswith(str(message))


@pytest.mark.parametrize(
    "error", ["OSError(28, 'No space left on device')", "RuntimeError('Error while serializing: (os error 28)')"]
)
def test_a_full_disk_ends_a_child_without_a_word_and_reaches_the_parent(place: Place, error: str) -> None:
    """Its log and its folder take nothing any more: /dev/full does as a full disk does."""
    place.run.root.mkdir()
    place.run.config.write_text(place.path.read_text())
    command = [sys.executable, "-c", CHILD.format(error=error), str(place.run.root), "verify", "/dev/full"]
    done = subprocess.run([*command, str(os.getpid())], env=child_environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (errno.ENOSPC, "", "")
    assert not (place.run.stage("verify") / "error.json").exists()


def test_a_full_disk_is_one_sentence(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, *_: object, **__: object) -> None: ...

        def wait(self) -> int:
            return errno.ENOSPC

    monkeypatch.setattr(stages.subprocess, "Popen", Full)
    with pytest.raises(RdistillError, match=r"no space left on .*run .*; free some, then run again") as caught:
        stages._run_child(stages.BY_NAME["generate"], place.run, place.run.new_attempt(), None)
    assert caught.value.exit_code == 4


def test_a_child_that_cannot_even_start_is_one_sentence(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.run.root.mkdir()
    place.run.config.write_text(place.path.read_text())
    config = load_config(place.path)
    stage = Stage("no_such_stage", "x:y", (), child=True)
    monkeypatch.setattr(stages, "fingerprints", lambda config: {"no_such_stage": ("0", {})})
    with pytest.raises(RdistillError, match=r"stage no_such_stage failed: KeyError: 'no_such_stage'; the whole story"):
        stages.run_stage(stage, place.run, config, place.run.new_attempt())


def test_an_error_of_a_subclass_is_raised_as_the_nearest_known_one() -> None:
    from rdistill.train.spans import SpanError

    assert kind_of(SpanError("X", "y")) == "DataError"
    assert kind_of(RdistillError("y")) == "RdistillError"
