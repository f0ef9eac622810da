"""Options and counting of the length verifier; its cases.jsonl hold the rest."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdistill.verifiers.length import UNITS, Length, count

from rdistill.records import Reason, Status


def test_bounds_are_options_and_a_gold_goes_before_them(make):
    verifier = Length(max_words=2)
    assert verifier.check(*make(None, "Two words")).status is Status.PASS
    assert verifier.check(*make("a gold about something else", "Now three words")).reason is Reason.FORMAT
    assert verifier.check(*make({"calls": []}, "Two words")).status is Status.PASS
    assert verifier.check(*make({"max_words": 3}, "Now three words")).status is Status.PASS


@pytest.mark.parametrize(("part", "passes"), [("reply", False), ("answer", True), ("rationale", False)])
def test_parts(make, part, passes):
    verdict = Length(part=part, max_words=2).check(*make(None, "Ada was born in London.\n#### London, England"))
    assert (verdict.status is Status.PASS) is passes


def test_a_missing_part_is_no_answer(make):
    assert Length(part="answer", max_words=9).check(*make(None, "No marker.")).reason is Reason.NO_ANSWER


def test_a_verdict_counts(make):
    verdict = Length(max_words=2, max_sentences=1).check(*make(None, "One. Two. Three."))
    assert verdict.detail == "3 words, at most 2; 3 sentences, at most 1"


@pytest.mark.parametrize(
    "options",
    [{"part": "whole"}, {"max_words": -1}, {"max_words": 2.5}, {"max_words": True}, {"min_chars": 9, "max_chars": 3}],
)
def test_useless_options_are_refused(options):
    with pytest.raises(ValueError):
        Length(**options)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", 0),
        ("...", 0),
        ("It costs $3.50 at example.com.", 1),
        ("See p. 3, fig. 2. Then go.", 2),
        ("He left at 5 p.m. and slept.", 1),
        ("Wait... what? Yes!", 3),
        ("- one\n- two\n\n- three", 3),
        ("2. Mix it.", 1),
        ("It was 1999. We left.", 2),
        ("(It rains.) We stay.", 2),
    ],
)
def test_sentences(text, sentences):
    assert count(text, "sentences") == sentences


@pytest.mark.parametrize("text", ["a. ", "Mr. ", "1. ", ". ", "!", "x", "\n", "\"'"])
def test_counting_is_linear(text):
    start = time.perf_counter()
    for unit in UNITS:
        count(text * 300_000, unit)
    assert time.perf_counter() - start < 5


@given(st.text(max_size=80))
def test_words_are_tokens_and_sentences_have_words(text):
    counts = {unit: count(text, unit) for unit in UNITS}
    assert counts["words"] <= counts["tokens"] <= counts["chars"]
    assert (counts["sentences"] > 0) == any(c.isalnum() for c in text)
