"""The ledger keeps what it acknowledged: through kills, bad records, full disks and cancelled callers."""

import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from rdistill.errors import DataError, RdistillError
from rdistill.ledger import Ledger
from rdistill.records import Problem, Sample, Status, Verdict


def problem(number: int, split: str = "train", gold: object = "1") -> Problem:
    messages = [{"role": "user", "content": f"question {number}"}]
    return Problem(id=f"{number:032x}", messages=messages, gold=gold, cluster=f"c{number}", split=split)


def sample(number: int, text: str = "#### 1") -> Sample:
    return Sample.create(
        problem_id=f"{number:032x}",
        messages=[{"role": "assistant", "content": text}],
        rationale=None,
        answer="1",
        finish_reason="stop",
        usage={},
        sampling={"index": 0},
        engine="e",
    )


def test_rows_come_back_equal_in_the_order_written(tmp_path: Path) -> None:
    records = [problem(n, gold={"n": [n, None, "é \x00 \\"]}) for n in (3, 1, 2)]
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.write(records)
        assert list(ledger.rows(Problem)) == records
        assert ledger.get(Problem, records[1].id) == records[1]
        assert ledger.get(Problem, "absent") is None
        assert list(ledger.rows(Problem, split="test")) == []
    with Ledger(tmp_path / "l.sqlite", read_only=True) as ledger:
        assert list(ledger.rows(Problem)) == records


def test_writing_again_changes_neither_count_nor_order(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.write([problem(1), problem(2)])
        ledger.write([problem(2, gold="new"), problem(3), problem(1)])
        assert [p.id[-1] for p in ledger.rows(Problem)] == ["1", "2", "3"]
        assert [p.gold for p in ledger.rows(Problem)] == ["1", "new", "1"]


def test_a_verdicts_key_is_what_it_judges_and_by_whom(tmp_path: Path) -> None:
    def verdict(version: str, status: Status) -> Verdict:
        return Verdict(sample_id="s", verifier="math", version=version, status=status, reason="OK")

    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.write([verdict("1", Status.FAIL), verdict("1", Status.PASS), verdict("2", Status.FAIL)])
        assert [(v.version, v.status) for v in ledger.rows(Verdict)] == [("1", Status.PASS), ("2", Status.FAIL)]


def test_replace_leaves_only_the_new_rows(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.write([problem(1), problem(2), sample(1)])
        ledger.replace(Problem, [problem(2), problem(5)])
        assert [p.id for p in ledger.rows(Problem)] == [problem(2).id, problem(5).id]
        assert ledger.count(Sample) == 1
        ledger.replace(Problem, [])
        assert ledger.count(Problem) == 0


def test_the_first_completion_of_a_key_stays(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.submit(generation=("k", "first")).result()
        ledger.submit(generation=("k", "second")).result()
        assert ledger.generation("k") == "first"
        assert ledger.generation("other") is None


def test_find_takes_the_first_digits_of_any_id(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.write([problem(0xAB << 120), problem(0xAC << 120)])
        assert [p.id[:2] for p in ledger.find("00000000000000")] == []
        assert len(ledger.find("a")) == 2
        assert len(ledger.find("ab")) == 1
        assert ledger.find("ab%") == [] and ledger.find("'; DROP TABLE problems") == []


def test_many_writers_share_commits(tmp_path: Path) -> None:
    async def work(ledger: Ledger) -> None:
        await asyncio.gather(*(ledger.put(problem(n), sample(n)) for n in range(400)))

    with Ledger(tmp_path / "l.sqlite") as ledger:
        asyncio.run(work(ledger))
        assert ledger.count(Problem) == ledger.count(Sample) == 400


def test_what_was_put_is_seen_by_every_reader_at_once(tmp_path: Path) -> None:
    async def work(ledger: Ledger) -> None:
        other = Ledger(ledger.path, read_only=True)
        for n in range(50):
            await ledger.put(problem(n))
            assert other.count(Problem) == n + 1
        other.close()

    with Ledger(tmp_path / "l.sqlite") as ledger:
        asyncio.run(work(ledger))


def test_a_record_that_cannot_be_written_fails_its_own_caller_alone(tmp_path: Path) -> None:
    async def work(ledger: Ledger) -> list:
        bad = sample(1, text="lone surrogate \ud800")
        return await asyncio.gather(
            *(ledger.put(problem(1)), put(ledger, bad), ledger.put(problem(2))), return_exceptions=True
        )

    async def put(ledger: Ledger, record: Sample) -> None:
        await ledger.put(record)

    with Ledger(tmp_path / "l.sqlite") as ledger:
        found = asyncio.run(work(ledger))
        assert [isinstance(f, Exception) for f in found] == [False, True, False]
        assert ledger.count(Problem) == 2


def test_a_cancelled_caller_stops_nobody(tmp_path: Path) -> None:
    async def work(ledger: Ledger) -> None:
        tasks = [asyncio.create_task(ledger.put(problem(n))) for n in range(50)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.wait_for(ledger.put(problem(99)), 10)

    with Ledger(tmp_path / "l.sqlite") as ledger:
        asyncio.run(work(ledger))
        assert ledger.count(Problem) == 51


def test_a_full_disk_is_one_sentence_and_loses_nothing_acknowledged(tmp_path: Path, monkeypatch) -> None:
    whole = Ledger._connect

    def small(self: Ledger) -> sqlite3.Connection:
        db = whole(self)
        db.execute("PRAGMA max_page_count=60")
        return db

    monkeypatch.setattr(Ledger, "_connect", small)
    written = 0
    with Ledger(tmp_path / "l.sqlite") as ledger:
        with pytest.raises(RdistillError, match=r"no space left on .* MB free\); free some, then run again"):
            for n in range(1000):
                ledger.write([sample(n, text="x" * 1000)])
                written += 1
        assert ledger.count(Sample) == written > 10


def test_nothing_is_written_through_a_read_only_ledger(tmp_path: Path) -> None:
    Ledger(tmp_path / "l.sqlite").close()
    with Ledger(tmp_path / "l.sqlite", read_only=True) as ledger, pytest.raises(AssertionError, match="read-only"):
        ledger.write([problem(1)])


@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path: Path, read_only: bool) -> None:
    (tmp_path / "text").write_text("not a database, and longer than a header of one hundred bytes " * 4)
    with sqlite3.connect(tmp_path / "foreign") as db:
        db.execute("CREATE TABLE users (name TEXT)")
    with sqlite3.connect(tmp_path / "newer") as db:
        db.execute("PRAGMA user_version=99")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    for name in ("text", "foreign", "newer"):
        with pytest.raises(DataError, match="ledger"):
            Ledger(tmp_path / name, read_only=read_only)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_missing_ledger_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no ledger here"):
        Ledger(tmp_path / "l.sqlite", read_only=True)
    assert not list(tmp_path.iterdir())


AS_NOBODY = """
    import os, sys
    from rdistill.errors import DataError
    from rdistill.ledger import Ledger
    from rdistill.records import Problem

    os.setgid(65534)
    os.setuid(65534)
    try:
        print([p.id[-1] for p in Ledger(sys.argv[1], read_only=True).rows(Problem)])
    except DataError as error:
        print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who may not write")
def test_who_may_only_read_can_read() -> None:
    with tempfile.TemporaryDirectory(prefix="run #1? ") as name:  # tmp_path is nobody's but ours
        folder = Path(name)
        folder.chmod(0o755)
        with Ledger(folder / "l.sqlite") as ledger:
            ledger.write([problem(1), problem(2)])
            assert read_as_nobody(folder) == "['1', '2']", "while the run goes on"
        before = {p.name: p.read_bytes() for p in folder.iterdir()}
        assert read_as_nobody(folder) == "['1', '2']" and {p.name: p.read_bytes() for p in folder.iterdir()} == before
        (folder / "l.sqlite").chmod(0o600)
        said = read_as_nobody(folder)
        assert said.endswith("(unable to open database file); name the folder of a run that you can read")
        assert "not a usable ledger" in said
        folder.chmod(0o700)
        assert read_as_nobody(folder).endswith("no ledger here; name the folder of a run")


def read_as_nobody(folder: Path) -> str:
    command = [sys.executable, "-c", textwrap.dedent(AS_NOBODY), str(folder / "l.sqlite")]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or done.stderr


def test_reading_leaves_nothing_behind(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.write([problem(1)])
    with Ledger(tmp_path / "l.sqlite", read_only=True) as ledger:
        assert ledger.count(Problem) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["l.sqlite"]


WRITER = """
    import asyncio, sys
    from rdistill.ledger import Ledger
    from rdistill.records import Problem

    async def one(ledger, n):
        messages = [{"role": "user", "content": "x" * 200}]
        await ledger.put(Problem(id=f"{n:032x}", messages=messages, cluster="c", split="train"))
        print(n, flush=True)

    async def work():
        with Ledger(sys.argv[1]) as ledger:
            for start in range(int(sys.argv[2]), 100_000, 8):
                await asyncio.gather(*(one(ledger, n) for n in range(start, start + 8)))

    asyncio.run(work())
"""


def test_what_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    dice, acknowledged, start = random.Random(0), set(), 0
    for _ in range(6):
        command = [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path / "l.sqlite"), str(start)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(dice.randint(1, 60))]
            os.kill(process.pid, signal.SIGKILL)
            lines += [line for line in process.stdout if line.endswith("\n")]
        acknowledged |= {int(line) for line in lines}
        start = max(acknowledged) + 1
        with Ledger(tmp_path / "l.sqlite") as ledger:
            found = {int(p.id, 16) for p in ledger.rows(Problem)}
        assert acknowledged <= found
        with sqlite3.connect(tmp_path / "l.sqlite") as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_killed_generate_ends_as_if_it_had_not_been(checkout: Path) -> None:
    """The whole claim through the real command line; benchmarks/kill_generate.py --kills 20 is the long form."""
    command = [sys.executable, str(checkout / "benchmarks" / "kill_generate.py"), "--kills", "3", "--problems", "40"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == 3
    assert (found["lost"], found["duplicated"], found["identical"]) == (0, 0, True), found
    assert found["repeated_requests"] <= found["allowed_repeats"]
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("UPDATE samples SET json = substr(json, 1, 20)", r"Invalid JSON: EOF.*"),
        (
            "UPDATE samples SET json = json_set(json, '$.finish_reason', 7)",
            r"finish_reason Input should be.*",
        ),
    ],
)
def test_a_damaged_row_is_named(tmp_path: Path, damage: str, what: str) -> None:
    one = sample(1)
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        ledger.write([one])
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(damage)
    with Ledger(path) as ledger:
        for read in (lambda: [*ledger.rows(Sample)], lambda: ledger.get(Sample, one.id), lambda: ledger.find(one.id)):
            with pytest.raises(DataError, match=rf"row {one.id} of table samples is damaged \({what}\); put back"):
                read()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        ledger.write([sample(n, text="x" * 3000) for n in range(40)])
    data = bytearray(path.read_bytes())
    data[40_000:120_000] = b"?" * 80_000
    path.write_bytes(data)
    with (
        Ledger(path, read_only=True) as ledger,
        pytest.raises(DataError, match=r"sqlite cannot be read .*; put back"),
    ):
        [*ledger.rows(Sample)]
