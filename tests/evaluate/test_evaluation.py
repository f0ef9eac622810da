"""Evaluation with a scripted engine: who is asked what, what is counted, and the scorecard's shape."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from scripted import Reply, ScriptedEngine

from rdistill.config import Config
from rdistill.errors import DataError, TeacherError
from rdistill.evaluate.models import answer_verifiers, evaluate_models, group_by_weights
from rdistill.evaluate.scorecard import paired_tests, score
from rdistill.ledger import Ledger
from rdistill.records import Message, Problem
from rdistill.run import RunFolder
from rdistill.teacher import engines
from rdistill.teacher.engine import Request
from rdistill.verifiers.composition import applicable, without_form


def make_config(**fields: Any) -> Config:
    tree: dict[str, Any] = {
        "name": "t",
        "prompts": {"sources": [{"task": "word_problems", "size": 9}]},
        "teacher": {"model": "big", "vllm": {"tensor_parallel_size": 4}},
        "verify": {"verifiers": [{"name": "math"}, {"name": "format"}], "workers": 1, "timeout_s": 60},
        "student": {"model": "small", "revision": "abc"},
    }
    return Config.model_validate(tree | fields)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with ten test problems and two trained students."""
    run = RunFolder(tmp_path / "run")
    problems = [
        Problem(
            id=f"p{n}",
            messages=[{"role": "user", "content": f"What is {n} + 1?"}],
            gold=str(n + 1),
            cluster=f"c{n}",
            split="test" if n < 10 else "train",
        )
        for n in range(12)
    ]
    with Ledger(run.ledger) as ledger:
        ledger.write(problems)
    for stage in ("sft", "dpo"):
        run.write_result(stage, {"steps": 5})
        run.model(stage).mkdir(parents=True)
        (run.model(stage) / "model.safetensors").write_text(stage)
    return run


class Served:
    """Scripted engines instead of vLLM: the number of right answers of each model, and what was started."""

    right = {"small": 1, "sft": 5, "dpo": 6, "big": 8}

    def __init__(self) -> None:
        self.started: list[tuple[str, str | None, int]] = []
        self.engines: list[ScriptedEngine] = []

    async def start(self, model: str, revision: str | None, options: Any, **_: Any) -> ScriptedEngine:
        name = Path(model).name
        self.started.append((name, revision, options.tensor_parallel_size))

        def script(messages: list[Message], request: Request) -> Reply:
            question = next(m["content"] for m in messages if m["content"].startswith("What is"))
            number = int(question.split()[2])
            value = number + 1 if number < self.right[name] else number + 5
            is_direct = "only" in messages[0]["content"]
            return Reply(str(value)) if is_direct else Reply(f"{number} + 1 is what is asked.\n#### {value}")

        self.engines.append(ScriptedEngine(script, identity=f"scripted:{name}", delay_s=0.001))
        return self.engines[-1]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    served = Served()
    monkeypatch.setattr(engines, "start_vllm", served.start)
    monkeypatch.setattr("rdistill.teacher.vllm.vllm_identity", lambda model, *_: f"scripted:{Path(model).name}")
    return served


def evaluate(run: RunFolder, config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """The stage's result and the scorecard."""
    with Ledger(run.ledger) as ledger:
        result = asyncio.run(evaluate_models(run, config, ledger))
    return result, json.loads(run.scorecard.read_text())


def test_the_scorecard_is_as_the_contract_says(run: RunFolder, served: Served) -> None:
    result, card = evaluate(run, make_config())
    assert {m: set(modes) for m, modes in card["models"].items()} == {
        "base": {"explain", "direct"},
        "sft": {"explain", "direct"},
        "dpo": {"explain", "direct"},
        "teacher": {"explain"},
    }
    for model, share in {"base": 0.1, "sft": 0.5, "dpo": 0.6, "teacher": 0.8}.items():
        for mode, found in card["models"][model].items():
            assert found["accuracy"] == result[f"{model} {mode}"] == share
            low, high = found["accuracy_ci"]
            assert found["n"] == 10 and 0 <= low < share < high <= 1
            assert set(found["latency_s"]) == {"p50", "p95", "p99"} and found["tokens_per_s"] > 0
            assert 0 <= found["ece"] <= 1 and found["truncated"] == found["unverifiable"] == 0
    assert card["models"]["sft"]["direct"]["output_tokens_mean"] == 1
    assert card["models"]["sft"]["explain"]["output_tokens_mean"] == 9
    assert (card["pairs_invalid"], card["leakage"]) == (0, 0)
    (test,) = [t for t in card["paired"] if (t["first"], t["second"], t["mode"]) == ("base", "dpo", "direct")]
    assert (test["won"], test["lost"], test["difference"]) == (5, 0, 0.5)
    assert all(engine.is_closed for engine in served.engines)


def test_every_answer_has_its_row(run: RunFolder, served: Served) -> None:
    evaluate(run, make_config())
    rows = [json.loads(line) for line in (run.scorecard.parent / "answers.jsonl").read_text().splitlines()]
    assert len(rows) == 7 * 10
    row = next(r for r in rows if (r["model"], r["mode"], r["problem_id"]) == ("base", "explain", "p3"))
    assert row["question"] == "What is 3 + 1?" and row["answer"] == "8" and row["gold"] == "4"
    assert (row["status"], row["reason"], row["finish_reason"]) == ("fail", "WRONG_ANSWER", "stop")
    assert row["sandbox"] is None


def test_what_a_sandboxed_verifier_judged_says_at_which_level(run: RunFolder, served: Served) -> None:
    verify = {"verifiers": [{"name": "math"}, {"name": "code"}]}
    result, _ = evaluate(run, make_config(verify=verify, evaluate={"models": ["base"]}))
    rows = [json.loads(line) for line in (run.scorecard.parent / "answers.jsonl").read_text().splitlines()]
    assert {row["sandbox"] for row in rows} == {"strong"} and result["sandbox"] == {"strong": len(rows)}


def test_all_is_greedy_and_each_mode_has_its_own_prompt_and_limit(run: RunFolder, served: Served) -> None:
    evaluate(run, make_config(evaluate={"models": ["sft"], "max_tokens": {"explain": 50, "direct": 7}}))
    (engine,) = served.engines
    assert {request.temperature for _, request in engine.calls} == {0}
    asked = {(m[0]["content"], r.max_tokens) for m, r in engine.calls}
    assert asked == {
        ("Reason step by step, then give the final answer after '####'.", 50),
        ("Give the final answer only.", 7),
    }


def test_students_keep_their_revision_and_one_device(run: RunFolder, served: Served) -> None:
    evaluate(run, make_config())
    assert served.started == [("small", "abc", 1), ("sft", None, 1), ("dpo", None, 1), ("big", None, 4)]


def test_models_of_equal_weights_share_an_engine(run: RunFolder, served: Served) -> None:
    same = {"teacher": {"model": "small", "revision": "abc"}}
    assert group_by_weights(run, make_config(**same)) == [["base", "teacher"], ["sft"], ["dpo"]]
    evaluate(run, make_config(**same))
    assert [name for name, _, _ in served.started] == ["small", "sft", "dpo"]
    other = {"teacher": {"model": "small"}}
    assert group_by_weights(run, make_config(**other))[0] == ["base"], "another revision is another model"


def test_a_student_that_was_not_trained_is_left_out(run: RunFolder, served: Served) -> None:
    run.write_result("dpo", {"skipped": "no pairs"})
    _, card = evaluate(run, make_config())
    assert set(card["models"]) == {"base", "sft", "teacher"}


def test_a_second_evaluation_asks_nothing_and_keeps_its_speeds(run: RunFolder, served: Served) -> None:
    _, first = evaluate(run, make_config())
    calls, started = sum(len(e.calls) for e in served.engines), len(served.started)
    _, second = evaluate(run, make_config())
    assert sum(len(e.calls) for e in served.engines) == calls
    assert len(served.started) == started, "no engine starts for completions that are at hand"
    assert second == first
    _, fewer = evaluate(run, make_config(evaluate={"limit": 4}))
    assert fewer["models"]["sft"]["direct"]["n"] == 4


def test_a_teachers_chain_costs_all_its_tokens(run: RunFolder, served: Served) -> None:
    _, card = evaluate(
        run, make_config(teacher={"model": "big", "mode": "critique_revise"}, evaluate={"models": ["teacher"]})
    )
    once = 9
    assert card["models"]["teacher"]["explain"]["output_tokens_mean"] == 3 * once


@pytest.mark.parametrize(
    ("text", "mode", "accuracy"),
    [
        ("It is 1 and\n#### 1\nThat is what", "explain", 0.1),
        ("It is 1 and\n#### 1", "explain", 0),  # of 125, as it may be
        ("It is 1 and\n#### 1.", "explain", 0),
        ("What is asked is 1", "explain", 0),
        ("It is \\\\boxed{1} as 7 was no", "explain", 0.1),
        ("1", "direct", 0),
    ],
)
def test_an_answer_at_its_limit_is_judged_by_what_it_says_unless_it_was_cut_itself(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, text: str, mode: str, accuracy: float
) -> None:
    async def start(*_: Any, **__: Any) -> ScriptedEngine:
        return ScriptedEngine(lambda messages, request: Reply(text, "length"))

    monkeypatch.setattr(engines, "start_vllm", start)
    _, card = evaluate(run, make_config(evaluate={"models": ["base"], "modes": [mode]}))
    found = card["models"]["base"][mode]
    assert (found["accuracy"], found["truncated"]) == (accuracy, 10)


def test_requests_without_a_reply_are_counted_apart_and_asked_for_again(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are left out of n and of paired tests: an endpoint that is down says nothing about its model."""
    lost = {"small": "What is 3 ", "sft": "What is 0 "}

    async def start(model: str, *_: Any, **__: Any) -> ScriptedEngine:
        name = Path(model).name

        def script(messages: list[Message], request: Request) -> Reply:
            is_lost = name in lost and lost[name] in messages[-1]["content"]
            return Reply("", "failed", "HTTP 503") if is_lost else Reply("1")

        return ScriptedEngine(script, identity=f"scripted:{name}")

    monkeypatch.setattr(engines, "start_vllm", start)
    config = make_config(evaluate={"models": ["base", "sft"], "modes": ["direct"]})
    result, card = evaluate(run, config)
    base, sft = (card["models"][model]["direct"] for model in ("base", "sft"))
    assert (base["n"], base["faults"], base["accuracy"], base["unverifiable"]) == (9, 1, round(1 / 9, 4), 0)
    assert (sft["n"], sft["faults"], sft["accuracy"]) == (9, 1, 0)
    assert result["requests_failed"] == 2 and card["paired"][0]["n"] == 8 and card["paired"][0]["lost"] == 0
    lost.clear()
    result, card = evaluate(run, config)
    assert result["requests_failed"] == 0 and card["models"]["sft"]["direct"]["n"] == 10


def test_a_score_of_no_answer_at_all_knows_nothing() -> None:
    found = score([row(1, "unverifiable", None) | {"finish_reason": "failed"}], None)
    assert (found["n"], found["faults"], found["accuracy_ci"]) == (0, 1, [0.0, 1.0])


def test_an_answer_that_never_came_is_not_right_and_its_problem_is_named(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(*_: Any, **__: Any) -> ScriptedEngine:
        return ScriptedEngine(
            lambda m, r: Reply("", "refused", "HTTP 400: no") if "What is 3 " in m[-1]["content"] else Reply("#### 1")
        )

    monkeypatch.setattr(engines, "start_vllm", start)
    result, card = evaluate(run, make_config(evaluate={"models": ["base"], "modes": ["direct"]}))
    assert result["warnings"] == ["base direct: 1 requests were refused (HTTP 400: no), of problems p3"]
    assert (card["models"]["base"]["direct"]["n"], card["models"]["base"]["direct"]["unverifiable"]) == (10, 1)
    rows = [json.loads(line) for line in (run.scorecard.parent / "answers.jsonl").read_text().split("\n") if line]
    (row,) = [r for r in rows if r["problem_id"] == "p3"]
    assert (row["status"], row["reason"], row["finish_reason"]) == ("unverifiable", "REQUEST_REFUSED", "refused")


def test_a_model_that_refuses_everything_is_not_measured(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(*_: Any, **__: Any) -> ScriptedEngine:
        return ScriptedEngine(lambda m, r: Reply("", "refused", "no system role"))

    monkeypatch.setattr(engines, "start_vllm", start)
    with pytest.raises(TeacherError, match=r"no reply of use to all 10 requests \(no system role\)"):
        evaluate(run, make_config(evaluate={"models": ["base"], "modes": ["direct"]}))


def test_a_failing_engine_is_closed_and_names_its_cause(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine(fail_at=3)

    async def start(*_: Any, **__: Any) -> ScriptedEngine:
        return engine

    monkeypatch.setattr(engines, "start_vllm", start)
    with pytest.raises(ExceptionGroup) as caught:
        evaluate(run, make_config(evaluate={"models": ["base"]}))
    from rdistill.errors import first_cause

    assert isinstance(first_cause(caught.value), TeacherError) and engine.is_closed
    assert not run.scorecard.exists()


def test_an_empty_split_cannot_be_measured(run: RunFolder) -> None:
    with pytest.raises(DataError, match="split 'dev' is empty"):
        evaluate(run, make_config(evaluate={"split": "dev"}))


def test_form_alone_does_not_decide_unless_nothing_else_does() -> None:
    def names(*specs: dict, domain: str = "general") -> list[str]:
        required = answer_verifiers(make_config(verify={"verifiers": list(specs)}))
        return [s.name for s in without_form(applicable(required, domain))]

    assert names({"name": "math"}, {"name": "format"}, {"name": "code", "required": False}) == ["math"]
    assert names({"name": "steps"}, {"name": "math"}) == ["math"], "an answer alone has no steps"
    assert names({"name": "format"}) == ["format"]
    assert names({"name": "agreement"}, {"name": "math"}) == ["math"], "it has no word on one answer alone"
    by_domain = {"name": "math", "domains": ["sums"]}, {"name": "length", "domains": ["prose"]}, {"name": "format"}
    assert names(*by_domain, domain="sums") == ["math"]
    assert names(*by_domain, domain="prose") == ["length", "format"]


def test_where_form_alone_judges_a_domain_it_decides(run: RunFolder, served: Served) -> None:
    lengths = {"name": "length", "domains": ["general"], "options": {"max_words": 50}}
    verify = {"verifiers": [{"name": "math", "domains": ["sums"]}, lengths], "workers": 1, "timeout_s": 60}
    _, card = evaluate(run, make_config(verify=verify, evaluate={"models": ["sft"]}))
    assert card["models"]["sft"]["explain"]["accuracy"] == 1


def test_without_a_verifier_for_one_answer_nothing_is_called_right(run: RunFolder, served: Served) -> None:
    _, card = evaluate(run, make_config(verify={"verifiers": [{"name": "agreement"}]}, evaluate={"models": ["sft"]}))
    found = card["models"]["sft"]["explain"]
    assert (found["n"], found["accuracy"], found["unverifiable"]) == (10, 0, 10)


def row(number: int, status: str, confidence: float | None) -> dict[str, Any]:
    return {
        "model": "base",
        "mode": "direct",
        "problem_id": str(number),
        "status": status,
        "finish_reason": "stop",
        "output_tokens": number,
        "seconds": 1.0,
        "confidence": confidence,
    }


def test_a_score_without_confidence_has_no_calibration() -> None:
    found = score([row(1, "pass", None), row(2, "unverifiable", None)], None)
    assert (found["ece"], found["tokens_per_s"], found["unverifiable"], found["accuracy"]) == (None, None, 1, 0.5)


def test_pairs_of_models_are_compared_item_by_item_whatever_their_order() -> None:
    base = [row(n, "pass" if n < 2 else "fail", None) for n in range(6)]
    sft = [row(n, "pass" if n > 1 else "fail", None) | {"model": "sft"} for n in reversed(range(6))]
    (test,) = paired_tests({("sft", "direct"): sft, ("base", "direct"): base, ("dpo", "explain"): base})
    assert (test["first"], test["second"], test["won"], test["lost"]) == ("base", "sft", 4, 2)
