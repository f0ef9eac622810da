"""The sampler: adaptive stop, completions used again by what was asked, and work that survives the engine."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted import Reply, ScriptedEngine, completion_of, reply_to

from rdistill.config import Config
from rdistill.errors import TeacherError, VerifierError
from rdistill.ledger import Ledger
from rdistill.records import Problem, Sample, Status, Verdict
from rdistill.steps import forget
from rdistill.teacher.engine import Request
from rdistill.teacher.faults import fault_warnings, num_failed
from rdistill.teacher.sampler import CachedEngine, Sampler, Tally, judge
from rdistill.tools import make_tools
from rdistill.verifiers.pool import VerifierPool

RIGHT, WRONG, CUT = Reply("1 + 1 = 2\n#### 2"), Reply("1 + 1 = 3\n#### 3"), Reply("1 + 1 = 2\n#### 2", "length")


def make_config(**teacher: Any) -> Config:
    return Config.model_validate(
        {
            "name": "t",
            "prompts": {"sources": [{"task": "word_problems", "size": 9}]},
            "teacher": {"model": "m", "sampling": {"max_tokens": 100}, **teacher},
            "verify": {"verifiers": [{"name": "math"}], "workers": 1, "timeout_s": 60},
            "student": {"model": "m"},
        }
    )


def problems(count: int = 1, gold: str = "2") -> list[Problem]:
    return [
        Problem(
            id=f"p{n}",
            messages=[{"role": "user", "content": f"What is 1 + 1? ({'so ' * n})"}],
            gold=gold,
            cluster=f"c{n}",
            split="train",
        )
        for n in range(count)
    ]


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        yield ledger


def sample_all(config: Config, engine: ScriptedEngine, ledger: Ledger, asked: list[Problem]) -> tuple[Tally, Any]:
    """Run the sampler; returns its tally and the cached engine."""

    async def work() -> tuple[Tally, Any]:
        specs = config.verify.verifiers
        cached = CachedEngine(engine, ledger, config.teacher.concurrency)
        tools = make_tools(["calculator"], config.sandbox)
        async with VerifierPool(specs, workers=1, timeout_s=60) as pool:
            return await Sampler(config, cached, ledger, pool, tools).run(asked), cached

    return asyncio.run(work())


def by_index(*replies: Reply) -> Callable[..., Reply]:
    """The n-th sample of every problem is the n-th reply."""
    return lambda messages, request: replies[request.index % len(replies)]


@pytest.mark.parametrize(
    ("replies", "options", "calls"),
    [
        ([RIGHT, WRONG], {"samples_per_round": 2}, 2),
        ([RIGHT], {"samples_per_round": 2}, 8),
        ([RIGHT], {"samples_per_round": 2, "want_fail": 0}, 2),
        ([WRONG, WRONG, WRONG, RIGHT], {"samples_per_round": 3}, 6),
        ([WRONG], {"samples_per_round": 3}, 8),
        ([RIGHT, WRONG], {"samples_per_round": 4, "want_pass": 3}, 8),
        ([RIGHT, WRONG], {"samples_per_round": 8, "max_samples": 1}, 1),
        ([CUT, WRONG], {"samples_per_round": 4}, 8),
    ],
)
def test_sampling_stops_when_a_problem_has_what_training_needs(
    ledger: Ledger, replies: list, options: dict, calls: int
) -> None:
    engine = ScriptedEngine(by_index(*replies))
    tally, cached = sample_all(make_config(**options), engine, ledger, problems())
    assert len(engine.calls) == cached.fresh == tally.samples == calls
    assert [request.index for _, request in engine.calls] == [*range(calls)]


def test_a_pool_can_have_a_limit_of_its_own(ledger: Ledger) -> None:
    easy, bare, hard = problems(3)
    engine = ScriptedEngine(by_index(WRONG))
    config = make_config(max_samples=6, max_samples_by_pool={"synthetic": 1, "domain": 0}, hints=2)
    asked = [easy.model_copy(update={"pool": "synthetic"}), bare.model_copy(update={"pool": "domain"}), hard]
    tally, _ = sample_all(config, engine, ledger, asked)
    assert [len(list(ledger.rows(Sample, problem_id=p.id))) for p in asked] == [1 + 2, 0, 6 + 2]
    assert (tally.problems, tally.solved) == (3, 0)


def hinted_only(messages: list, request: Any) -> Reply:
    """Right at the second look at a hint, wrong without one."""
    return RIGHT if messages[-1]["content"].endswith("\n(Hint: 1 + 1)") and request.index % 2 else WRONG


def test_an_unsolved_problem_is_asked_again_with_a_hint(ledger: Ledger) -> None:
    engine = ScriptedEngine(hinted_only)
    (problem,) = problems()
    asked = [problem.model_copy(update={"hint": "1 + 1"})]
    tally, _ = sample_all(make_config(max_samples=2, hints=4), engine, ledger, asked)
    samples = list(ledger.rows(Sample))
    assert [bool(s.sampling.get("hint")) for s in samples] == [False, False, True, True]
    assert (tally.solved, len({s.id for s in samples})) == (1, 4)
    assert all("Hint" not in m["content"] for s in samples for m in s.messages)


def test_no_hint_for_a_solved_or_held_out_problem_or_one_without_gold(ledger: Ledger) -> None:
    problem, solved = problems(2)
    held_out, open_ended = ({"split": "dev", "id": "d"}, {"gold": None, "id": "o"})
    engine = ScriptedEngine(by_index(WRONG))
    asked = [problem.model_copy(update=change) for change in (held_out, open_ended)]
    sample_all(make_config(max_samples=2, hints=4), engine, ledger, asked)
    sample_all(make_config(max_samples=2, hints=4), ScriptedEngine(by_index(RIGHT)), ledger, [solved])
    assert not any(s.sampling.get("hint") for s in ledger.rows(Sample))


def test_the_tally_counts_what_happened(ledger: Ledger) -> None:
    engine = ScriptedEngine(by_index(RIGHT, WRONG, CUT, RIGHT))
    tally, _ = sample_all(make_config(), engine, ledger, problems(3))
    assert (tally.problems, tally.solved, tally.paired, tally.samples) == (3, 3, 3, 12)
    assert tally.statuses == {"pass": 6, "fail": 3, "unverifiable": 3}
    assert tally.tokens == sum(len(s.text.split()) for s in ledger.rows(Sample))


def test_every_sample_has_its_verdict_on_disk(ledger: Ledger) -> None:
    sample_all(make_config(), ScriptedEngine(), ledger, problems(5))
    samples = {s.id for s in ledger.rows(Sample)}
    assert samples == {v.sample_id for v in ledger.rows(Verdict)} and len(samples) >= 20


def test_what_was_cut_short_is_seen_by_no_verifier(ledger: Ledger) -> None:
    """It even has the right answer in it, and is still nobody's."""
    sample_all(make_config(max_samples=1), ScriptedEngine(by_index(CUT)), ledger, problems())
    (verdict,) = ledger.rows(Verdict)
    assert (verdict.status, verdict.reason, verdict.version) == (Status.UNVERIFIABLE, "TRUNCATED", "-")


def test_a_verdict_bears_the_name_that_the_config_uses(ledger: Ledger, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from rdistill.verifiers import passed\n"
        "class Mine:\n"
        "    name, version = 'something else', '7'\n"
        "    def check(self, problem, sample):\n"
        "        return passed(self, sample)\n"
    )
    config = make_config(max_samples=1)
    config = config.model_copy(
        update={"verify": config.verify.model_validate({"verifiers": [{"name": f"{plugin}:Mine"}], "timeout_s": 60})}
    )
    ledger.write(problems())
    sample_all(config, ScriptedEngine(by_index(RIGHT)), ledger, problems())
    from rdistill.steps import sample_statuses

    assert [v.verifier for v in ledger.rows(Verdict)] == [f"{plugin}:Mine"]
    assert [*sample_statuses(config, ledger).values()] == [Status.PASS]


# Verdicts on all samples of a problem together


def group_config(**teacher: Any) -> Config:
    verify = {"verifiers": [{"name": "agreement"}], "workers": 1, "timeout_s": 60}
    return make_config(**teacher).model_copy(update={"verify": make_config().verify.model_validate(verify)})


def verdicts_by_index(ledger: Ledger) -> dict[tuple[str, int], tuple[str, str, str]]:
    samples = {s.id: s for s in ledger.rows(Sample)}
    assert ledger.count(Verdict) == len(samples)
    return {
        (samples[v.sample_id].problem_id, samples[v.sample_id].sampling["index"]): (v.status, v.reason, v.detail)
        for v in ledger.rows(Verdict)
    }


def test_samples_that_agree_end_the_sampling(ledger: Ledger) -> None:
    engine = ScriptedEngine(by_index(RIGHT, RIGHT, WRONG, RIGHT))
    asked = [p.model_copy(update={"gold": None}) for p in problems(3)]
    tally, _ = sample_all(group_config(samples_per_round=6, max_samples=12), engine, ledger, asked)
    assert len(engine.calls) == 3 * 6 and (tally.solved, tally.paired) == (3, 3)
    assert tally.statuses == {"pass": 15, "fail": 3}
    found = verdicts_by_index(ledger)
    assert {index: status for (problem, index), (status, _, _) in found.items() if problem == "p0"} == {
        **dict.fromkeys((0, 1, 3, 4, 5), "pass"),
        2: "fail",
    }
    assert found["p0", 2][1:] == ("WRONG_ANSWER", "'3', but 5 of 6 samples say '2'")


def test_a_later_round_changes_what_an_earlier_one_could_not_decide(ledger: Ledger) -> None:
    engine = ScriptedEngine(by_index(WRONG, RIGHT, RIGHT, RIGHT, RIGHT, CUT))
    tally, _ = sample_all(group_config(samples_per_round=2, max_samples=6, want_fail=0), engine, ledger, problems())
    statuses = [status for status, _, _ in verdicts_by_index(ledger).values()]
    assert sorted(statuses) == ["fail", "pass", "pass", "pass", "pass", "unverifiable"]
    assert tally.statuses == {"pass": 4, "fail": 1, "unverifiable": 1} and tally.solved == 1


def test_a_run_that_was_cut_off_ends_with_the_same_verdicts(ledger: Ledger, tmp_path: Path) -> None:
    config = group_config(concurrency=3, samples_per_round=3)
    with Ledger(tmp_path / "whole.sqlite") as whole:
        expected_tally, _ = sample_all(config, ScriptedEngine(), whole, problems(8))
        expected = verdicts_by_index(whole)
    for calls in (5, 17, 40):
        with pytest.raises(TeacherError):
            sample_all(config, ScriptedEngine(fail_at=calls, delay_s=0.001), ledger, problems(8))
    tally, _ = sample_all(config, ScriptedEngine(), ledger, problems(8))
    assert verdicts_by_index(ledger) == expected and tally == expected_tally
    assert {status for status, _, _ in expected.values()} >= {"pass", "unverifiable"}


def test_what_was_judged_before_a_run_was_cut_off_is_not_judged_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    check = VerifierPool.check

    async def counted(pool: VerifierPool, problem: Problem, sample: Sample) -> list[Verdict]:
        asked.append(sample.id)
        return await check(pool, problem, sample)

    monkeypatch.setattr(VerifierPool, "check", counted)
    with pytest.raises(TeacherError):
        sample_all(make_config(concurrency=2), ScriptedEngine(fail_at=25, delay_s=0.001), ledger, problems(12))
    judged = {v.sample_id for v in ledger.rows(Verdict)}
    assert len(judged) > 8
    asked.clear()
    sample_all(make_config(concurrency=2), ScriptedEngine(), ledger, problems(12))
    assert not judged & set(asked) and len(asked) == len(set(asked)) > 8


# Requests that come to nothing

FILTERED, STALLED = Reply("", "refused", "HTTP 400: content filter"), Reply("", "failed", "failed 3 times")
UNCLEAR = Reply("", "unclear", "finish_reason='done' is not known")


def lost_on(marks: str, lost: Reply = FILTERED) -> Callable[..., Reply]:
    """Right, but for the problems whose number of `so` is that of a digit in `marks`."""
    return lambda messages, request: lost if str(messages[-1]["content"].count("so ")) in marks.split() else RIGHT


@pytest.mark.parametrize(
    ("lost", "reason", "asked"), [(FILTERED, "REQUEST_REFUSED", 2), (STALLED, "NO_REPLY", 6), (UNCLEAR, "TRUNCATED", 6)]
)
def test_a_request_that_comes_to_nothing_is_data_and_the_run_goes_on(
    ledger: Ledger, capsys: pytest.CaptureFixture, lost: Reply, reason: str, asked: int
) -> None:
    engine = ScriptedEngine(lost_on("3", lost))
    config = make_config(max_samples=4, samples_per_round=2, want_fail=0, hints=2)
    tally, _ = sample_all(config, engine, ledger, problems(8))
    assert (tally.problems, tally.solved, tally.statuses["unverifiable"]) == (8, 7, asked)
    rows = [s for s in ledger.rows(Sample) if s.problem_id == "p3"]
    assert {(s.finish_reason, s.fault, s.text, s.answer) for s in rows} == {(lost.finish_reason, lost.fault, "", None)}
    verdicts = [v for s in rows for v in ledger.rows(Verdict, sample_id=s.id)]
    assert {(v.status, v.reason, v.detail) for v in verdicts} == {(Status.UNVERIFIABLE, reason, lost.fault)}
    assert len(rows) == len(verdicts) == asked, "a refused conversation is not asked again"
    assert capsys.readouterr().out.splitlines() == [f"problem p3: {lost.finish_reason}: {lost.fault}"] * asked
    (warning,) = fault_warnings(tally.faults)
    assert warning.startswith(f"{asked} requests were ") and warning.endswith(f"({lost.fault}), of problems p3")
    assert tally.summary().endswith(f", {asked} requests without a reply")
    assert num_failed(tally.faults) == (asked if lost is STALLED else 0)


def test_many_lost_problems_are_one_sentence() -> None:
    samples = [Sample.create(**SHAPE, problem_id=f"p{n}", finish_reason="refused", fault="no") for n in range(9)]
    assert fault_warnings(samples) == ["9 requests were refused (no), of problems p0, p1, p2, p3, p4 and 4 more"]
    assert fault_warnings([s.model_copy(update={"fault": None}) for s in samples]) == []


SHAPE = {"messages": [], "rationale": None, "answer": None, "usage": {}, "sampling": {}, "engine": "e"}


def test_what_came_to_nothing_is_asked_again_by_another_attempt(ledger: Ledger) -> None:
    config = make_config(max_samples=1)
    sample_all(config, ScriptedEngine(lost_on("1 2 3")), ledger, problems(8))
    before = {s.problem_id: s for s in ledger.rows(Sample)}
    forget(ledger, lambda sample: sample.fault is not None)
    assert [p for p in before if p not in {s.problem_id for s in ledger.rows(Sample)}] == ["p1", "p2", "p3"]
    assert {v.sample_id for v in ledger.rows(Verdict)} == {s.id for s in ledger.rows(Sample)}
    tally, cached = sample_all(config, ScriptedEngine(lost_on("3")), ledger, problems(8))
    assert (cached.fresh, cached.reused, tally.solved) == (3, 5, 7)
    assert [s.problem_id for s in ledger.rows(Sample) if s.fault] == ["p3"] and ledger.count(Sample) == 8


@pytest.mark.parametrize(
    ("lost", "concurrency", "count", "part"),
    [
        (
            FILTERED,
            4,
            60,
            r"scripted:1 gave no reply of use to each of the first 20 problems \(HTTP 400: content filter\); check",
        ),
        (FILTERED, 4, 5, r"gave no reply of use to all 5 requests \(HTTP 400: content filter\)"),
        (UNCLEAR, 4, 60, r"no reply of use to each of the first 20 problems \(finish_reason='done' is not known"),
        (STALLED, 4, 60, r"left 20 requests in a row without a reply \(failed 3 times\); mend it, then run again"),
        (STALLED, 1, 5, r"gave no reply of use to all 5 requests \(failed 3 times\)"),
    ],
)
def test_an_engine_of_which_nothing_comes_ends_the_run(
    ledger: Ledger, lost: Reply, concurrency: int, count: int, part: str
) -> None:
    engine = ScriptedEngine(lambda messages, request: lost)
    with pytest.raises(TeacherError, match=part):
        sample_all(make_config(max_samples=1, concurrency=concurrency), engine, ledger, problems(count))
    assert len(engine.calls) < 30


BROKEN = [
    FILTERED,
    Reply("", "failed", "teacher.base_url='u' failed 10 times, the last: HTTP 500: request 1234567890"),
    Reply("", "failed", "teacher.base_url='u' failed 7 times, the last: HTTP 500: request abcdef01-23"),
    Reply("", "failed", "teacher.base_url='u' failed 2 times, the last: no reply in 30 s"),
]


def test_an_engine_that_fails_in_many_ways_is_given_up_as_soon_and_the_causes_are_counted(ledger: Ledger) -> None:
    engine = ScriptedEngine(lambda messages, request: BROKEN[messages[-1]["content"].count("so ") % len(BROKEN)])
    with pytest.raises(TeacherError) as caught:
        sample_all(make_config(max_samples=1, concurrency=1), engine, ledger, problems(60))
    assert len(engine.calls) == 20
    assert "gave no reply of use to each of the first 20 problems" in str(caught.value)
    assert (
        "(HTTP 500: request ... 10 times, HTTP 400: content filter 5 times, no reply in 30 s 5 times; the last: "
        "teacher.base_url='u' failed 2 times, the last: no reply in 30 s)" in str(caught.value)
    )


def test_an_engine_that_breaks_down_later_is_given_up_whatever_is_refused_in_between(ledger: Ledger) -> None:
    def reply(messages: list, request: Any) -> Reply:
        number = messages[-1]["content"].count("so ")
        return RIGHT if number < 5 else BROKEN[number % len(BROKEN)]

    with pytest.raises(TeacherError, match=r"left 26 requests in a row without a reply of use \(HTTP 500"):
        sample_all(make_config(max_samples=1, concurrency=1), ScriptedEngine(reply), ledger, problems(60))


def test_replies_of_which_only_the_cut_ones_are_understood_end_the_run(ledger: Ledger) -> None:
    engine = ScriptedEngine(by_index(CUT, UNCLEAR))
    with pytest.raises(TeacherError, match=r"each of the first 20 problems \(finish_reason='done' is not known"):
        sample_all(make_config(max_samples=2, concurrency=4), engine, ledger, problems(60))
    assert len(engine.calls) < 60


def test_a_few_refused_problems_that_come_first_end_nothing(ledger: Ledger) -> None:
    """Many samples of each, side by side: refused requests, but of six problems."""
    engine = ScriptedEngine(lost_on("0 1 2 3 4 5"))
    config = make_config(max_samples=8, samples_per_round=8, concurrency=4)
    tally, _ = sample_all(config, engine, ledger, problems(9))
    assert (tally.problems, tally.solved, len(tally.faults)) == (9, 3, 48)


def test_refusals_that_are_quicker_than_replies_end_nothing(ledger: Ledger) -> None:
    """Of the first 64 in flight all but the very first are refused, before that one is answered."""
    first = asyncio.Event()

    class Slow(ScriptedEngine):
        async def chat(self, messages: list, request: Any) -> Any:
            if "so" in messages[-1]["content"]:
                return completion_of(FILTERED)
            await first.wait()
            return completion_of(RIGHT)

    async def work() -> list:
        cached = CachedEngine(Slow(), ledger, 64)
        asks = [cached.chat(p.messages, Request(temperature=0, max_tokens=9)) for p in problems(64)]
        asyncio.get_running_loop().call_later(0.1, first.set)
        return await asyncio.gather(*asks)

    assert [c.finish_reason for c in asyncio.run(work())] == ["stop"] + ["refused"] * 63


# Completions used again


def test_the_same_run_asks_for_nothing_twice(ledger: Ledger) -> None:
    engine = ScriptedEngine()
    first, _ = sample_all(make_config(), engine, ledger, problems(6))
    rows = [*ledger.rows(Sample)]
    asked = len(engine.calls)
    again, cached = sample_all(make_config(), engine, ledger, problems(6))
    assert len(engine.calls) == asked and (cached.fresh, cached.reused) == (0, asked)
    assert again == first and [*ledger.rows(Sample)] == rows


@pytest.mark.parametrize(
    "changed",
    [
        {"system": "Other words. ####"},
        {"examples": [{"question": "2 + 2?", "reply": "#### 4"}]},
        {"sampling": {"max_tokens": 100, "temperature": 0.3}},
        {"sampling": {"max_tokens": 101}},
        {"sampling": {"max_tokens": 100, "top_p": 0.5}},
    ],
)
def test_a_change_of_what_is_asked_uses_none_again(ledger: Ledger, changed: dict) -> None:
    engine = ScriptedEngine()
    sample_all(make_config(), engine, ledger, problems(2))
    _, cached = sample_all(make_config(**changed), engine, ledger, problems(2))
    assert cached.reused == 0 and cached.fresh > 0


def test_another_engine_or_seed_uses_none_again(ledger: Ledger) -> None:
    sample_all(make_config(), ScriptedEngine(), ledger, problems(2))
    _, cached = sample_all(make_config(), ScriptedEngine(identity="scripted:2"), ledger, problems(2))
    assert cached.reused == 0
    _, cached = sample_all(make_config().model_copy(update={"seed": 5}), ScriptedEngine(), ledger, problems(2))
    assert cached.reused == 0


@pytest.mark.parametrize("changed", [{"concurrency": 1}, {"timeout_s": 1}, {"samples_per_round": 1}, {"want_fail": 2}])
def test_a_change_of_how_it_is_asked_uses_all_again(ledger: Ledger, changed: dict) -> None:
    engine = ScriptedEngine()
    sample_all(make_config(samples_per_round=8), engine, ledger, problems(2))
    _, cached = sample_all(make_config(**changed), engine, ledger, problems(2))
    assert cached.fresh == 0 and cached.reused > 0


def test_more_samples_ask_only_for_those(ledger: Ledger) -> None:
    engine = ScriptedEngine(by_index(WRONG))
    sample_all(make_config(max_samples=4), engine, ledger, problems(2))
    _, cached = sample_all(make_config(max_samples=6), engine, ledger, problems(2))
    assert (cached.fresh, cached.reused) == (4, 8)


def test_no_more_is_in_flight_than_allowed(ledger: Ledger) -> None:
    engine = ScriptedEngine(delay_s=0.002)
    sample_all(make_config(concurrency=3), engine, ledger, problems(12))
    assert engine.most_in_flight == 3


# Failures


def test_a_failing_engine_ends_the_run_with_its_work_on_disk(ledger: Ledger) -> None:
    engine = ScriptedEngine(fail_at=30, delay_s=0.001)
    with pytest.raises(TeacherError, match="was told to fail"):
        sample_all(make_config(concurrency=4), engine, ledger, problems(20))
    kept = ledger.count(Sample)
    assert 20 <= kept < 30
    whole = ScriptedEngine()
    tally, cached = sample_all(make_config(concurrency=4), whole, ledger, problems(20))
    assert tally.problems == 20 and cached.reused == 29 and len(whole.calls) == cached.fresh


def test_a_failing_verifier_pool_ends_the_run_too(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise VerifierError("no worker can be started")

    monkeypatch.setattr(VerifierPool, "check", broken)
    with pytest.raises(VerifierError, match="no worker"):
        sample_all(make_config(), ScriptedEngine(), ledger, problems(3))


def test_judging_again_gives_the_same_verdict(ledger: Ledger) -> None:
    config = make_config(max_samples=1)
    sample_all(config, ScriptedEngine(by_index(WRONG)), ledger, problems())

    async def again() -> list[Verdict]:
        specs = config.verify.verifiers
        async with VerifierPool(specs, workers=1, timeout_s=60) as pool:
            (sample,) = ledger.rows(Sample)
            return await judge(problems()[0], sample, pool)

    (before,), (after,) = [*ledger.rows(Verdict)], asyncio.run(again())
    assert after.model_copy(update={"seconds": before.seconds}) == before


def test_the_scripted_teacher_repeats_itself() -> None:
    messages = [{"role": "user", "content": "What is 4 + 5?"}]
    replies = [reply_to(messages, n) for n in range(40)]
    assert replies == [reply_to(messages, n) for n in range(40)]
    assert 10 < sum("#### 9" in r.text for r in replies) < 35
    assert json.dumps(replies)
