"""Tools and their text protocol: exact results, short errors, and no hostile text that breaks them."""

import asyncio
import contextlib
import json
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdistill.config import SandboxConfig
from rdistill.errors import ConfigError, PrerequisiteError
from rdistill.strict_json import loads_strict
from rdistill.tools import (
    CalculatorError,
    ToolCallError,
    evaluate_expression,
    format_number,
    format_tool_call,
    make_tools,
    parse_tool_calls,
)


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("( 84.0 / 2.0 )", "42"), ("1/3", "0.3333333333"), ("2 / 8", "0.25"), ("0.1 + 0.2", "0.3"), ("-2 ** 2", "-4"),
        ("2 ** -1", "0.5"), ("2 ** 3 ** 2", "512"), ("7 // 2", "3"), ("-7 % 3", "2"), ("1,234 * 2", "2468"),
        ("3 - -3", "6"), ("1e3", "1000"), (".5 + 5.", "5.5"), ("2^10", "1024"), ("6 \u00d7 7 \u00f7 2", "21"),
        ("1 - 2 - 3", "-4"), ("(1 + 2) * (3 + 4)", "21"), ("10 ** 30", "1" + "0" * 30), ("2/3 - 2/3", "0"),
        ("(-1) ** 999999999", "-1"), ("1 ** 10 ** 300", "1"), ("0.000001", "0.000001"),
    ],
)  # fmt: skip
def test_arithmetic_is_exact(expression, result):
    assert format_number(evaluate_expression(expression)) == result


@pytest.mark.parametrize(
    "expression",
    [
        "", "  ", "1 +", "(1", "1)", "5 5", "2(3)", "1 / 0", "5 // 0", "5 % 0", "0 ** -1", "9**9**9", "10**10**10",
        "4 ** 0.5", "1,23", "1.2.3", "1e9999", "x", "__import__('os')", "'a' * 9", "1_000", "0x10", "\u0663", "nan",
        "[1]", "1 if 1 else 2",
        "(" * 100 + "1" + ")" * 100, "1 ** " * 100 + "1", "-" * 3000, "9" * 3000, "1+" * 3000 + "1", "2**4000*2**4000",
        "1 < 2", "1\x00",
    ],
)  # fmt: skip
def test_what_is_no_small_arithmetic_is_refused_at_once(expression):
    start = time.monotonic()
    with pytest.raises(CalculatorError):
        evaluate_expression(expression)
    assert time.monotonic() - start < 0.5


TREES = st.recursive(
    st.integers(0, 999).map(str) | st.decimals(0, 99, places=2).map(str),
    lambda inner: (
        st.tuples(inner, st.sampled_from("+-*/%"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        | inner.map("-{}".format)
    ),
    max_leaves=12,
)


@given(TREES)
def test_agrees_with_python_over_fractions(expression):
    in_fractions = "".join(f"F('{w}')" if w[:1].isdigit() else w for w in split_numbers(expression))
    try:
        expected = eval(in_fractions, {"F": Fraction})
    except ZeroDivisionError:
        with pytest.raises(CalculatorError, match="division by zero"):
            evaluate_expression(expression)
        return
    assert evaluate_expression(expression) == expected


def split_numbers(expression):
    return expression.replace("(", " ( ").replace(")", " ) ").replace("-", " - ").split()


@settings(max_examples=1000)
@given(st.text(alphabet="0123456789+-*/%().,eE ^", max_size=60) | st.text(max_size=30))
def test_any_text_gives_a_value_or_a_calculator_error(text):
    with contextlib.suppress(CalculatorError):
        assert format_number(evaluate_expression(text))


@given(st.fractions())
def test_numbers_print_plainly_and_close(value):
    text = format_number(value)
    assert abs(Fraction(text) - value) <= abs(value) / 10**9
    assert value.denominator != 1 or text == str(value.numerator)


# The text protocol

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(
    st.text(max_size=10),
    st.dictionaries(st.text(max_size=8), JSON, max_size=3),
    st.sampled_from(["", "let me see. ", "\n"]),
)
def test_a_formatted_call_reads_back(name, arguments, around):
    text = around + format_tool_call(name, arguments) + around
    (call,) = parse_tool_calls(text)
    assert (call.name, call.arguments) == (name, arguments)
    assert text[call.start : call.end] == format_tool_call(name, arguments)


def test_tags_inside_strings_do_not_end_a_call():
    arguments = {"code": "print('</tool_call><tool_call>')"}
    text = format_tool_call("python", arguments) * 2
    assert [call.arguments for call in parse_tool_calls(text)] == [arguments, arguments]
    assert parse_tool_calls("no call <tool> here") == []


@pytest.mark.parametrize("call", ['{"name": "a"}', '{"id": "1", "type": "function", "name": "a", "arguments": {}}'])
def test_a_call_without_arguments_and_one_with_an_id_are_read(call):
    assert [c[:2] for c in parse_tool_calls(f"<tool_call>{call}</tool_call>")] == [("a", {})]


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>", "</tool_call>", "<tool_call>{}</tool_call>", "<tool_call>[]</tool_call>",
        "<tool_call></tool_call>",
        '<tool_call>{"name": "a", "name": "b", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "a", "arguments": null}</tool_call>', '<tool_call>{"arguments": {}}</tool_call>',
        '<tool_call>{"name": "a", "arguments": "{}"}</tool_call>',
        '<tool_call>{"name": 1, "arguments": {}}</tool_call>',
        '<tool_call>{"name": "a", "arguments": {}, "x": 1}</tool_call>',
        '<tool_call>{"name": "a", "arguments": {"x": NaN}}</tool_call>',
        '<tool_call>{"name": "a", "arguments": {"x": 1e999}}</tool_call>',
        '<tool_call>{"name": "a", "arguments": {"x": ' + "9" * 5000 + "}}</tool_call>",
        '<tool_call>{"name": "a", "arguments": {"x": "\\ud800"}}</tool_call>',
        '<tool_call>{"name": "a", "arguments": {"x": ' + "[" * 50_000 + "}}</tool_call>",
        '<tool_call>{"name": "a", "arguments": {"x": "' + "y" * 70_000 + '"}}</tool_call>',
        '<tool_call>{"name": "a", "arguments": {}}</tool_call></tool_call>',
        "<tool_call><tool_call>" + '{"name": "a", "arguments": {}}' + "</tool_call></tool_call>",
        '<tool_call>{"name": "a", "arguments": {}}</tool_call>' * 100,
    ],
)  # fmt: skip
def test_malformed_calls_are_refused_with_a_reason(text):
    with pytest.raises(ToolCallError) as refusal:
        parse_tool_calls(text)
    assert 10 < len(str(refusal.value)) < 200


@settings(max_examples=1000)
@given(
    st.text(max_size=80)
    | st.lists(st.sampled_from(["<tool_call>", "</tool_call>", '{"name": "a", "arguments": {}}', "x", '"', "{"])).map(
        "".join
    )
)
def test_any_text_gives_calls_or_a_tool_call_error(text):
    with contextlib.suppress(ToolCallError):
        assert all(text[c.start :].startswith("<tool_call>") for c in parse_tool_calls(text))


@pytest.mark.parametrize("shape", ["<tool_call>", "</tool_call", "<", "<tool_call>{}", '<tool_call>{"', "[{"])
def test_time_is_linear_in_the_text(shape):
    def seconds(size):
        text, start = shape * (size // len(shape)), time.perf_counter()
        with contextlib.suppress(ToolCallError):
            parse_tool_calls(text)
        return time.perf_counter() - start

    assert seconds(1_000_000) < 0.5


@settings(max_examples=1000)
@given(st.text(alphabet='{}[]",:0123456789.eE-+ntfalsrue\\u/d8', max_size=60) | st.text(max_size=30))
def test_strict_json_agrees_with_json_or_refuses(text):
    try:
        value = loads_strict(text)
    except ValueError:
        return
    assert value == json.loads(text)


# The tools


def call(name, arguments, **limits):
    tool = make_tools([name], SandboxConfig(**limits))[name]
    return asyncio.run(tool.call(arguments))


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("calculator", {"expression": "84 / 2"}, "42"),
        ("calculator", {"expression": "1 / 0"}, "error: division by zero"),
        ("calculator", {"formula": "1"}, 'error: calculator takes exactly one argument, "expression", a string'),
        ("calculator", {"expression": 42}, 'error: calculator takes exactly one argument, "expression", a string'),
        ("python", {"code": "print(6 * 7)"}, "42"),
        ("python", {"code": "6 * 7"}, "(no output; print the result)"),
        ("python", {"code": "print(1)\n1 / 0"}, "1\nerror: ZeroDivisionError: division by zero"),
        ("python", {"code": "print('x' * 5000)"}, "x" * 2000 + " ... (cut)"),
        ("python", {"code": "bytes(1 << 40)"}, "error: a resource limit was hit"),
        ("python", {"code": ["print(1)"]}, 'error: python takes exactly one argument, "code", a string'),
    ],
)
def test_tools_answer_in_text(name, arguments, result):
    assert call(name, arguments) == result


def test_an_endless_program_is_an_error_in_text():
    assert call("python", {"code": "while True: pass"}, timeout_s=0.5) == "error: timed out after 0.5 s"


def test_a_broken_sandbox_is_not_the_models_mistake(tmp_path, monkeypatch):
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(PrerequisiteError, match="sandbox failed"):
        call("python", {"code": "print(1)"})


def test_schemas_are_valid_and_names_are_known():
    from jsonschema import Draft202012Validator

    for name, tool in make_tools(["calculator", "python"], SandboxConfig()).items():
        Draft202012Validator.check_schema(tool.schema)
        assert (tool.name, bool(tool.description)) == (name, True)
    with pytest.raises(ConfigError, match=r"'bash' is unknown; known tools: calculator, python"):
        make_tools(["bash"], SandboxConfig())
