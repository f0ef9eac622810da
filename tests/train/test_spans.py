"""The renderer: what is supervised, what is refused, with the tokenizer's own chat template."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from train_helpers import CHATML, chat, tiny_tokenizer

from rdistill.config import SpanWeights
from rdistill.records import Span
from rdistill.train.spans import SpanError, check_template, render, weighted_pieces

TOKENIZER = tiny_tokenizer()
WEIGHTS = SpanWeights(rationale=0.5, answer=2.0)


def rendered(messages, spans, tokenizer=TOKENIZER, weights=WEIGHTS, **options):
    return render(tokenizer, messages, [Span.model_validate(s) for s in spans], weights, **options)


def refused(messages, spans, tokenizer=TOKENIZER, **options):
    with pytest.raises(SpanError) as caught:
        rendered(messages, spans, tokenizer, **options)
    return caught.value.reason


def test_each_role_has_its_weight_and_the_turn_ends_supervised():
    row = rendered(*chat("2 + 2?", "Two and two make four.", "4"))
    assert weighted_pieces(row)[1:] == [
        ("Two and two make four.", 0.5, "rationale"),
        ("\n#### 4<|im_end|>", 2.0, "answer"),
        ("\n", 0.0, None),
    ]
    assert row.ids == TOKENIZER.apply_chat_template(chat("2 + 2?", "Two and two make four.", "4")[0])["input_ids"]


def test_pieces_give_the_text_back():
    row = rendered(*chat("the one?", "other then", "é 漢"))
    assert "".join(text for text, _, _ in weighted_pieces(row)) == row.text


def test_tool_results_and_what_no_span_covers_weigh_nothing():
    call, result, final = '<tool_call>{"name": "calculator"}</tool_call>', "<tool_response>4</tool_response>", "It is 4"
    messages = [
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": call},
        {"role": "tool", "content": result},
        {"role": "assistant", "content": final},
    ]
    spans = [
        {"message": 1, "start": 0, "end": len(call), "role": "tool_call"},
        {"message": 2, "start": 0, "end": len(result), "role": "tool_result"},
        {"message": 3, "start": 6, "end": 7, "role": "answer"},
    ]
    row = rendered(messages, spans, weights=SpanWeights())
    supervised = [text for text, weight, _ in weighted_pieces(row) if weight]
    assert supervised == [call + "<|im_end|>", "4<|im_end|>"]


def test_a_template_that_strips_thinking_is_refused():
    messages, spans = chat("2 + 2?", "<think>four</think>", "4")
    strips = CHATML.replace("m['content']", "m['content'].split('</think>')[-1]")
    assert refused(messages, spans, tiny_tokenizer(strips)) == "TEXT_LOST"


def test_a_template_that_rewrites_earlier_turns_is_refused():
    first, spans = chat("2 + 2?", "four", "4")
    messages = [*first, {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Yes"}]
    forgets = CHATML.replace("m['content']", "(m['content'] if loop.last else 'x')")
    assert refused(messages, spans, tiny_tokenizer(forgets)) == "NOT_PREFIX_PRESERVING"


def test_a_template_whose_generation_prompt_differs_from_training_is_refused():
    other = CHATML.replace(
        "'<|im_start|>assistant\n' }}{% endif %}", "'<|im_start|>assistant\n<think>\n' }}{% endif %}"
    )
    assert refused(*chat("2 + 2?", "four", "4"), tiny_tokenizer(other)) == "NOT_PREFIX_PRESERVING"


def test_a_template_without_an_end_of_turn_is_refused():
    endless = CHATML.replace("<|im_end|>", "")
    assert refused(*chat("2 + 2?", "four", "4"), tiny_tokenizer(endless)) == "NO_END_OF_TURN"


def test_a_template_that_raises_is_refused():
    angry = "{{ raise_exception('no system role') }}"
    assert refused(*chat("2 + 2?", "four", "4"), tiny_tokenizer(angry)) == "TEMPLATE"


def test_control_tokens_in_text_are_refused():
    assert refused(*chat("2 + 2? <|im_end|>", "four", "4")) == "SPECIAL_TOKEN"


def test_a_token_across_prompt_and_reply_is_refused():
    assert refused(*chat("2 + 2?", "\n\nfour", "4")) == "TOKEN_STRADDLES_PROMPT"


def test_long_rows_and_rows_without_supervision_are_refused():
    messages, spans = chat("2 + 2?", "four", "4")
    assert refused(messages, spans, max_length=10) == "TOO_LONG"
    assert refused(messages, []) == "NOTHING_SUPERVISED"
    assert refused(messages, spans, weights=SpanWeights(rationale=0, answer=0)) == "NOTHING_SUPERVISED"


def test_check_template_accepts_a_good_tokenizer_and_refuses_one_without_a_template():
    assert check_template(TOKENIZER).num_supervised > 0
    with pytest.raises(SpanError, match="fast tokenizer with a chat template"):
        check_template(tiny_tokenizer(""))


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=10))
def test_any_text_is_supervised_whole_or_refused(rationale, answer):
    messages, spans = chat("Why?", rationale, answer)
    try:
        row = rendered(messages, spans, weights=SpanWeights())
    except SpanError:
        return
    supervised = "".join(text for text, weight, _ in weighted_pieces(row) if weight)
    content = messages[2]["content"]
    assert supervised == content + "<|im_end|>"
    assert TOKENIZER.decode([i for i, w in zip(row.ids, row.weights, strict=True) if w]) == supervised
