"""The chat templates of seven model families, as published: each row is supervised whole, or refused with its reason.

Tool definitions and branches that training never takes are left out of the templates; the rest is to the letter.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers
from train_helpers import tiny_tokenizer

from rdistill.config import SpanWeights
from rdistill.prompts.student import with_mode_prompt
from rdistill.records import Span
from rdistill.train.spans import Rendered, SpanError, check_template, render, weighted_pieces

TEMPLATES = Path(__file__).parent / "templates"
CHATML = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
EMPTY_THINK = "<think>\n\n</think>\n\n"
THINKS = "<think>\nTwo and two make four.\n</think>\n\n#### 4"


@dataclass(frozen=True)
class Family:
    """What a template's text looks like around a reply. `system` is how it takes a system message."""

    control: list[str]
    bos: str
    eos: str
    turn_end: str
    """What ends a reply, to the last supervised character."""
    prompt_end: str
    """What the generation prompt ends with."""
    inserted: str = ""
    """What the template puts before the content, which the model must write."""
    system: str = "own turn"


HEADERS = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
GEMMA = ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"]
PHI = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
FAMILIES = {
    "smollm2": Family(CHATML, "<|im_start|>", "<|im_end|>", "<|im_end|>", "<|im_start|>assistant\n"),
    "qwen2_5": Family(CHATML, "", "<|im_end|>", "<|im_end|>", "<|im_start|>assistant\n"),
    "qwen3": Family(CHATML, "", "<|im_end|>", "<|im_end|>", "<|im_start|>assistant\n", EMPTY_THINK),
    "llama3": Family(HEADERS, "<|begin_of_text|>", "<|eot_id|>", "<|eot_id|>", "assistant<|end_header_id|>\n\n"),
    "gemma2": Family(GEMMA, "<bos>", "<eos>", "<end_of_turn>", "<start_of_turn>model\n", system="TEMPLATE"),
    "gemma3": Family(GEMMA, "<bos>", "<eos>", "<end_of_turn>", "<start_of_turn>model\n", system="first user turn"),
    "mistral_v0_1": Family(["<s>", "</s>"], "<s>", "</s>", "</s>", " [/INST]", system="TEMPLATE"),
    "mistral_v0_3": Family(
        ["<s>", "</s>", "[INST]", "[/INST]"], "<s>", "</s>", "</s>", "[/INST]", " ", system="NOT_PREFIX_PRESERVING"
    ),
    "phi3": Family(PHI, "<s>", "<|endoftext|>", "<|end|>", "<|assistant|>\n"),
    "phi4": Family([*CHATML, "<|im_sep|>"], "", "<|im_end|>", "<|im_end|>", "<|im_start|>assistant<|im_sep|>"),
}


def tokenizer_of(name: str):
    """The tiny tokenizer with a family's template and control tokens."""
    family = FAMILIES[name]
    tokenizer = tiny_tokenizer((TEMPLATES / f"{name}.jinja").read_text())
    tokenizer.add_special_tokens({"additional_special_tokens": family.control})
    tokenizer.eos_token = family.eos
    tokenizer.bos_token = family.bos or None
    return tokenizer


TOKENIZERS = {name: tokenizer_of(name) for name in FAMILIES}
# As Llama 3's own: line ends are one piece, whatever follows them.
TOKENIZERS["llama3"].backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Split(Regex(r"\s*[\r\n]+"), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
)


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict:
    return {"role": "assistant", "content": text}


def whole(messages: list[dict], *indices: int) -> list[Span]:
    """Spans over the whole of some messages."""
    roles = {"assistant": "answer", "tool": "tool_result"}
    return [
        Span(message=i, start=0, end=len(m["content"]), role=roles[m["role"]])
        for i, m in enumerate(messages)
        if i in indices
    ]


def rendered(name: str, messages: list[dict], *indices: int) -> Rendered:
    return render(TOKENIZERS[name], messages, whole(messages, *indices), SpanWeights())


def refusal(name: str, messages: list[dict], *indices: int) -> str:
    with pytest.raises(SpanError) as caught:
        rendered(name, messages, *indices)
    return caught.value.reason


def supervised(row: Rendered) -> list[str]:
    return [text for text, weight, _ in weighted_pieces(row) if weight]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_reply_and_its_end_are_supervised_behind_the_generation_prompt(name):
    family, messages = FAMILIES[name], [user("2 + 2?"), assistant("Two and two.\n#### 4")]
    row = rendered(name, messages, 1)
    assert supervised(row) == [family.inserted + "Two and two.\n#### 4" + family.turn_end]
    prompt = TOKENIZERS[name].apply_chat_template(messages[:1], add_generation_prompt=True)["input_ids"]
    assert TOKENIZERS[name].decode(prompt).endswith(family.prompt_end)
    assert row.ids[: len(prompt)] == prompt, "training sees the prompt that generation gives"
    assert row.weights.index(1.0) == len(prompt), "the reply's first token is predicted from the prompt's last"


@pytest.mark.parametrize("name", FAMILIES)
def test_rationale_and_answer_keep_their_roles(name):
    family, messages = FAMILIES[name], [user("2 + 2?"), assistant("Two and two.\n#### 4")]
    spans = [Span(message=1, start=0, end=12, role="rationale"), Span(message=1, start=12, end=19, role="answer")]
    row = render(TOKENIZERS[name], messages, spans, SpanWeights(rationale=0.5, answer=2.0))
    pieces = [piece for piece in weighted_pieces(row) if piece[1]]
    assert pieces == [
        (family.inserted + "Two and two.", 0.5, "rationale"),
        ("\n#### 4" + family.turn_end, 2.0, "answer"),
    ]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_system_message_is_kept_or_the_row_is_refused(name):
    messages = [{"role": "system", "content": "Be brief."}, user("2 + 2?"), assistant("4")]
    if FAMILIES[name].system.isupper():
        assert refusal(name, messages, 2) == FAMILIES[name].system
    else:
        row = rendered(name, messages, 2)
        assert row.text.count("Be brief.") == 1


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_can_be_asked_without_a_system_message(name):
    assert check_template(TOKENIZERS[name]).num_supervised > 0
    asked = with_mode_prompt([user("2 + 2?")], "{question}\nAnswer only.")
    row = rendered(name, [*asked, assistant("4")], 1)
    assert row.text.count("Answer only.") == 1
    assert supervised(row) == [FAMILIES[name].inserted + "4" + FAMILIES[name].turn_end]


@pytest.mark.parametrize("name", FAMILIES)
def test_reasoning_in_think_tags_is_supervised_to_the_letter(name):
    row = rendered(name, [user("2 + 2?"), assistant(THINKS)], 1)
    before = "" if name == "qwen3" else FAMILIES[name].inserted
    assert supervised(row) == [before + THINKS + FAMILIES[name].turn_end]


def test_a_tokenizer_that_cuts_the_prompt_differently_before_a_reply_is_refused():
    with pytest.raises(SpanError, match="the prompt's tokens change when the reply follows"):
        render(
            tokenizer_of("llama3"),
            [user("2 + 2?"), assistant("4")],
            whole([user("?"), assistant("4")], 1),
            SpanWeights(),
        )


def test_qwen3_writes_an_empty_think_block_itself_only_where_there_is_none():
    assert rendered("qwen3", [user("2 + 2?"), assistant(THINKS)], 1).text.count("<think>") == 1


@pytest.mark.parametrize("written", ["<think>four</think>\n#### 4", "<think>\nfour\n</think>\n#### 4", "a</think>4"])
def test_qwen3_rewrites_other_spacing_of_think_and_the_row_is_refused(written):
    assert refusal("qwen3", [user("2 + 2?"), assistant(written)], 1) == "TEXT_LOST"


def test_qwen3_strips_thinking_of_earlier_turns_and_a_row_that_supervises_them_is_refused():
    messages = [user("2 + 2?"), assistant(THINKS), user("3 + 3?"), assistant(THINKS)]
    assert refusal("qwen3", messages, 1, 3) == "NOT_PREFIX_PRESERVING"
    row = rendered("qwen3", messages, 3)
    assert supervised(row) == [THINKS + "<|im_end|>"]
    assert row.text.count("<think>") == 1, "as generation would see it"


@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "qwen3"])
def test_two_supervised_turns_each_end_supervised(name):
    family = FAMILIES[name]
    messages = [user("2 + 2?"), assistant("#### 4"), user("3 + 3?"), assistant("#### 6")]
    ends = [family.inserted + f"#### {n}" + family.turn_end for n in (4, 6)]
    assert supervised(rendered(name, messages, 1, 3)) == ends


@pytest.mark.parametrize("name", ["smollm2", "qwen2_5", "llama3", "mistral_v0_3"])
def test_tool_results_weigh_nothing_and_both_replies_end(name):
    family = FAMILIES[name]
    messages = [user("2 + 2?"), assistant("call"), {"role": "tool", "content": "four"}, assistant("It is 4")]
    ends = [family.inserted + text + family.turn_end for text in ("call", "It is 4")]
    assert supervised(rendered(name, messages, 1, 2, 3)) == ends


def test_qwen3_keeps_thinking_between_tool_calls_and_refuses_calls_without_it():
    tool = {"role": "tool", "content": "four"}
    thinking = [user("2 + 2?"), assistant("<think>\nadd\n</think>\n\ncall"), tool, assistant(THINKS)]
    assert supervised(rendered("qwen3", thinking, 1, 2, 3)) == [
        "<think>\nadd\n</think>\n\ncall<|im_end|>",
        THINKS + "<|im_end|>",
    ]
    assert refusal("qwen3", [user("2 + 2?"), assistant("call"), tool, assistant("4")], 1, 3) == "NOT_PREFIX_PRESERVING"


@pytest.mark.parametrize("name", ["gemma2", "gemma3", "mistral_v0_1"])
def test_roles_that_a_template_does_not_know_are_refused(name):
    messages = [user("2 + 2?"), assistant("call"), {"role": "tool", "content": "four"}, assistant("It is 4")]
    assert refusal(name, messages, 1, 3) == "TEMPLATE"


@pytest.mark.parametrize("name", ["phi3", "phi4"])
def test_a_role_that_a_template_drops_is_refused(name):
    messages = [user("2 + 2?"), assistant("call"), {"role": "tool", "content": "four"}, assistant("It is 4")]
    assert refusal(name, messages, 1, 2, 3) == "TEXT_LOST"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_control_token_of_the_family_is_refused_in_text(name):
    for token in FAMILIES[name].control:
        assert refusal(name, [user(f"2 + 2? {token}"), assistant("4")], 1) == "SPECIAL_TOKEN"


def test_text_that_the_template_itself_writes_is_no_reply():
    assert refusal("qwen3", [user("Why?"), assistant("</think>")], 1) == "TEXT_LOST"


@pytest.mark.parametrize(("name", "content"), [("qwen3", "think"), ("qwen3", "</think"), ("smollm2", "im_end")])
def test_a_reply_that_the_template_s_own_text_holds_is_found_behind_it(name, content):
    (text,) = supervised(rendered(name, [user("Why?"), assistant(content)], 1))
    assert text == FAMILIES[name].inserted + content + FAMILIES[name].turn_end


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=30))
def test_any_reply_is_supervised_whole_or_refused(name, content):
    try:
        row = rendered(name, [user("Why?"), assistant(content)], 1)
    except SpanError:
        return
    (text,) = supervised(row)
    family = FAMILIES[name]
    assert text in (
        family.inserted + kept + family.turn_end for kept in (content, content.strip(), content.lstrip("\n"))
    )
    ids = [i for i, weight in zip(row.ids, row.weights, strict=True) if weight]
    assert TOKENIZERS[name].decode(ids) == text
