"""Options and hostile input of the choice verifier; its cases.jsonl hold the rest."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdistill.verifiers.choice import Choice
from rdistill.verifiers.choice.options import options_in

from rdistill.records import Reason, Status
from rdistill.verifiers.cases import to_pair

QUESTION = "Where do fish live?\nA. in trees\nB. in water\nC. in the sky"


def test_choices_may_be_an_option(make):
    verifier = Choice(choices=["positive", "negative"])
    assert verifier.check(*make("negative", "#### B")).status is Status.PASS
    assert verifier.check(*make("B", "#### Negative.")).status is Status.PASS
    assert verifier.check(*make("negative", "#### positive")).reason is Reason.WRONG_ANSWER
    assert verifier.check(*make("neutral", "#### positive")).reason is Reason.BAD_GOLD


def test_more_choices_than_letters_are_called_by_their_text(make):
    verifier = Choice(choices=[f"label {i}" for i in range(77)])
    assert verifier.check(*make("label 7", "#### label 7")).status is Status.PASS
    assert verifier.check(*make("label 7", "#### label 70")).reason is Reason.WRONG_ANSWER
    assert verifier.check(*make("label 7", "#### B")).reason is Reason.UNPARSEABLE


@pytest.mark.parametrize("choices", [[], ["one"], ["one", ""], ["one", 2]])
def test_useless_choices_are_refused(choices):
    with pytest.raises(ValueError, match="choices"):
        Choice(choices=choices)


def test_strict_wants_the_marker(make):
    pair = make("B", "The answer is B.", question=QUESTION)
    assert Choice().check(*pair).status is Status.PASS
    assert Choice(strict=True).check(*pair).reason is Reason.NO_ANSWER


def test_gold_is_checked_by_stating_it(make):
    assert Choice().check_gold(*make("in water", "#### in water", question=QUESTION)).status is Status.PASS
    assert Choice().check_gold(*make("in fire", "#### in fire", question=QUESTION)).reason is Reason.BAD_GOLD


@pytest.mark.parametrize(
    ("question", "texts"),
    [
        (QUESTION, ["in trees", "in water", "in the sky"]),
        ("Q (a) one (b) two, (c) three", ["one", "two", "three"]),
        ("Q\n(A) one\n(B) two\n\nQ\n(A) three\n(B) four", ["three", "four"]),
        ("Q\n- A) one\n- B) two", ["one", "two"]),
        ("Q\nA. one\nC. three", []),
        ("Is it (a) good?", []),
        ("", []),
    ],
)
def test_options_are_found_in_the_question(question, texts):
    assert options_in(question) == texts


@pytest.mark.parametrize(
    "answer",
    ["A B", "A|B", "A then B", "A? B?", "A-B", "A -> B", "anything but B", "all other than B", "I would rule out B"],
)
def test_two_letters_or_a_denied_one_are_no_choice(make, answer):
    assert Choice().check(*make("B", f"#### {answer}", question=QUESTION)).reason is Reason.AMBIGUOUS


def test_it_stays_fast_on_long_replies(make):
    for unit in ("answer is ", "\\boxed{", "(A) ", "option ", "A, ", "not "):
        start = time.process_time()
        verdict = Choice().check(*make("B", unit * 20_000, question=QUESTION))
        assert verdict.status is not Status.PASS
        assert time.process_time() - start < 2


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet=st.sampled_from("ABCabc()[].,:\n\\{}$*# isornotwater"), max_size=60), st.text(max_size=30))
def test_no_text_breaks_it(answer, gold):
    problem, sample = to_pair({"id": "x", "gold": gold, "answer": answer, "question": QUESTION})
    verdict = Choice().check(problem, sample)
    assert verdict.reason is not Reason.OK or "B" not in gold.upper() or "b" in answer.lower() or "water" in answer
