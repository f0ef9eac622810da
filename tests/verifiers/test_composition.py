"""Several verdicts, one status: the tables, and that what is not known never decides by accident."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdistill.config import Config, VerifierSpec, VerifyConfig
from rdistill.errors import ConfigError
from rdistill.records import Problem, Reason, Status, Verdict
from rdistill.verifiers.composition import applicable, check_domains, combine, deciding_reason

P, F, U = Status.PASS, Status.FAIL, Status.UNVERIFIABLE
REASONS = {P: Reason.OK, F: Reason.WRONG_ANSWER, U: Reason.TIMEOUT}

#               a  b  all any weighted 2:1, threshold 0.5 and 0.9
TRUTH_TABLE = [
    (P, P, P, P, P, P),
    (P, F, F, P, P, F),
    (P, U, U, P, P, U),
    (F, P, F, P, F, F),
    (F, F, F, F, F, F),
    (F, U, F, U, F, F),
    (U, P, U, P, U, U),
    (U, F, F, U, U, F),
    (U, U, U, U, U, U),
]


def combined(found: list[Verdict], by: list[VerifierSpec], verify: VerifyConfig, domain: str = "general") -> Status:
    return combine(found, by, verify, domain)


def verdicts(*statuses: Status) -> list[Verdict]:
    return [Verdict(sample_id="s", verifier="v", version="1", status=s, reason=REASONS[s]) for s in statuses]


def rule(how: str, threshold: float | None = None) -> VerifyConfig:
    return VerifyConfig(combine=how, threshold=threshold)


def specs(*weights: float, required: list[bool] | None = None) -> list[VerifierSpec]:
    flags = required or [True] * len(weights)
    return [
        VerifierSpec(name=f"v{n}", weight=w, required=r) for n, (w, r) in enumerate(zip(weights, flags, strict=True))
    ]


@pytest.mark.parametrize(("a", "b", "every", "any_", "half", "most"), TRUTH_TABLE)
def test_truth_table_of_two(a: Status, b: Status, every: Status, any_: Status, half: Status, most: Status) -> None:
    both, by = verdicts(a, b), specs(2, 1)
    assert combined(both, by, rule("all")) is every
    assert combined(both, by, rule("any")) is any_
    assert combined(both, by, rule("weighted", 0.5)) is half
    assert combined(both, by, rule("weighted", 0.9)) is most


def test_each_domain_may_combine_in_its_own_way() -> None:
    verify, both = VerifyConfig(combine_in={"code": "any", "words": "weighted"}, threshold=0.9), specs(2, 1)
    ways = [combined(verdicts(P, F), both, verify, domain) for domain in ("general", "code", "words")]
    assert ways == [F, P, F]
    assert combined(verdicts(F, P), both, VerifyConfig(combine="any", combine_in={"code": "all"}), "code") is F


def test_the_table_in_the_docs_is_this_one(checkout: Path) -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (checkout / "docs" / "verifiers.md").read_text().splitlines()
        if line.startswith(("| pass, ", "| fail, ", "| unverifiable, "))
    ]
    assert [(*votes.split(", "), *outcomes) for votes, *outcomes in rows] == TRUTH_TABLE


@pytest.mark.parametrize("how", [("all",), ("any",), ("weighted", 0.5)])
@pytest.mark.parametrize("status", [P, F, U])
def test_one_vote_is_the_status_and_advice_changes_nothing(how: tuple, status: Status) -> None:
    assert combined(verdicts(status), specs(1), rule(*how)) is status
    for other in (P, F, U):
        assert combined(verdicts(other, status), specs(1, 1, required=[False, True]), rule(*how)) is status
        assert combined(verdicts(other), specs(1, required=[False]), rule(*how)) is U
    assert combined([], [], rule(*how)) is U


def test_weights_that_only_add_up_to_the_threshold_reach_it() -> None:
    assert combined(verdicts(P, P, F), specs(0.1, 0.2, 0.7), rule("weighted", 0.3)) is P
    assert combined(verdicts(P, F, F), specs(0.1, 0.2, 0.7), rule("weighted", 0.3)) is F
    assert combined(verdicts(P, U, F), specs(0.1, 0.2, 0.7), rule("weighted", 0.3)) is U


votes = st.lists(st.tuples(st.sampled_from([P, F, U]), st.floats(0.01, 100)), min_size=1, max_size=5)
rules = st.one_of(
    st.sampled_from([rule("all"), rule("any")]), st.floats(0.01, 1).map(lambda share: rule("weighted", share))
)


@given(votes, rules)
def test_what_is_decided_stays_so_however_the_unknown_turns_out(cast: list, verify: VerifyConfig) -> None:
    """And with nothing unknown there always is a decision."""
    by = specs(*(weight for _, weight in cast))
    status = combined(verdicts(*(s for s, _ in cast)), by, verify)
    outcomes = {
        combined(verdicts(*filled), by, verify)
        for filled in itertools.product(*([P, F] if s is U else [s] for s, _ in cast))
    }
    assert U not in outcomes
    if status is not U:
        assert outcomes == {status}
    elif all(weight == cast[0][1] for _, weight in cast):
        assert outcomes == {P, F}, "it could have been decided"


@given(votes)
def test_all_and_any_are_weighted_with_the_highest_and_the_lowest_threshold(cast: list) -> None:
    found, by = verdicts(*(s for s, _ in cast)), specs(*(weight for _, weight in cast))
    assert combined(found, by, rule("all")) is combined(found, by, rule("weighted", 1.0))
    assert combined(found, by, rule("any")) is combined(found, by, rule("weighted", 1e-6))


def test_the_reason_is_that_of_a_vote_which_says_the_same() -> None:
    by = specs(1, 1, 1, required=[False, True, True])
    assert deciding_reason(verdicts(F, U, F), by, F) is Reason.WRONG_ANSWER
    assert deciding_reason(verdicts(F, P, U), by, U) is Reason.TIMEOUT
    assert deciding_reason(verdicts(F, P, F), by, P) is Reason.OK


# Domains


def make_config(*verifiers: dict[str, Any], **verify: Any) -> Config:
    return Config.model_validate(
        {
            "name": "t",
            "prompts": {"sources": [{"task": "word_problems", "size": 9}]},
            "teacher": {"model": "m"},
            "verify": {"verifiers": verifiers, **verify},
            "student": {"model": "m"},
        }
    )


def problem(domain: str, gold: Any = "7") -> Problem:
    asked = [{"role": "user", "content": "3 + 4?"}]
    return Problem(id=domain, messages=asked, gold=gold, cluster="c", split="train", domain=domain)


def test_a_domain_that_no_problem_has_combines_nothing() -> None:
    config = make_config({"name": "math"}, combine_in={"sum": "any"})
    with pytest.raises(ConfigError, match=r"combine_in names 'sum', which no problem has; the domains are sums"):
        check_domains(config, [problem("sums")])
    check_domains(config, [problem("sum")])


def test_a_verifier_judges_the_domains_that_it_names(make, judge_all) -> None:
    by = [VerifierSpec(name="math", domains=["sums"]), VerifierSpec(name="format"), VerifierSpec(name="tool_call")]
    by[2] = by[2].model_copy(update={"domains": ["tools", "sums"]})
    assert [s.name for s in applicable(by, "sums")] == ["math", "format", "tool_call"]
    assert [s.name for s in applicable(by, "tools")] == ["format", "tool_call"]
    (asked, sample) = make("7", "So.\n#### 7")
    pairs = [(asked.model_copy(update={"domain": domain}), sample) for domain in ("tools", "sums", "words")]
    found = judge_all(by, pairs)
    assert [[v.verifier for v in verdicts] for verdicts in found] == [
        ["format", "tool_call"],
        ["math", "format", "tool_call"],
        ["format"],
    ]


def test_domains_that_nobody_has_or_nobody_judges_are_refused() -> None:
    math, words = {"name": "math", "domains": ["sums"]}, {"name": "format", "domains": ["words"]}
    problems = [problem("sums"), problem("words")]
    check_domains(make_config(math, words), problems)
    with pytest.raises(
        ConfigError, match=r"verify.verifiers.0.domains names 'sums', which no problem has.* are words$"
    ):
        check_domains(make_config(math, words), problems[1:])
    with pytest.raises(ConfigError, match=r"none with required: true judges domain 'words'.* add it"):
        check_domains(make_config(math), problems)
    with pytest.raises(ConfigError, match="'words'"):
        check_domains(make_config(math, words | {"required": False}), problems)


@pytest.mark.parametrize(
    ("verifiers", "verify", "part"),
    [
        ([{"name": "math"}], {"combine": "weighted"}, "needs verify.threshold"),
        ([{"name": "math"}], {"threshold": 0.5}, "verify.threshold=0.5 means nothing with verify.combine=all"),
        ([{"name": "math", "weight": 2}], {}, "verify.verifiers.0.weight=2 means nothing with verify.combine=all"),
        (
            [{"name": "math"}, {"name": "format", "weight": 2, "required": False}],
            {"combine": "weighted", "threshold": 0.5},
            "verify.verifiers.1.weight=2 means nothing with required: false",
        ),
        ([{"name": "math", "domains": ["a", "a"]}], {}, "verify.verifiers.0.domains names 'a' twice"),
        ([{"name": "math", "domains": []}], {}, "at least 1 item"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(verifiers: list, verify: dict, part: str) -> None:
    with pytest.raises(ValueError, match=part.replace(".", r"\.")):
        make_config(*verifiers, **verify)
