"""What select says of problems that give no example, and the drafts that stand in where no revision is right."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rdistill import steps
from rdistill.config import Config
from rdistill.errors import DataError
from rdistill.ledger import Ledger
from rdistill.pipeline import _brief
from rdistill.records import Problem, Reason, Sample, Status, Verdict
from rdistill.run import RunFolder
from rdistill.select import build_pairs, select_examples

PASS, FAIL, UNKNOWN = Status.PASS, Status.FAIL, Status.UNVERIFIABLE
REASON = {PASS: Reason.OK, FAIL: Reason.WRONG_ANSWER, UNKNOWN: Reason.BAD_GOLD}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def make_config(mode: str = "rationale", sources: tuple[str, ...] = ("best_of_n", "revision")) -> Config:
    return Config.model_validate(
        {
            "name": "t",
            "prompts": {"sources": [{"task": "word_problems", "size": 1}]},
            "teacher": {"model": "m", "mode": mode},
            "verify": {"verifiers": [{"name": "math"}, {"name": "format", "required": False}]},
            "student": {"model": "m"},
            "select": {"modes": ["explain", "direct"]},
            "pair": {"sources": list(sources)},
        }
    )


def problem(name: str, domain: str = "sums") -> Problem:
    question = [{"role": "user", "content": f"{name}?"}]
    return Problem(id=name, messages=question, gold="7", domain=domain, cluster=name, split="train")


def sample(asked: Problem, number: int, answer: str = "7", **fields: Any) -> Sample:
    return Sample.create(
        problem_id=asked.id,
        messages=[{"role": "assistant", "content": f"Way {number}.\n#### {answer}"}],
        rationale=f"Way {number}.",
        answer=answer,
        finish_reason="stop",
        usage={},
        sampling={"index": number},
        engine="e",
        **fields,
    )


def verdict(of: Sample, status: Status, verifier: str = "math") -> Verdict:
    detail = "no number" if status is UNKNOWN else ""
    return Verdict(sample_id=of.id, verifier=verifier, version="1", status=status, reason=REASON[status], detail=detail)


def chain(asked: Problem, number: int, draft: Status, revision: Status) -> tuple[list[Sample], list[Verdict]]:
    answer = {PASS: "7", FAIL: "8"}
    first = sample(asked, number, answer[draft], role="draft")
    critique = sample(asked, number + 1, "7", role="critique", parent_id=first.id)
    last = sample(asked, number + 2, answer[revision], role="revision", parent_id=critique.id)
    return [first, critique, last], [verdict(first, draft), verdict(last, revision)]


def fill(ledger: Ledger, problems: list[Problem], samples: list[Sample], verdicts: list[Verdict]) -> dict[str, Status]:
    ledger.write([*problems, *samples, *verdicts])
    return {v.sample_id: v.status for v in verdicts if v.verifier == "math"}


def test_a_domain_without_an_example_is_a_warning_with_its_reasons(ledger: Ledger) -> None:
    sums, tools, unasked = problem("a"), [problem("b", "tools"), problem("c", "tools")], problem("d", "none")
    right, lost = sample(sums, 0), [sample(p, n) for p in tools for n in range(3)]
    verdicts = [verdict(right, PASS), *(verdict(s, UNKNOWN) for s in lost)]
    verdicts += [verdict(s, FAIL, "format") for s in lost]  # has no vote, so it is no reason
    status_of = fill(ledger, [sums, *tools, unasked], [right, *lost], verdicts)
    examples, report = select_examples(ledger, make_config(), status_of)
    assert report["domains"]["after"] == {"sums": 1, "tools": 0, "none": 0} and examples
    assert report["warnings"] == [
        "domain 'tools': no training example of its 2 problems (6 samples; math: BAD_GOLD 6 times, e.g. 'no number')",
        "domain 'none': no training example of its 1 problems (none was sampled)",
    ]


@pytest.mark.parametrize(
    ("status", "parts"),
    [
        (UNKNOWN, ["math: BAD_GOLD 1 times, e.g. 'no number'", "none was judged wrong"]),
        (FAIL, ["math: WRONG_ANSWER 1 times", "a stronger teacher.model"]),
    ],
)
def test_where_nothing_passed_the_error_says_why(
    ledger: Ledger, tmp_path: Path, status: Status, parts: list[str]
) -> None:
    asked = problem("a")
    given = sample(asked, 0)
    fill(ledger, [asked], [given], [verdict(given, status), verdict(given, PASS, "format")])
    with pytest.raises(DataError) as caught:
        steps.select(RunFolder(tmp_path / "run"), make_config(), ledger)
    assert all(part in str(caught.value) for part in parts), caught.value
    assert ("stronger" in str(caught.value)) == (status is FAIL)


def test_the_line_of_verify_has_the_statuses(ledger: Ledger, tmp_path: Path) -> None:
    asked = problem("a")
    samples = [sample(asked, n) for n in range(4)]
    verdicts = [verdict(s, status) for s, status in zip(samples, [PASS, FAIL, UNKNOWN, UNKNOWN], strict=True)]
    fill(ledger, [asked], samples, verdicts + [verdict(s, PASS, "format") for s in samples])
    result = steps.verify(RunFolder(tmp_path / "run"), make_config(), ledger)
    assert _brief(result) == "pass=1, fail=1, unverifiable=2"


def test_a_right_draft_is_learned_where_no_revision_is_right(ledger: Ledger) -> None:
    asked = problem("a")
    samples, verdicts = chain(asked, 0, PASS, FAIL)
    status_of = fill(ledger, [asked], samples, verdicts)
    config = make_config("critique_revise")
    examples, report = select_examples(ledger, config, status_of)
    assert [(e.mode, e.sample_id) for e in examples] == [("explain", samples[0].id), ("direct", samples[0].id)]
    assert (report["problems_passed"], report["problems_selected"], report["problems_from_draft"]) == (1, 1, 1)
    pairs, _, _ = build_pairs(ledger, config, status_of)
    assert {(p.source, p.chosen_id, p.rejected_id) for p in pairs} == {("best_of_n", samples[0].id, samples[2].id)}


def test_a_right_revision_goes_before_every_draft(ledger: Ledger) -> None:
    asked = problem("a")
    samples, verdicts = [], []
    for number, (draft, revision) in enumerate([(PASS, FAIL), (FAIL, PASS)]):
        some, said = chain(asked, 3 * number, draft, revision)
        samples, verdicts = samples + some, verdicts + said
    status_of = fill(ledger, [asked], samples, verdicts)
    examples, report = select_examples(ledger, make_config("critique_revise"), status_of)
    assert {e.sample_id for e in examples} == {samples[5].id} and report["problems_from_draft"] == 0
