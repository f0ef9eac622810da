"""Agreement: who votes, what is decided and what is not, the same in any order and in one process as in the pool."""

import asyncio
import random
from typing import Any

import pytest
from rdistill.verifiers.agreement import Agreement

from rdistill.config import Config, VerifierSpec
from rdistill.records import Problem, Reason, Sample, Status, Verdict
from rdistill.verifiers import failed, passed
from rdistill.verifiers.pool import VerifierPool

PROBLEM = Problem(id="p", messages=[{"role": "user", "content": "?"}], cluster="c", split="train")
P, F, U = Status.PASS, Status.FAIL, Status.UNVERIFIABLE


def samples(*answers: str | None, **fields: Any) -> list[Sample]:
    return [
        Sample.create(
            problem_id="p",
            messages=[{"role": "assistant", "content": f"So.\n#### {answer}"}],
            rationale="So.",
            answer=answer,
            usage={},
            sampling={"index": n},
            engine="e",
            **{"finish_reason": "stop", **fields},
        )
        for n, answer in enumerate(answers)
    ]


def statuses(group: list[Sample], **options: Any) -> list[Status]:
    return [v.status for v in Agreement(**options).check_group(PROBLEM, group)]


@pytest.mark.parametrize(
    ("answers", "options", "expected"),
    [
        ("7 7 7 8", {"min_votes": 3}, [P, P, P, F]),
        ("7 7 7 8", {}, [U] * 4),
        ("7 7 7 8", {"min_votes": 3, "fail_share": 0.8}, [P, P, P, U]),
        ("7 7 8 8", {"min_votes": 2, "min_share": 0.5}, [U] * 4),
        ("7 7 8 9", {"min_votes": 2, "min_share": 0.5}, [P, P, U, U]),
        ("7 7.0 $7 14/2", {}, [P] * 4),
        ("7 7.0 $7 14/2", {"equality": "text"}, [U] * 4),
        ("Yes yes YES yes no", {"equality": "text"}, [P, P, P, P, F]),
        ("B B B B C", {"equality": "math"}, [P, P, P, P, F]),
    ],
)
def test_what_a_vote_decides(answers: str, options: dict, expected: list[Status]) -> None:
    assert statuses(samples(*answers.split()), **options) == expected


def test_the_order_of_samples_is_no_matter() -> None:
    group = samples("1/2", "0.5", "0.50", "1/2", "50%", "3", None, "1/2", "0.5", "2/4")
    verdicts = {v.sample_id: v for v in Agreement(min_share=0.5).check_group(PROBLEM, group)}
    for seed in range(20):
        mixed = random.Random(seed).sample(group, len(group))
        assert {v.sample_id: v for v in Agreement(min_share=0.5).check_group(PROBLEM, mixed)} == verdicts
    assert verdicts[group[0].id].status is P and verdicts[group[6].id].reason is Reason.NO_ANSWER


def test_drafts_hints_and_cut_samples_are_judged_and_do_not_vote() -> None:
    hinted = [s.model_copy(update={"sampling": {"hint": True}}) for s in samples(*"8888")]
    for extra in (hinted, samples(*"8888", role="draft"), samples(*"8888", finish_reason="length")):
        found = statuses([*samples(*"7777"), *extra])
        assert found == [P] * 4 + [U if extra[0].finish_reason == "length" else F] * 4
    assert statuses([*samples(*"777", role="draft"), *samples("7")]) == [U] * 4


class OneWay:
    """Accepts `a dozen` where 12 is the gold, and not the reverse."""

    name, version = "one_way", "1"

    def check(self, problem: Problem, sample: Sample) -> Verdict:
        is_same = (problem.gold, sample.answer) == ("12", "a dozen")
        return passed(self, sample) if is_same else failed(self, sample, Reason.WRONG_ANSWER)


def test_answers_that_may_be_the_same_are_not_refused() -> None:
    agreement = Agreement()
    agreement.judge = OneWay()
    verdicts = agreement.check_group(PROBLEM, samples(*["12"] * 6, "a dozen", "99"))
    assert [v.status for v in verdicts] == [P] * 6 + [U, F]


def test_one_alone_and_options_that_make_no_sense() -> None:
    (alone,) = samples("7")
    assert Agreement().check(PROBLEM, alone).status is U
    for options in ({"min_share": 0}, {"min_share": 0.9, "fail_share": 0.8}, {"min_votes": 1}, {"equality": "x.py:X"}):
        with pytest.raises(ValueError):
            Agreement(**options)


def in_pool(specs: list[VerifierSpec], group: list[Sample], **options: Any) -> dict[int, list[Verdict]]:
    async def work() -> dict[int, list[Verdict]]:
        async with VerifierPool(specs, **{"workers": 1, "timeout_s": 60, **options}) as pool:
            return await pool.check_group(PROBLEM, group)

    return asyncio.run(work())


def test_only_those_that_judge_together_are_asked_for_a_group() -> None:
    group = samples("\\sqrt{8}", "2\\sqrt{2}", "2\\sqrt{2}", "2\\sqrt{2}", "3")
    names = [VerifierSpec(name="math"), VerifierSpec(name="agreement"), VerifierSpec(name="format")]
    found = in_pool(names, group)
    assert list(found) == [1] and [v.status for v in found[1]] == [P, P, P, P, F]
    assert [v.sample_id for v in found[1]] == [s.id for s in group]
    assert in_pool([names[1].model_copy(update={"domains": ["other"]})], group) == {}
    assert in_pool(names, []) == {}


BAD = """
import os, time
from rdistill.verifiers import passed

class Bad:
    name, version = "bad", "1"
    def __init__(self, *, how="fine"):
        self.how = how
    def check(self, problem, sample):
        return passed(self, sample)
    def check_group(self, problem, samples):
        verdicts = [passed(self, s) for s in samples]
        if self.how == "hangs":
            time.sleep(60)
        if self.how == "dies":
            os._exit(3)
        if self.how == "raises":
            raise RuntimeError("no")
        if self.how == "changes":
            samples.pop()
            samples[0].messages[0]["content"] = "x"
        return {"short": verdicts[1:], "order": verdicts[::-1], "tuple": tuple(verdicts)}.get(self.how, verdicts)
"""


@pytest.mark.parametrize("how", ["hangs", "dies", "raises", "changes", "short", "order", "tuple", "fine"])
def test_a_bad_plugin_spoils_its_own_group_alone(tmp_path, how: str) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    specs = [VerifierSpec(name=f"{tmp_path / 'bad.py'}:Bad", options={"how": how}), VerifierSpec(name="agreement")]
    found = in_pool(specs, samples(*"7777"), timeout_s=0.5 if how == "hangs" else 60)
    assert [v.status for v in found[0]] == [P if how == "fine" else U] * 4
    assert {v.reason for v in found[0]} == {
        {"fine": Reason.OK, "hangs": Reason.TIMEOUT}.get(how, Reason.VERIFIER_ERROR)
    }
    assert [v.status for v in found[1]] == [P] * 4


@pytest.mark.parametrize(
    ("teacher", "part"), [({"max_samples": 3}, "min_votes=4"), ({"sampling": {"temperature": 0}}, "temperature=0")]
)
def test_a_teacher_that_cannot_disagree_is_refused(teacher: dict, part: str) -> None:
    tree = {
        "name": "t",
        "prompts": {"sources": [{"task": "word_problems", "size": 9}]},
        "teacher": {"model": "m", **teacher},
        "verify": {"verifiers": [{"name": "agreement"}]},
        "student": {"model": "m"},
    }
    with pytest.raises(ValueError, match=part):
        Config.model_validate(tree)
