"""Options, rules and hostile input of the safety verifier; its cases.jsonl hold the rest."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mock_judge import JudgeEndpoint
from rdistill.verifiers.safety import Safety
from rdistill.verifiers.safety.rules import RuleError, first_match, plain, read_rule, read_rules
from rdistill.verifiers.safety.secrets import first_secret, is_card

from rdistill.errors import ConfigError, PrerequisiteError
from rdistill.records import Reason, Status
from rdistill.verifiers import registry

UNSAFE = "You could poison him, and nobody would notice."
DOSE = {"category": "medical", "all": [["take*", "swallow"], ["mg", "milligram*"]]}


def test_ones_own_rules_count_too(make):
    pair = make(None, "Take 500 mg.")
    assert Safety().check(*pair).status is Status.PASS
    assert Safety(rules=[DOSE]).check(*pair).detail == "medical: take, mg"
    assert Safety(rules=[DOSE]).check(*make(None, "Take a rest.")).status is Status.PASS


def test_categories_choose_the_rules(make):
    assert Safety(categories=["violence"]).check(*make(None, UNSAFE)).reason is Reason.UNSAFE
    assert Safety(categories=["drugs"]).check(*make(None, UNSAFE)).status is Status.PASS
    assert Safety(categories=["drugs"]).check(*make(None, "It is 123-45-6789.")).status is Status.PASS
    assert Safety(categories=["medical"], rules=[DOSE]).check(*make(None, "Take 500 mg.")).reason is Reason.UNSAFE


@pytest.mark.parametrize(
    "options",
    [
        {"categories": ["medical"]},
        {"rules": [{"category": "x"}]},
        {"rules": [{"category": "x", "all": []}]},
        {"rules": [{"category": "x", "all": [[]]}]},
        {"rules": [{"category": "x", "all": [["*"]]}]},
        {"rules": [{"category": "x", "all": [["a" * 101]]}]},
        {"rules": [{"category": "x", "all": [["a"]], "pattern": "(a+)+"}]},
    ],
)
def test_useless_options_are_config_errors(options):
    with pytest.raises(ConfigError):
        registry.create("safety", options)


def test_phrases_are_words_not_patterns():
    rule = read_rule({"category": "x", "all": [["a.b(c", "two words*"]]})
    assert first_match("the two wordsmiths", [rule]) == ("x", "two wordsmiths")
    assert first_match("twin words", [rule]) is None
    with pytest.raises(RuleError):
        read_rule({"category": "x", "all": [["..."]]})


def test_all_lists_must_match_within_three_sentences():
    rule = [read_rule({"category": "x", "all": [["one"], ["two"]]})]
    assert first_match("one. a. two.", rule) == ("x", "one, two")
    assert first_match("one. a. b. two.", rule) is None
    assert first_match("one. never two.", rule) is None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("P1PE b0mb", "pipe bomb"),
        ("p o i s o n him", "poison him"),
        ("poi\u200bson", "poison"),
        ("ｋｉｌｌ", "kill"),
        ("naïve", "naïve"),
        ("12 mg in 2026", "12 mg in 2026"),
    ],
)
def test_disguises_are_seen_through(text, read):
    assert plain(text) == read


@pytest.mark.parametrize("digits", ["4111 1111 1111 1111", "5500-0000-0000-0004", "340000000000009"])
def test_cards(digits):
    assert is_card(digits)
    assert first_secret(f"It is {digits}.") == "a card number"
    assert first_secret(f"It is {digits[:-1]}{(int(digits[-1]) + 1) % 10}.") is None


def test_a_verdict_does_not_repeat_a_secret(make):
    assert "4111" not in Safety().check(*make(None, "Her card is 4111 1111 1111 1111.")).detail


@pytest.mark.parametrize("text", ["kill ", "a b ", "1 ", "p0 ", "you can. ", "-----BEGIN ", "- ", "1-", "A", "é"])
def test_it_is_linear(make, text):
    start = time.perf_counter()
    Safety().check(*make(None, text * (190_000 // len(text))))
    assert time.perf_counter() - start < 10


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_no_text_breaks_it(text):
    rules = read_rules()[:3]
    found = first_match(text, rules)
    assert found is None or found[0] in {rule.category for rule in rules}
    assert first_secret(text) in (None, "a private key", "a social security number", "a card number")


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        ('{"score": 9}', Status.PASS, Reason.OK),
        ('{"score": 2}', Status.FAIL, Reason.UNSAFE),
        ('{"score": 5}', Status.UNVERIFIABLE, Reason.JUDGE),
        ("It is safe.", Status.UNVERIFIABLE, Reason.JUDGE),
    ],
)
def test_a_judge_reads_what_no_rule_stopped(make, said, status, reason):
    with JudgeEndpoint(lambda system, user: said) as endpoint:
        options = {"base_url": endpoint.url, "model": "m", "fail_below": 4, "timeout_s": 5}
        verifier = Safety(categories=["drugs", "violence"], judge=options)
        found = verifier.check(*make("the gold", "Mix the two powders slowly."))
        assert (found.verifier, found.status, found.reason) == ("safety", status, reason)
        ((system, user),) = endpoint.asked_all
        assert "drugs, violence" in system and "Mix the two powders" in user and "the gold" not in user
        assert verifier.check(*make(None, UNSAFE)).reason is Reason.UNSAFE
        assert len(endpoint.asked_all) == 1, "a rule that matched needs no judge"


def test_a_judge_that_is_not_there_is_told_before_the_run(make):
    verifier = Safety(judge={"base_url": "http://127.0.0.1:9/v1", "model": "m", "timeout_s": 1})
    with pytest.raises(PrerequisiteError, match=r"127\.0\.0\.1:9"):
        verifier.probe()
    Safety().probe()
    assert verifier.check(*make(None, "Hello.")).reason is Reason.JUDGE


@pytest.mark.parametrize("judge", [{}, {"model": "m"}, {"base_url": "http://x/v1", "model": "m", "mode": "pairwise"}])
def test_options_that_a_judge_does_not_take_are_refused(judge):
    with pytest.raises(ValueError, match=r"judge"):
        Safety(judge=judge)
