"""Options, limits and hostile schemas of the json_schema verifier; its cases.jsonl hold the rest."""

import json
import socket
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from rdistill.verifiers.json_schema import JsonSchema
from rdistill.verifiers.json_schema.schema import SchemaError, compile_schema, python_pattern

from rdistill.config import VerifierSpec
from rdistill.errors import ConfigError
from rdistill.records import Reason, Status
from rdistill.verifiers import registry
from rdistill.verifiers.cases import to_pair

META = "https://json-schema.org/draft/2020-12/schema"
POINT = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYWORDS = st.sampled_from(
    ["type", "$ref", "$id", "$schema", "$defs", "items", "properties", "pattern", "patternProperties", "allOf", "not",
     "enum", "minimum", "multipleOf", "required", "$dynamicRef", "$anchor", "unevaluatedProperties"]
)  # fmt: skip


def test_schema_option_goes_before_the_gold(make):
    verifier = JsonSchema(schema=POINT)
    assert verifier.check(*make("7", '{"x": 1}')).status is Status.PASS
    assert verifier.check(*make("7", '{"y": 1}')).reason is Reason.WRONG_ANSWER


def test_a_schema_option_that_cannot_be_used_is_a_config_error():
    with pytest.raises(ConfigError, match="leaves the schema"):
        registry.create("json_schema", {"schema": {"$ref": "https://example.com/x"}})


@pytest.mark.parametrize(("allow", "status"), [(True, "pass"), (False, "fail"), (None, "unverifiable")])
def test_a_fence_is_accepted_or_refused_on_request(make, allow, status):
    for text in ('Here.\n#### ```json\n{"x": 1}\n```', '```\n{"x": 1}\n```'):
        verdict = JsonSchema(allow_fence=allow).check(*make(POINT, text))
        assert (verdict.status, verdict.reason) == (status, Reason.OK if allow else Reason.UNPARSEABLE)
    assert JsonSchema(allow_fence=allow).check(*make(POINT, '```\n{"x": 1}')).status is Status.FAIL
    assert JsonSchema(allow_fence=allow).check(*make(POINT, '```\n{"y": 1}\n```')).status is Status.FAIL
    assert JsonSchema(allow_fence=allow).check(*make(POINT, "```\nx: 1\n```")).status is Status.FAIL


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("9" * 401, "unverifiable"),
        ("[" * 40 + "]" * 40, "unverifiable"),
        ("[" * 5000 + "]" * 5000, "unverifiable"),
        ("1e999", "unverifiable"),
        ("[" + "1," * 40_000 + "1]", "unverifiable"),
        ("So.\n#### " + "9" * 401, "unverifiable"),
        ("[" * 40, "fail"),
        ("x" * 70_000, "fail"),
        ("[" * 40 + '{"a": 1, "a": 2}' + "]" * 40, "fail"),
        ("[" * 40 + "NaN" + "]" * 40, "fail"),
        ('"\\ud800"', "fail"),
    ],
)
def test_json_that_only_a_limit_refuses_is_not_wrong(make, text, status):
    verdict = JsonSchema().check(*make(True, text))
    assert (verdict.status, verdict.reason) == (status, Reason.UNPARSEABLE)


def test_the_metaschema_is_at_hand(make):
    for _ in range(2):  # patterns are made ours in place, of copies
        compile_schema({"$ref": META, "title": str(_)})
        assert JsonSchema().check(*make({"$ref": META}, '{"type": "object", "$id": "a"}')).status is Status.PASS
        for wrong in ('{"type": "objekt"}', '{"$id": "a#b"}', '{"properties": {"a": 3}}', '{"$anchor": "1"}'):
            assert JsonSchema().check(*make({"$ref": META}, wrong)).reason is Reason.WRONG_ANSWER
    assert Draft202012Validator(True).is_valid(3)
    Draft202012Validator.check_schema({"$anchor": "a"})


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [True]}, "only draft 2020-12 is read"),
        ({"$ref": "http://json-schema.org/draft-07/schema#"}, "leaves the schema"),
        ({"pattern": "^\\p{L}+$"}, r"\p{L} is a property of Unicode, which is not supported"),
        ({"pattern": "[\\P{Lu}]"}, r"\P{Lu} is a property"),
        ({"pattern": "a{2}+"}, "not ECMA-262's"),
    ],
)
def test_a_refused_schema_says_why(make, schema, reason):
    verdict = JsonSchema().check_gold(*make(schema, ""))
    assert verdict.reason is Reason.BAD_GOLD and reason in verdict.detail


def test_an_escaped_backslash_before_a_p_is_no_property(make):
    assert JsonSchema().check(*make({"pattern": "^\\\\p{2}$"}, json.dumps("\\pp"))).status is Status.PASS


def test_a_verdict_names_the_place(make):
    verdict = JsonSchema().check(*make({"items": {"required": ["x"]}}, '[{"x": 1}, {}]'))
    assert verdict.detail == "answer[1]: 'x' is a required property"


def test_gold_is_checked_without_an_answer(make):
    assert JsonSchema().check_gold(*make(POINT, "")).status is Status.PASS
    assert JsonSchema().check_gold(*make({"type": "text"}, "")).reason is Reason.BAD_GOLD


def test_nothing_is_fetched(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    for reference in ("http://localhost:1/x", "//localhost/x", "file:///etc/passwd", "x.json", "urn:x", "#/nowhere"):
        for schema in (
            {"$ref": reference},
            {"not": {"$dynamicRef": reference}},
            {"then": {"items": {"$ref": reference}}},
        ):
            with pytest.raises(SchemaError, match="leaves the schema"):
                compile_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"type": "string"}] * 5001},
        {"enum": ["x" * 70_000]},
        {"properties": {"a": {"pattern": "(" * 300}}},
        {"patternProperties": {"[": {}}},
        {"pattern": "\\p{L}"},
        {"$vocabulary": 3},
        {"properties": []},
        {"$schema": "https://json-schema.org/draft/2019-09/schema"},
    ],
)
def test_schemas_that_cannot_be_used(schema):
    with pytest.raises(SchemaError):
        compile_schema(schema)


def test_deep_schemas_are_refused():
    schema: dict = {}
    for _ in range(2000):
        schema = {"not": schema}
    with pytest.raises(SchemaError):
        compile_schema(schema)


def test_a_schema_or_pattern_that_takes_for_ever_is_ended(judge_all):
    doubling = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(30)}
    rows = [
        ({"$defs": {**doubling, "d30": True}, "$ref": "#/$defs/d0"}, "1"),
        ({"pattern": "^(a+)+$"}, json.dumps("a" * 40 + "b")),
        (POINT, '{"x": 1}'),
    ]
    pairs = [to_pair({"id": str(i), "gold": gold, "answer": answer}) for i, (gold, answer) in enumerate(rows)]
    start = time.monotonic()
    found = [verdicts[0] for verdicts in judge_all([VerifierSpec(name="json_schema")], pairs, timeout_s=1)]
    assert [v.reason for v in found] == [Reason.TIMEOUT, Reason.TIMEOUT, Reason.OK]
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("a$", "a\n", False),
        ("\\$", "$", True),
        ("[$]", "$", True),
        ("[\\]$]", "$", True),
        ("(?<year>\\d+)", "12", True),
        ("(?<=a)b", "ab", True),
        ("^\\w$", "é", False),
    ],
)
def test_patterns_mean_what_ecma_says(pattern, text, matches):
    import re

    assert (re.search(python_pattern(pattern), text) is not None) is matches


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(KEYWORDS, JSON, max_size=4), JSON)
def test_no_schema_and_no_value_break_it(schema, value):
    problem, sample = to_pair({"id": "x", "gold": None, "answer": json.dumps(value)})
    verdict = JsonSchema().check(problem.model_copy(update={"gold": schema}), sample)
    assert verdict.reason in (Reason.OK, Reason.BAD_GOLD, Reason.WRONG_ANSWER, Reason.UNPARSEABLE, Reason.NO_ANSWER)
