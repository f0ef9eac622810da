"""Options and hostile input of the language verifier; its cases.jsonl hold the rest."""

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdistill.verifiers.language import Language, codes_of, weigh
from rdistill.verifiers.language.detect import LANGUAGES, SCRIPTS, letters_by_script, scores
from rdistill.verifiers.language.words import ENDINGS, LETTERS, WORDS

from rdistill.records import Reason, Status
from rdistill.verifiers.cases import to_pair

ENGLISH = "This is the answer that you have asked for, and it is not a long one."
FRENCH = "C'est la réponse que vous avez demandée, et elle n'est pas très longue."


def test_languages_are_an_option_that_goes_before_the_gold(make):
    assert Language(languages=["fr"]).check(*make("7", FRENCH)).status is Status.PASS
    assert Language(languages=["fr"]).check(*make("en", ENGLISH)).reason is Reason.FORMAT


def test_more_of_another_language_may_be_allowed(make):
    pair = make("en", f"{ENGLISH} {ENGLISH} {FRENCH}")
    assert Language().check(*pair).reason is Reason.FORMAT
    assert Language(max_foreign=0.5).check(*pair).status is Status.PASS
    assert Language(max_foreign=0).check(*make("en", ENGLISH)).status is Status.PASS


def test_a_refusal_names_the_share_and_the_language(make):
    assert Language().check(*make("en", FRENCH)).detail == "100% in another language, such as fr"
    assert "such as Han letters" in Language().check(*make("en", ENGLISH + "所以总共是十二欧元,这是最后的答案")).detail


@pytest.mark.parametrize(
    "options", [{"languages": []}, {"languages": ["klingon"]}, {"languages": [1]}, {"max_foreign": 1}]
)
def test_useless_options_are_refused(options):
    with pytest.raises(ValueError):
        Language(**options)


def test_codes():
    assert codes_of("pt-BR") == {"pt"}
    assert codes_of(["zh_Hans", "NB"]) == {"zh", "no"}


def test_each_language_that_shares_its_script_has_its_words():
    shared = {code for _, codes in SCRIPTS.values() if len(codes) > 1 for code in codes} - {"zh", "ja"}
    assert shared == set(WORDS)
    assert set(LETTERS) | set(ENDINGS) <= set(WORDS) <= LANGUAGES


def test_scripts_do_not_overlap():
    spans = sorted(span for spans, _ in SCRIPTS.values() for span in spans)
    assert all(first[1] < second[0] for first, second in pairwise(spans))


def test_dense_letters_count_more():
    assert letters_by_script("ab 中文 1!") == {"Latin": 2, "Han": 6}
    assert scores("12 + 4 = !") == {}


@pytest.mark.parametrize("text", ["the ", "所", "a. ", "```", "$", "`", "\\(", "http://", "é", "@", "x" * 50])
def test_it_is_linear(make, text):
    start = time.perf_counter()
    Language().check(*make("en", text * 100_000))
    assert time.perf_counter() - start < 5


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200), st.sampled_from(sorted(LANGUAGES)))
def test_no_text_breaks_it(text, code):
    problem, sample = to_pair({"id": "x", "gold": code, "answer": text})
    assert Language().check(problem, sample).reason in (
        Reason.OK, Reason.FORMAT, Reason.UNPARSEABLE, Reason.NO_ANSWER,
    )  # fmt: skip
    own, foreign, untold, _ = weigh(text, frozenset({code}))
    assert own + foreign + untold == letters_by_script(text).total()
