"""Options and hostile input of the format and tool_call verifiers; their cases.jsonl hold the rest."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdistill.verifiers.format import Format
from rdistill.verifiers.tool_call import ToolCall

from rdistill.records import Reason, Status
from rdistill.verifiers.cases import to_pair

TOOLS = [
    {"name": "add", "parameters": {"properties": {"a": {"type": "int"}, "b": {"type": "float"}}, "required": ["a"]}}
]
CALLS = [{"name": "add", "arguments": {"a": 1, "b": 2.5}}]
GOLD = {"tools": TOOLS, "calls": CALLS, "ordered": False}


def test_format_options(make):
    pair = make(None, "Because it is so.\n=> 7")
    assert Format(marker="=>").check(*pair).status is Status.PASS
    assert Format().check(*pair).reason is Reason.FORMAT
    assert Format(marker="=>", min_rationale_chars=50).check(*pair).status is Status.FAIL
    assert Format(marker="=>", max_rationale_chars=5).check(*pair).status is Status.FAIL
    with pytest.raises(ValueError, match="marker"):
        Format(marker="")


def test_format_counts_all_turns_of_a_trace(make):
    turns = [
        {"role": "assistant", "content": "I add them."},
        {"role": "tool", "content": "7"},
        {"role": "assistant", "content": "#### 7"},
    ]
    assert Format().check(*make(None, "#### 7", messages=turns, mode="tool_trace")).status is Status.PASS


def test_calls_may_stand_in_the_messages(make):
    function = {"name": "add", "arguments": json.dumps(CALLS[0]["arguments"])}
    turns = [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]}
    ]
    assert ToolCall().check(*make(GOLD, "", messages=turns)).status is Status.PASS


def test_openai_style_tools_are_read(make):
    gold = {**GOLD, "tools": [{"type": "function", "function": TOOLS[0]}]}
    assert ToolCall().check(*make(gold, json.dumps(CALLS))).status is Status.PASS
    verdict = ToolCall().check(*make(gold, json.dumps([{"name": "add", "arguments": {"a": "1"}}])))
    assert verdict.reason is Reason.BAD_TOOL_CALL and "not of type" in verdict.detail


def test_overlapping_accepted_values_are_matched_whichever_comes_first(make):
    wide, narrow = {"name": "f", "accepted": {"x": [1, 2]}}, {"name": "f", "accepted": {"x": [1]}}
    answers = [{"name": "f", "arguments": {"x": x}} for x in (1, 2)]
    for calls in ([wide, narrow], [narrow, wide]):
        assert ToolCall().check(*make({"calls": calls}, json.dumps(answers))).status is Status.PASS


@pytest.mark.parametrize(
    "gold",
    [
        {"calls": 3},
        {"calls": [{"name": "f"}]},
        {"calls": [{"name": "f", "accepted": {"x": 1}}]},
        {
            "tools": [{"name": "f", "parameters": {"properties": {"x": {"$ref": "http://localhost:1/x"}}}}],
            "calls": [{"name": "f", "arguments": {"x": 2}}],
        },
        {"tools": [{"name": "f", "parameters": {"type": "object", "required": "x"}}] * 2 + [3], "calls": CALLS},
    ],
)
def test_gold_that_cannot_be_used_is_unverifiable(make, gold):
    answer = [{"name": "f", "arguments": {"x": 1}}]
    verdict = ToolCall().check(*make(gold, json.dumps(answer)))
    assert (verdict.status, verdict.reason) == (Status.UNVERIFIABLE, Reason.BAD_GOLD)


def trace(make, *turns, tools=None):
    """A trace of calls (objects) with their results, or of results alone."""
    roles = {dict: "assistant", str: "tool"}
    messages = [{"role": roles[type(t)], "content": t if isinstance(t, str) else json.dumps(t)} for t in turns]
    return make("7", "", messages=messages, mode="tool_trace", tools=tools)


def test_each_call_of_a_trace_has_run(make):
    call, check = CALLS[0], ToolCall().check
    assert check(*trace(make, call, "3", call, "3")).status is Status.PASS
    assert check(*trace(make, call, "3", "4", call, "3")).status is Status.PASS  # one result a call
    for turns in ([call], [call, "3", call], [call, call, "3"]):
        assert check(*trace(make, *turns)).detail == "a call that was never run"


@pytest.mark.parametrize(
    ("result", "line"),
    [
        ("mean 3\nerror: 0.01", None),
        ("mean 3\nerror: -1e-5", None),
        ("the error: none", None),
        ("error: 0.01", "error: 0.01"),
        ("<tool_response>\nerror: no tool 'x'\n</tool_response>", "error: no tool 'x'"),
        ("1\nerror: ZeroDivisionError: division by zero", "error: ZeroDivisionError: division by zero"),
        ("1\nerror: timed out after 5 s", "error: timed out after 5 s"),
    ],
)
def test_a_result_that_is_an_error_refuses_a_trace(make, result, line):
    verdict = ToolCall().check(*trace(make, CALLS[0], result))
    assert verdict.detail == (f"a call ended with {line!r}" if line else "1 calls")


PAIR = {"properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.mark.parametrize(
    "parameters",
    [
        PAIR,
        {"$ref": "#/$defs/Pair", "$defs": {"Pair": PAIR}},
        {"allOf": [PAIR]},
        {"anyOf": [PAIR, {"required": ["c"]}]},
        {"oneOf": [PAIR, {"required": ["c"]}]},
        {"allOf": [PAIR], "properties": {"c": {}}},
    ],
)
def test_what_a_schema_declares_anywhere_is_known_and_nothing_else(make, parameters):
    def detail(arguments):
        call = {"name": "add", "arguments": arguments}
        return ToolCall().check(*trace(make, call, "3", tools=[{"name": "add", "parameters": parameters}])).detail

    assert detail({"a": 1}) == "1 calls"
    assert "'b' was unexpected" in detail({"a": 1, "b": 2})
    assert detail({"a": "1"}) != "1 calls"


@pytest.mark.parametrize(
    "tools", [[3], [{"name": 3}], [{"name": "f", "parameters": []}, *TOOLS, {"name": "g", "parameters": [3]}]]
)
def test_tools_that_cannot_be_read_are_a_bad_gold(make, tools):
    for bad in (tools, [{"name": "f", "parameters": {"type": "object", "required": [3]}}]):
        verdict = ToolCall().check_gold(*make({"tools": bad, "calls": CALLS}, "x"))
        assert (verdict.status, verdict.reason) == (Status.UNVERIFIABLE, Reason.BAD_GOLD)
    assert ToolCall().check_gold(*make(GOLD, "x")).status is Status.PASS


def test_tools_of_a_trace_are_looked_at_too(make):
    bad = [{"name": "f", "parameters": {"required": [3]}}]
    assert ToolCall().check_gold(*make("7", "x", tools=bad, mode="tool_trace")).reason is Reason.BAD_GOLD
    assert ToolCall().check_gold(*make("7", "x", tools=TOOLS, mode="tool_trace")).status is Status.PASS


def test_the_gold_has_the_last_word(make):
    tools = [{"name": "add", "parameters": {"$ref": "http://localhost:1/x"}}]
    for gold in ({**GOLD, "tools": tools}, {**GOLD, "calls": [{"name": "add", "arguments": {"a": "1"}}]}):
        assert ToolCall().check(*make(gold, json.dumps(gold["calls"]))).status is Status.PASS


@pytest.mark.parametrize("gold", ["7", None, 7, ["add"], {"call": CALLS}, [{"add": {"a": [1]}}], json.dumps(CALLS)])
def test_a_gold_without_calls_is_refused_before_any_reply(make, gold):
    for judged in (ToolCall().check, ToolCall().check_gold):
        verdict = judged(*make(gold, "#### 7"))
        assert (verdict.status, verdict.reason) == (Status.UNVERIFIABLE, Reason.BAD_GOLD)
        assert any(word in verdict.detail for word in ('write {"calls"', "gold_format: json"))


OPENAI = [{"type": "function", "function": {"name": c["name"], "arguments": json.dumps(c["arguments"])}} for c in CALLS]


@pytest.mark.parametrize("mode", ["rationale", "tool_trace"])
@pytest.mark.parametrize("gold", [CALLS, CALLS[0], OPENAI, OPENAI[0]])
def test_a_plain_list_of_calls_is_expected_calls(make, gold, mode):
    right, wrong = json.dumps(CALLS[:1]), json.dumps([{**CALLS[0], "name": "other"}])
    gold = gold[:1] if isinstance(gold, list) else gold
    assert ToolCall().check_gold(*make(gold, "", mode=mode)).status is Status.PASS
    assert ToolCall().check(*make(gold, right, mode=mode)).status is Status.PASS
    assert ToolCall().check(*make(gold, wrong, mode=mode)).status is Status.FAIL
    assert ToolCall().check(*make([], right, mode=mode)).status is Status.FAIL
    assert ToolCall().check(*make([], "No call is needed.", mode=mode)).status is Status.PASS


def test_a_damaged_list_of_calls_is_refused_even_for_a_trace(make):
    for gold in ([*CALLS, {"name": "f"}], [*CALLS, 3], json.dumps(CALLS), json.dumps({"calls": CALLS})):
        assert ToolCall().check_gold(*make(gold, "x", mode="tool_trace")).reason is Reason.BAD_GOLD
    for gold in ("[1, 2]", [1, 2], {"answer": 7}, "{'name'", [{"name": "Alice", "age": 3}]):
        assert ToolCall().check_gold(*make(gold, "x", mode="tool_trace")).detail == "no expected calls"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=500, deadline=None)
@given(JSON, st.sampled_from(["list", "tags", "call"]))
def test_no_json_value_breaks_it(value, form):
    body = {"name": "add", "arguments": value} if form == "call" else value
    text = json.dumps([body]) if form == "list" else f"<tool_call>{json.dumps(body)}</tool_call>"
    problem, sample = to_pair({"id": "x", "gold": GOLD, "answer": "x"})
    sample = sample.model_copy(update={"messages": [{"role": "assistant", "content": text}]})
    assert ToolCall().check(problem, sample).status in (Status.FAIL, Status.PASS)
