"""Options and hostile input of the format and tool_call verifiers; their cases.jsonl hold the rest."""

import json
import time

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
        {"calls": [{"name": "f", "arguments": [1]}]},
        {"calls": [{"name": "f", "arguments": "{x"}]},
        {"calls": [{"name": "f", "arguements": {"x": 1}}]},
        {"calls": [{"f": {"x": 1}}]},
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
    assert ToolCall().check_gold(*make({**GOLD, "tools": tools}, "")).status is Status.PASS  # nobody can say


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ({"name": "add", "arguments": {"a": "1"}}, "add.a: '1' is not of type 'integer'"),
        ({"name": "sub", "arguments": {"a": 1}}, "no tool 'sub'"),
        ({"name": "add"}, "'a' is a required property"),
        ({"name": "add", "accepted": {"a": ["1", "one"]}}, "is not of type 'integer'"),
        ({"name": "add", "accepted": {"a": [1], "c": [2]}}, "'c' was unexpected"),
        ({"name": "add", "accepted": {"a": ["1", 1], "b": ["", None], "c": [""]}}, None),
    ],
)
def test_a_gold_that_contradicts_its_own_tools_goes_into_quarantine(make, call, fault):
    verdict = ToolCall().check_gold(*make({**GOLD, "calls": [call]}, ""))
    assert verdict.reason is (Reason.BAD_GOLD if fault else Reason.OK)
    assert (fault or "") in verdict.detail


@pytest.mark.parametrize(
    ("gold", "detail"),
    [
        ({"tools": TOOLS, "state": {}}, "unknown key 'state'; known is final_state"),
        ({"tools": TOOLS, "call": CALLS}, "unknown key 'call'; known is calls"),
        ({**GOLD, "order": True}, "unknown key 'order'; known is ordered"),
        ({**GOLD, "ordered": "false"}, "expected true or false"),
        ({"tools": TOOLS}, "neither calls nor final_state"),
        ({"calls": [], "final_state": 1}, "no call is expected"),
        ({"final_state": 1}, "only a tool trace runs tools"),
    ],
)
def test_a_gold_says_nothing_that_is_ignored(make, gold, detail):
    verdict = ToolCall().check_gold(*make(gold, ""))
    assert verdict.reason is Reason.BAD_GOLD and detail in verdict.detail


GOLD_CALL = {"name": "add", "arguments": {"a": 1, "b": 2.5}}


@pytest.mark.parametrize(
    "call",
    [
        GOLD_CALL,
        {"name": "add", "arguments": json.dumps(GOLD_CALL["arguments"])},
        {"type": "function", "function": {"name": "add", "arguments": json.dumps(GOLD_CALL["arguments"])}},
        {"id": "1", "function": GOLD_CALL},
        {"add": {"a": [1, 7], "b": [2.5, ""]}},
    ],
)
def test_expected_calls_are_read_in_every_usual_form(make, call):
    gold = {"tools": TOOLS, "calls": [call], "final_state": None}
    assert ToolCall().check_gold(*make(gold, "")).status is Status.PASS
    assert ToolCall().check(*make(gold, json.dumps(GOLD_CALL))).status is Status.PASS
    assert ToolCall().check(*make(gold, json.dumps({"name": "add", "arguments": {"a": 2}}))).status is Status.FAIL


def test_a_ground_truth_alone_is_a_gold_where_its_tool_is_known(make):
    gold = [{"add": {"a": [1], "b": [2.5]}}]
    assert ToolCall().check(*make(gold, json.dumps(GOLD_CALL), tools=TOOLS)).status is Status.PASS
    assert ToolCall().check(*make(gold, json.dumps(GOLD_CALL))).reason is Reason.BAD_GOLD
    assert ToolCall().check_gold(*make([{"name": "add"}], "", tools=[{"name": "add"}])).status is Status.PASS


def state_of(make, state, *turns, calls=None, mode="tool_trace"):
    """The verdict's (status, reason) on a trace with an expected final state."""
    roles = [("assistant" if isinstance(t, list) else "tool", t) for t in turns]
    messages = [
        {
            "role": role,
            "content": "".join(f"<tool_call>{json.dumps(c)}</tool_call>" for c in t) if role != "tool" else t,
        }
        for role, t in roles
    ]
    gold = {"tools": TOOLS, "final_state": state, **({"calls": calls} if calls else {})}
    verdict = ToolCall().check(*make(gold, "", messages=messages, mode=mode))
    return verdict.status, verdict.reason


REACHED, OTHER = (Status.PASS, Reason.OK), (Status.FAIL, Reason.WRONG_ANSWER)
UNREADABLE = (Status.UNVERIFIABLE, Reason.UNPARSEABLE)


def test_the_last_result_of_a_trace_is_its_final_state(make):
    call, state = [GOLD_CALL], {"n": 1, "items": [" x"], "open": True}
    assert state_of(make, state, call, '{"items": ["x "], "open": true, "n": 1.0}', []) == REACHED
    assert state_of(make, state, call, '{"items": ["x"], "open": 1, "n": 1}', []) == OTHER
    assert state_of(make, 3, call, "4", call, "3") == REACHED
    assert state_of(make, 3, call, "error: busy", call, "3") == REACHED
    assert state_of(make, 3, call, "3", call, "4") == OTHER
    assert state_of(make, 3, call, "4", call, "error: busy") == (Status.FAIL, Reason.BAD_TOOL_CALL)
    assert state_of(make, 3, call, "3", call) == (Status.FAIL, Reason.BAD_TOOL_CALL)
    assert state_of(make, 3, []) == (Status.UNVERIFIABLE, Reason.NO_ANSWER)
    assert state_of(make, 3, call, mode="rationale") == (Status.UNVERIFIABLE, Reason.NO_ANSWER)
    assert state_of(make, 3, call, "three") == UNREADABLE
    assert state_of(make, "three", call, " three\n") == REACHED
    assert state_of(make, "3", call, "3") == REACHED
    assert state_of(make, 3, call, "<tool_response>\n3\n</tool_response>") == REACHED


def test_of_several_results_in_one_message_the_last_line_counts_if_each_has_one(make):
    calls = [GOLD_CALL, GOLD_CALL]
    assert state_of(make, 3, calls, "ok\n3") == REACHED
    assert state_of(make, 3, calls, "3\n4") == OTHER
    for torn in ("3", "3\n", "ok\nok\n3"):
        assert state_of(make, 3, calls, torn) in (UNREADABLE, OTHER)
    assert state_of(make, 3, calls, "4", "3") == REACHED


def test_expected_calls_and_final_state_must_both_hold(make):
    other = [{"name": "add", "arguments": {"a": 2}}]
    assert state_of(make, 3, [GOLD_CALL], "3", calls=CALLS) == REACHED
    assert state_of(make, 4, [GOLD_CALL], "3", calls=CALLS) == OTHER
    assert state_of(make, 3, [GOLD_CALL], "3", calls=other) == (Status.FAIL, Reason.BAD_TOOL_CALL)


ARGUMENTS = '{"a": 1, "b": 2.5}'
OTHER_FORMS = [
    f'{{"name": "add", "parameters": {ARGUMENTS}}}',
    f'{{"type": "function", "name": "add", "parameters": {ARGUMENTS}}}',
    f'[{{"name": "add", "arguments": {json.dumps(ARGUMENTS)}}}]',
    f'{{"tool_calls": [{{"name": "add", "arguments": {ARGUMENTS}}}]}}',
    f'{{"tool_calls": [{{"function": {{"name": "add", "arguments": {json.dumps(ARGUMENTS)}}}}}]}}',
    f'I will add them. [{{"name": "add", "arguments": {ARGUMENTS}}}]',
    f'[{{"add": {ARGUMENTS}}}]',
    f'<tool_call>{{"name": "add", "parameters": {ARGUMENTS}}}</tool_call>',
    "[add(a=1, b=2.5)]",
    "I will add them. [add(a=1, b=2.5)]",
    "```python\nadd(b=2.5, a=1)\n```",
]


@pytest.mark.parametrize("text", OTHER_FORMS)
def test_a_call_in_another_form_is_read_where_one_is_wanted_and_refused_where_none_is(make, text):
    assert ToolCall().check(*make(GOLD, text)).status is Status.PASS
    assert ToolCall().check(*make(GOLD, text.replace("2.5", "3"))).reason is Reason.BAD_TOOL_CALL
    assert ToolCall().check(*make({**GOLD, "calls": []}, text)).status is Status.FAIL
    unknown = ToolCall().check(*make({**GOLD, "calls": [{"name": "sum"}], "tools": [{"name": "sum"}]}, text))
    assert unknown.status is not Status.PASS


@pytest.mark.parametrize(
    "text",
    [
        f'For example: [{{"name": "add", "arguments": {ARGUMENTS}}}]',
        f'Add them:\n```json\n[{{"name": "add", "arguments": {ARGUMENTS}}}]\n```',
        f'I add. [{{"name": "add", "arguments": {ARGUMENTS}}}] Done.',
        f'{{"name": "add", "arguments": {ARGUMENTS}, "parameters": {ARGUMENTS}}}',
        f'{{"name": "add", "arguments": {ARGUMENTS}, "thought": "hm"}}',
        f'{{"tool": "add", "args": {ARGUMENTS}}}',
        f'[{{"name": "add", "arguments": {ARGUMENTS}}}, {{"tool": "add", "args": {ARGUMENTS}}}]',
        "[{'name': 'add', 'arguments': {'a': 1, 'b': 2.5}}]",
        "<tool_call>add(a=1, b=2.5)</tool_call>",
        "<function=add>{}</function>",
        "[add(1, 2.5)]",
        "[add(a=1, b=2.5, b=2.5)]",
        "[add(a=1, b=5/2)]",
        "[add(**{'a': 1, 'b': 2.5})]",
        "[add(a=1, b={'x': 1, 'x': 2})]",
        "print(add(a=1, b=2.5))",
        "It goes so:\n```python\nadd(a=1, b=2.5)\n```\nThat is all.",
        "add(a=" + "-" * 9000 + "1)",
    ],
)
def test_what_may_be_meant_as_a_call_is_neither_right_nor_wrong(make, text):
    verdict = ToolCall().check(*make(GOLD, text))
    assert (verdict.status, verdict.reason) == (Status.UNVERIFIABLE, Reason.UNPARSEABLE)
    assert ToolCall().check(*make({**GOLD, "calls": []}, text)).status is not Status.UNVERIFIABLE


def test_a_call_of_two_readings_has_none(make):
    gold = {"tools": [{"name": "function"}, {"name": "add"}], "calls": [{"name": "add", "arguments": {}}]}
    text = '{"tool_calls": [{"function": {"name": "add", "arguments": {}}}]}'
    assert ToolCall().check(*make(gold, text)).reason is Reason.UNPARSEABLE
    assert ToolCall().check(*make({**gold, "tools": gold["tools"][1:]}, text)).status is Status.PASS


@pytest.mark.parametrize(
    "text", ["<tool_call>", "add(", "[add(a=", "I look. [", "[add(), ", "add()\n", '{"name": ', "not "]
)
def test_reading_other_forms_is_linear(make, text):
    start = time.process_time()
    ToolCall().check(*make(GOLD, text * (200_000 // len(text))))
    assert time.process_time() - start < 5


def test_a_trace_runs_no_other_form(make):
    call = [{"role": "assistant", "content": "[add(a=1, b=2.5)]"}]
    assert ToolCall().check(*make(GOLD, "", messages=call)).status is Status.PASS
    assert ToolCall().check(*make(GOLD, "", messages=call, mode="tool_trace")).status is Status.UNVERIFIABLE


def test_null_arguments_are_none(make):
    gold = {"tools": [{"name": "now"}], "calls": [{"name": "now"}]}
    for text in ('{"name": "now", "arguments": null}', '<tool_call>{"name": "now", "arguments": null}</tool_call>'):
        assert ToolCall().check(*make(gold, text)).status is Status.PASS
    for text in ("now()", "[now()]", '{"now": {}}'):
        assert ToolCall().check(*make(gold, text)).status is Status.PASS
        assert ToolCall().check(*make({**gold, "calls": []}, text)).status is Status.FAIL


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
    for gold in ([*CALLS, {"arguments": {}}], [*CALLS, 3], json.dumps(CALLS), json.dumps({"calls": CALLS})):
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
    verdict = ToolCall().check(problem, sample)
    assert verdict.reason in (Reason.OK, Reason.BAD_TOOL_CALL, Reason.UNPARSEABLE)
    is_unread = form == "call" and value is not None and not isinstance(value, dict)
    assert (verdict.status is Status.UNVERIFIABLE) is (is_unread and verdict.reason is Reason.UNPARSEABLE)
