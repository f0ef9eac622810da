"""What the stages do between the teacher and the trainers: verdicts made up, nothing stale left, clear refusals."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted import Reply, ScriptedEngine

from rdistill import progress, select, steps
from rdistill.config import Config
from rdistill.errors import DataError
from rdistill.infer import own_answers
from rdistill.ledger import Ledger
from rdistill.records import Message, Pair, Problem, Sample, Status, Verdict
from rdistill.run import RunFolder
from rdistill.select.sealed import read_sealed
from rdistill.teacher import engines as engine_starts
from rdistill.teacher.engine import Request


def make_config(**fields: Any) -> Config:
    tree: dict[str, Any] = {
        "name": "t",
        "prompts": {"sources": [{"task": "word_problems", "size": 9}]},
        "teacher": {"model": "m"},
        "verify": {"verifiers": [{"name": "math"}, {"name": "format", "required": False}], "timeout_s": 60},
        "student": {"model": "m"},
    }
    return Config.model_validate(tree | fields)


def sample(number: int, answer: str, **fields: Any) -> Sample:
    return Sample.create(
        messages=[{"role": "assistant", "content": f"It is so.\n#### {answer}"}],
        rationale="It is so.",
        answer=answer,
        usage={"completion_tokens": 3},
        sampling={"index": number},
        engine="e",
        **{"problem_id": "p", "finish_reason": "stop", **fields},
    )


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def ledger(run: RunFolder) -> Iterator[Ledger]:
    with Ledger(run.ledger) as ledger:
        question = [{"role": "user", "content": "What is 1 + 1?"}]
        ledger.write([Problem(id="p", messages=question, gold="2", cluster="c", split="train")])
        yield ledger


def test_problems_that_are_not_to_be_asked_are_not_waited_for(
    run: RunFolder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start_teacher(*_: Any) -> ScriptedEngine:
        return ScriptedEngine(lambda *_: Reply("It is so.\n#### 2"))

    bars: list[tuple[Any, ...]] = []
    monkeypatch.setattr(engine_starts, "start_teacher", start_teacher)
    monkeypatch.setattr(steps, "bar", lambda *asked: bars.append(asked) or progress.bar(*asked))
    twin = [{"role": "user", "content": "What is 3 - 1?"}]
    ledger.write(
        [Problem(id=f"d{i}", messages=twin, gold="2", cluster="c", split="train", pool="domain") for i in range(3)]
    )
    config = make_config(teacher={"model": "m", "max_samples": 1, "max_samples_by_pool": {"domain": 0}})
    assert steps.generate(run, config, ledger)["problems"] == 4
    assert {s.problem_id for s in ledger.rows(Sample)} == {"p"}
    assert ("generate", 1, "problems") in bars


def test_verify_judges_what_lacks_a_verdict_and_nothing_else(run: RunFolder, ledger: Ledger) -> None:
    right, wrong, cut = sample(0, "2"), sample(1, "3"), sample(2, "2", finish_reason="length")
    critique = sample(3, "2", role="critique")
    old = Verdict(sample_id=right.id, verifier="math", version="0", status="fail", reason="WRONG_ANSWER", detail="old")
    kept = Verdict(
        sample_id=wrong.id, verifier="math", version="1", status="fail", reason="WRONG_ANSWER", detail="kept"
    )
    shape = Verdict(sample_id=wrong.id, verifier="format", version="1", status="pass", reason="OK")
    ledger.write([right, wrong, cut, critique, old, kept, shape])
    found = steps.verify(run, make_config(), ledger)
    assert found["statuses"] == {"pass": 1, "fail": 1, "unverifiable": 1}
    assert found["reasons"] == {"math: WRONG_ANSWER": 2, "math: TRUNCATED": 1, "format: TRUNCATED": 1}
    by_sample = {v.sample_id: v for v in ledger.rows(Verdict, sample_id=wrong.id, verifier="math")}
    assert by_sample[wrong.id].detail == "kept"
    assert not [*ledger.rows(Verdict, sample_id=critique.id)]
    rows = [*ledger.rows(Verdict)]
    steps.verify(run, make_config(), ledger)
    assert [*ledger.rows(Verdict)] == rows


def test_a_status_needs_every_verifiers_word(run: RunFolder, ledger: Ledger) -> None:
    one = sample(0, "2")
    ledger.write([one, Verdict(sample_id=one.id, verifier="math", version="1", status="pass", reason="OK")])
    assert steps.sample_statuses(make_config(), ledger) == {}
    ledger.write([Verdict(sample_id=one.id, verifier="format", version="1", status="fail", reason="FORMAT")])
    assert steps.sample_statuses(make_config(), ledger) == {one.id: Status.PASS}, "an advisory verifier only records"


def test_each_domain_has_its_own_verifiers_and_they_combine(run: RunFolder, ledger: Ledger) -> None:
    other = [{"role": "user", "content": "Say so."}]
    ledger.write([Problem(id="q", messages=other, gold="?", cluster="q", split="train", domain="words")])
    sums = {"name": "math", "domains": ["general"]}
    right, wrong, shape = sample(0, "2"), sample(1, "3"), sample(2, "anything", problem_id="q")
    ledger.write([right, wrong, shape])
    config = make_config(verify={"verifiers": [sums, {"name": "format"}], "timeout_s": 60})
    assert steps.verify(run, config, ledger)["statuses"] == {"pass": 2, "fail": 1}
    assert [v.verifier for v in ledger.rows(Verdict, sample_id=shape.id)] == ["format"]
    either = make_config(verify={"verifiers": [sums, {"name": "format"}], "combine": "any", "timeout_s": 60})
    assert steps.verify(run, either, ledger)["statuses"] == {"pass": 3}
    here = {"combine_in": {"general": "any"}, "verifiers": [sums, {"name": "format"}], "timeout_s": 60}
    assert steps.verify(run, make_config(verify=here), ledger)["statuses"] == {"pass": 3}


def test_samples_without_a_gold_are_judged_together(run: RunFolder, ledger: Ledger) -> None:
    agreement = {"name": "agreement"}
    config = make_config(verify={"verifiers": [agreement], "timeout_s": 60})
    group = [sample(n, "3" if n == 1 else "2") for n in range(5)]
    ledger.write(group[:4])
    assert steps.verify(run, config, ledger)["statuses"] == {"unverifiable": 4}
    ledger.write(group[4:])
    assert steps.verify(run, config, ledger)["statuses"] == {"pass": 4, "fail": 1}, "the new one decides for all"
    rows = [*ledger.rows(Verdict)]
    assert steps.verify(run, config, ledger)["statuses"] == {"pass": 4, "fail": 1} and [*ledger.rows(Verdict)] == rows


def test_select_with_nothing_to_learn_says_what_to_try(run: RunFolder, ledger: Ledger) -> None:
    ledger.write([sample(0, "3")])
    steps.verify(run, make_config(), ledger)
    with pytest.raises(DataError, match=r"no sample passed .* raise teacher.max_samples"):
        steps.select(run, make_config(), ledger)
    assert not run.sft_data.exists()


def test_select_and_pair_seal_what_they_chose(run: RunFolder, ledger: Ledger) -> None:
    ledger.write([sample(0, "2"), sample(1, "3")])
    config = make_config()
    steps.verify(run, config, ledger)
    assert steps.select(run, config, ledger)["rows"] == 2
    assert steps.pair(run, config, ledger)["rows"] == ledger.count(Pair) == 2
    before = run.sft_data.read_bytes(), run.pairs_data.read_bytes()
    steps.select(run, config, ledger)
    steps.pair(run, config, ledger)
    assert (run.sft_data.read_bytes(), run.pairs_data.read_bytes()) == before


def test_a_pair_that_breaks_its_contract_ends_the_stage_before_anything_learns_from_it(
    run: RunFolder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.write([sample(0, "2"), sample(1, "3")])
    steps.verify(run, make_config(), ledger)
    whole = select.build_pairs

    def swapped(*args: Any) -> tuple:
        pairs, rows, counts = whole(*args)
        return pairs, [{**row, "margin": -row["margin"]} for row in rows], counts

    monkeypatch.setattr(select, "build_pairs", swapped)
    with pytest.raises(DataError, match=r"2 of 2 pairs break their contract, first \w+ \(margin -.* is not above 0\)"):
        steps.pair(run, make_config(), ledger)
    assert not run.pairs_data.exists() and ledger.count(Pair) == 0


def test_pairs_of_the_students_own_mistakes(run: RunFolder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def reply(messages: list[Message], request: Request) -> Reply:
        is_explained = messages[0]["content"] == config.student.prompts["explain"]
        return Reply(f"It is so, by {request.index}.\n#### 3" if is_explained else "23"[request.index])

    engines: list[ScriptedEngine] = []

    async def start_student(model: str, revision: str | None, config: Config) -> ScriptedEngine:
        assert model == str(run.model("sft"))
        engines.append(ScriptedEngine(reply, identity=f"student {len(engines)}"))
        return engines[-1]

    monkeypatch.setattr(engine_starts, "start_student", start_student)
    unsolved = [{"role": "user", "content": "What is 2 + 2?"}]
    ledger.write([Problem(id="q", messages=unsolved, gold="4", cluster="q", split="train"), sample(0, "2")])
    # What is wrong with an answer's form comes after what is wrong with the answer.
    verifiers = {"verifiers": [{"name": "format"}, {"name": "math"}], "timeout_s": 60}
    pair = {"sources": ["student"], "student_samples": 2}
    config = make_config(verify=verifiers, pair=pair)
    steps.verify(run, config, ledger)
    found = steps.pair(run, config, ledger)
    assert found["sources"] == {"student": 3} and found["modes"] == {"explain": 2, "direct": 1}
    assert (found["student_samples"], found["reasons"]) == (4, {"WRONG_ANSWER": 3})
    assert all(messages[-1]["content"] == "What is 1 + 1?" for messages, _ in engines[0].calls), "q was not solved"
    assert {(r.temperature, r.index) for _, r in engines[0].calls} == {(0.8, 0), (0.8, 1)}
    assert engines[0].is_closed

    steps.pair(run, config, ledger)
    drawn = [s.engine for s in ledger.rows(Sample) if s.role == "student"]
    assert drawn == ["student 1"] * 4, "the answers of an earlier student are gone"
    assert {v.sample_id for v in ledger.rows(Verdict)} == {s.id for s in ledger.rows(Sample)}

    def refuse(*_: Any) -> None:
        raise AssertionError("judged again")

    with monkeypatch.context() as patch:
        patch.setattr(own_answers, "judge", refuse)
        engines.pop()
        again = make_config(verify=verifiers, pair=pair | {"student_samples": 1})
        assert steps.pair(run, again, ledger)["student_samples"] == 2, "the same student's answers are kept"
    assert [s.sampling["index"] for s in ledger.rows(Sample) if s.role == "student"] == [0, 0]
    unasked = make_config(verify=verifiers, pair=pair, dpo={"enabled": False})
    assert "student_samples" not in steps.pair(run, unasked, ledger), "nothing learns from its mistakes"
    assert steps.verify(run, config, ledger)["statuses"] == {"pass": 1}, "the teacher's alone"


def test_the_student_is_asked_what_it_was_not_trained_on(
    run: RunFolder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def reply(messages: list[Message], request: Request) -> Reply:
        asked.append(messages[-1]["content"])
        return Reply("It is so.\n#### 1" if messages[0]["content"] == config.student.prompts["explain"] else "1")

    async def start_student(*_: Any) -> ScriptedEngine:
        return ScriptedEngine(reply)

    monkeypatch.setattr(engine_starts, "start_student", start_student)
    told = [{"role": "user", "content": "Ida has 84 figs and eats 52. How many are left?"}]
    ledger.write([Problem(id="figs", messages=told, gold="32", hint="84 - 52", cluster="f", split="train")])
    ledger.write([sample(0, "2"), sample(1, "32", problem_id="figs")])
    pair = {"sources": ["student"], "student_samples": 1, "student_variations": 3}
    equations = {"sources": [{"path": "rows.jsonl", "gold_format": "equation"}]}
    config = make_config(prompts=equations, pair=pair, select={"gold": True})
    steps.verify(run, config, ledger)
    steps.select(run, config, ledger)
    sealed = run.sft_data.read_bytes()
    found = steps.pair(run, config, ledger)
    assert len({*asked}) == 3 and told[0]["content"] not in asked and "What is 1 + 1?" not in asked
    assert (found["student_samples"], found["sources"], found["modes"]) == (6, {"student": 3}, {"direct": 3})
    kept = [*ledger.rows(Problem, split="pair")]
    pairs = read_sealed(run, run.pairs_data)
    assert {r["chosen_id"] for r in pairs} == {s.id for p in kept for s in golds_of(ledger, p)}

    steps.verify(run, config, ledger)
    steps.select(run, config, ledger)
    assert run.sft_data.read_bytes() == sealed, "what is kept for pairs is not learned from before"
    steps.pair(run, make_config(pair={"sources": ["best_of_n"]}, select={"gold": True}), ledger)
    assert {p.id for p in ledger.rows(Problem)} == {"p", "figs"}
    assert {s.problem_id for s in ledger.rows(Sample)} == {"p", "figs"}, "nothing is left of them"
    ledger.replace(Problem, [p for p in ledger.rows(Problem) if p.id == "p"])
    with pytest.raises(DataError, match=r"pair.student_variations=3, but no train problem has an equation"):
        steps.pair(run, config, ledger)


@pytest.mark.parametrize("is_form_required", [False, True])
def test_an_answer_that_was_asked_for_alone_needs_no_form(
    run: RunFolder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, is_form_required: bool
) -> None:
    def reply(messages: list[Message], request: Request) -> Reply:
        return Reply("2" if request.index == 0 else "3")

    async def start_student(model: str, revision: str | None, config: Config) -> ScriptedEngine:
        return ScriptedEngine(reply, identity="student")

    monkeypatch.setattr(engine_starts, "start_student", start_student)
    ledger.write([sample(0, "2")])
    form = {"name": "format", "required": is_form_required}
    config = make_config(
        pair={"sources": ["student"], "student_samples": 2},
        select={"modes": ["direct"]},
        verify={"verifiers": [{"name": "math"}, form], "timeout_s": 60},
    )
    steps.verify(run, config, ledger)
    steps.select(run, config, ledger)
    steps.pair(run, config, ledger)
    statuses = steps.sample_statuses(config, ledger)
    own = {s.answer: statuses[s.id] for s in ledger.rows(Sample) if s.role == "student"}
    assert own == {"2": Status.PASS, "3": Status.FAIL}


def test_samples_of_problems_that_are_gone_are_forgotten(run: RunFolder, ledger: Ledger) -> None:
    domains = {"verifiers": [{"name": "math", "domains": ["general"]}], "timeout_s": 60}
    ledger.write([sample(0, "2"), sample(1, "2", problem_id="gone", role="gold")])
    assert steps.verify(run, make_config(verify=domains), ledger)["statuses"] == {"pass": 1}
    assert {s.problem_id for s in ledger.rows(Sample)} == {"p"}


def golds_of(ledger: Ledger, problem: Problem) -> list[Sample]:
    return [s for s in ledger.rows(Sample, problem_id=problem.id) if s.role == "gold"]


@pytest.mark.parametrize(("enabled", "reason"), [(False, "dpo.enabled is false"), (True, "no pairs")])
def test_dpo_left_out_leaves_no_older_model_behind(run: RunFolder, ledger: Ledger, enabled: bool, reason: str) -> None:
    run.model("dpo").mkdir(parents=True)
    (run.model("dpo") / "rdistill.json").write_text("{}")
    run.write_result("dpo", {"steps": 60})
    if not enabled:
        pair = {"id": "x", "problem_id": "p", "chosen_id": "a", "rejected_id": "b", "source": "best_of_n"}
        ledger.write([Pair(**pair, mode="explain", reason="WRONG_ANSWER", margin=1)])
    assert steps.dpo(run, make_config(dpo={"enabled": enabled}), ledger) == {"skipped": reason}
    assert not run.model("dpo").exists() and run.read_result("dpo") == {}


def test_problems_come_with_their_counts(run: RunFolder, ledger: Ledger) -> None:
    counts = steps.prompts(run, make_config(prompts={"sources": [{"task": "word_problems", "size": 40}]}), ledger)
    assert sum(counts["splits"].values()) == ledger.count(Problem) > 30
    assert "p" not in {p.id for p in ledger.rows(Problem)}, "the problems of an earlier attempt are gone"
