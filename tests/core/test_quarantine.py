"""Problems whose gold their own verifier refuses: found, told, written, and used nowhere."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedEngine

from rdistill import steps
from rdistill.config import Config
from rdistill.errors import DataError
from rdistill.evaluate import models
from rdistill.ledger import Ledger
from rdistill.quarantine import quarantined, validate_gold, write_quarantine
from rdistill.records import Problem, Sample, Status
from rdistill.run import RunFolder
from rdistill.teacher import engines

ASSERTS = {"kind": "asserts", "entry_point": "f", "tests": "assert f(1) == 2"}
CALLS = {"tools": [], "calls": [{"name": "add", "arguments": {"a": 1}}]}


def make_config(*verifiers: Any, **verify: Any) -> Config:
    specs = [{"name": v} if isinstance(v, str) else v for v in verifiers or ("math",)]
    return Config.model_validate(
        {
            "name": "t",
            "prompts": {"sources": [{"task": "word_problems", "size": 9}]},
            "teacher": {"engine": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m", "max_samples": 2},
            "verify": {"verifiers": specs, "workers": 1, "timeout_s": 60, **verify},
            "student": {"model": "m"},
            "evaluate": {"models": ["teacher"]},
        }
    )


def problem(number: int, gold: Any, split: str = "train", **fields: Any) -> Problem:
    question = [{"role": "user", "content": f"What is {number} + 1?"}]
    return Problem(id=f"p{number}", messages=question, gold=gold, cluster=f"c{number}", split=split, **fields)


def good(count: int, split: str = "train", start: int = 0) -> list[Problem]:
    return [problem(n, str(n + 1), split) for n in range(start, start + count)]


def refused(config: Config, *golds: Any) -> list[tuple[str, str]]:
    """(problem, reason) of those in quarantine, among enough that are not."""
    fine = {"math": "7", "code": ASSERTS, "tool_call": CALLS}.get(config.verify.verifiers[0].name, "7")
    rest = [problem(100 + n, fine, "test" if n % 2 else "train") for n in range(20 * len(golds))]
    refusals, counts = validate_gold(config, [*(problem(n, gold) for n, gold in enumerate(golds)), *rest])
    assert counts["quarantined"] == len(refusals) and counts["checked"] == 21 * len(golds)
    return [(r.problem.id, r.verdict.reason.value) for r in refusals]


@pytest.mark.parametrize(
    ("name", "golds", "expected"),
    [
        ("math", ["7", "\\frac{1}{2}", "So.\n#### 7"], [("p2", "BAD_GOLD")]),
        ("math", [None, "nan", 7], [("p0", "BAD_GOLD"), ("p1", "BAD_GOLD")]),
        ("code", [ASSERTS, "print(1)", {**ASSERTS, "tests": "assert ("}], [("p1", "BAD_GOLD"), ("p2", "BAD_GOLD")]),
        ("tool_call", [CALLS, {"calls": "add"}, "7", CALLS["calls"], None], [(f"p{n}", "BAD_GOLD") for n in (1, 2, 4)]),
        ("format", ["7", None], []),
    ],
)
def test_each_verifier_says_which_golds_it_cannot_use(name: str, golds: list, expected: list) -> None:
    assert refused(make_config(name), *golds) == expected


def test_the_gold_of_a_tool_trace_needs_no_calls() -> None:
    config = make_config("tool_call")
    assert refused(with_mode(config, "rationale"), "7") == [("p0", "BAD_GOLD")]
    assert refused(with_mode(config, "tool_trace"), "7", {"calls": "add"}) == [("p1", "BAD_GOLD")]


def with_mode(config: Config, mode: str) -> Config:
    return config.model_copy(update={"teacher": config.teacher.model_copy(update={"mode": mode})})


def test_an_advisory_verifier_puts_nothing_in_quarantine() -> None:
    config = with_mode(make_config("tool_call", {"name": "math", "required": False}), "tool_trace")
    assert refused(config, "no number", None) == []


def test_a_plugin_may_judge_gold_and_an_accident_is_asked_once_more(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from pathlib import Path\n"
        "from rdistill.verifiers import Reason, passed, unverifiable\n"
        "class Mine:\n"
        "    name, version = 'mine', '1'\n"
        "    def check(self, problem, sample):\n"
        "        return passed(self, sample)\n"
        "    def check_gold(self, problem, stated):\n"
        "        if problem.gold == 'once':\n"
        "            mark = Path(__file__).with_suffix('.seen')\n"
        "            if not mark.exists():\n"
        "                mark.touch()\n"
        "                raise OSError('busy')\n"
        "        if problem.gold == 'always':\n"
        "            raise OSError('broken')\n"
        "        if problem.gold == 'bad' and stated.answer == 'bad':\n"
        "            return unverifiable(self, stated, Reason.BAD_GOLD, 'bad')\n"
        "        return passed(self, stated)\n"
    )
    config = make_config(f"{plugin}:Mine")
    assert refused(config, "once", "always", "bad") == [("p1", "VERIFIER_ERROR"), ("p2", "BAD_GOLD")]


def test_too_many_are_a_wrong_field() -> None:
    rows = [*good(20), *good(10, "test", 20)]
    bad = [problem(n, "x\n#### 1") for n in range(50, 54)]
    with pytest.raises(DataError, match=r"'math' does not accept 4 of 34 gold .* above verify.max_bad_gold=0.1; corr"):
        validate_gold(make_config(), [*rows, *bad])
    refusals, _ = validate_gold(make_config(max_bad_gold=0.2), [*rows, *bad])
    assert len(refusals) == 4
    with pytest.raises(DataError, match=r"4 of 34 problems have no gold answer, but verify.verifiers names 'math'"):
        validate_gold(make_config(), [*rows, *(problem(n, None) for n in range(50, 54))])
    with pytest.raises(DataError, match=r"^no test problem has a gold answer that verify.verifiers accept"):
        validate_gold(make_config(), [*good(20), problem(90, "x\n#### 1", "test")])


def test_a_damaged_quarantine_is_named(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.jsonl"
    assert quarantined(path) == set()
    path.write_text('{"problem_id": "a"}\n{"problem')
    with pytest.raises(DataError, match=r"quarantine\.jsonl"):
        quarantined(path)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run of 30 train and 12 test problems, one of each with a gold that is none; its engine is scripted."""

    async def start(config: Config) -> ScriptedEngine:
        return ScriptedEngine()

    monkeypatch.setattr(engines, "start_teacher", start)
    monkeypatch.setattr(models, "start_teacher", start)
    run = RunFolder(tmp_path / "run")
    golds = ["x\n#### 1", *(str(n + 1) for n in range(1, 42))]
    golds[30] = "nan"
    with Ledger(run.ledger) as ledger:
        ledger.write([problem(n, gold, "train" if n < 30 else "test") for n, gold in enumerate(golds)])
    return run


def test_what_is_quarantined_is_neither_sampled_nor_trained_nor_evaluated(run: RunFolder) -> None:
    config = make_config()
    with Ledger(run.ledger) as ledger:
        counts = steps.generate(run, config, ledger)
        assert counts["gold"]["quarantined"] == 2 and counts["problems"] == 29
        assert counts["gold"]["splits"] == {"train": 1, "test": 1}
        rows = [json.loads(line) for line in (run.root / "data" / "quarantine.jsonl").read_text().splitlines()]
        assert [(r["problem_id"], r["reason"]) for r in rows] == [("p0", "BAD_GOLD"), ("p30", "BAD_GOLD")]
        assert rows[0]["question"] == "What is 0 + 1?" and rows[0]["verifier"] == "math" and rows[0]["detail"]
        assert "p0" not in {s.problem_id for s in ledger.rows(Sample)}
        asyncio.run(models.evaluate_models(run, config, ledger))
    card = json.loads(run.scorecard.read_text())
    assert card["quarantined"] == 2 and card["models"]["teacher"]["explain"]["n"] == 11
    assert '"p30"' not in (run.scorecard.parent / "answers.jsonl").read_text()


def test_samples_of_an_earlier_attempt_do_not_bring_it_back(run: RunFolder) -> None:
    config = make_config(max_bad_gold=0.5)
    with Ledger(run.ledger) as ledger:
        steps.generate(run, config, ledger)
        kept = steps.trainable_statuses(run, config, ledger)
        ledger.write([problem(7, "x\n#### 8")])
        refusals, _ = validate_gold(config, list(ledger.rows(Problem)))
        write_quarantine(run.quarantine, refusals)
        after = steps.trainable_statuses(run, config, ledger)
        dropped = {s.problem_id for s in ledger.rows(Sample) if s.id in kept.keys() - after.keys()}
    assert dropped == {"p7"} and set(kept.values()) >= {Status.PASS, Status.FAIL}
