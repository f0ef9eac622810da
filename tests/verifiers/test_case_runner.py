"""`rdistill verifiers list|test`: what they count."""

import json
import re

import pytest

from rdistill.errors import ConfigError, DataError
from rdistill.verifiers.cases import list_verifiers, read_cases, run_cases


def write(path, *rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def case(name, gold, answer, expected):
    return {"id": name, "gold": gold, "answer": answer, "expected": expected}


def test_first_party_verifiers_are_listed_with_their_distribution():
    assert {"math", "format", "tool_call"} <= {name for name, dist, _ in list_verifiers() if dist == "rdistill"}


def test_rates_are_shares_of_their_class(tmp_path):
    rows = [
        case("right", "7", "#### 7", "pass"),
        case("missed", "7", "#### 8", "pass"),
        case("refused", "7", "#### 8", "fail"),
        case("fooled", "7", "#### 7", "fail"),
        case("refused too", "7", "#### 9", "fail"),
        case("bad gold", "nan", "#### 9", "fail"),
    ]
    result = run_cases("math", write(tmp_path / "cases.jsonl", *rows))
    assert result.pop("per_s") > 0
    why = result.pop("why")
    assert (
        list(why) == result["wrong"]
        and why["missed"].startswith("fail WRONG_ANSWER")
        and why["fooled"].startswith("pass OK")
    )
    assert result == {
        "n": 6,
        "true_accepted": 0.5,
        "false_accepted": 0.25,
        "unverifiable": 0.1667,
        "wrong": ["missed", "fooled"],
        "unreadable": {},
    }


def test_options_reach_the_verifier(tmp_path):
    path = write(tmp_path / "cases.jsonl", case("loose", "7", "The answer is 7.", "pass"))
    assert run_cases("math", path)["true_accepted"] == 1.0
    assert run_cases("math", path, {"strict": True})["true_accepted"] == 0.0


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ('{"id": 1, "gold": 1, "answer": "1"}', "expected is missing; add it"),
        ('{"id": 1, "gold": 1, "answer": "1", "expected": "yes"}', """expected="yes": expected 'pass' or 'fail'"""),
        ('{"id": 1, "gold": 1, "expected": "pass"}', "neither an answer nor messages"),
        ('{"id": 1, "gold": 1, "answer": "\\ud800", "expected": "pass"}', "lone surrogate"),
        ('{"id": 1, "gold": NaN, "answer": "1", "expected": "pass"}', "NaN is not JSON"),
        ('{"id": 1, "gold": 1, "answer": "1", "answer": "2", "expected": "pass"}', "key 'answer' stands twice"),
        ('{"id": 1, "gold": 1, "messages": "hi", "expected": "pass"}', "messages"),
        ('{"id": 1, "gold": 1, "messages": [{"content": "x"}], "expected": "pass"}', "messages.0.role is missing"),
        ('{"id": 1, "gold": 1, "answer": "1", "mode": "loud", "expected": "pass"}', 'mode="loud": expected '),
        (
            '{"id": 1, "gold": 1, "answer": "1", "finish_reason": 3, "expected": "pass"}',
            "finish_reason=3: expected text; put it in quotes",
        ),
        ('{"id": 1, "gold": 1, "answer": "\udcff", "expected": "pass"}', "'utf-8' codec can't decode byte 0xff"),
        (f'{{"id": 1, "gold": {"9" * 5000}, "answer": "1", "expected": "pass"}}', "a number of 5000 digits"),
        (f'{{"id": 1, "gold": {"[" * 101 + "]" * 101}, "answer": "1", "expected": "pass"}}', "deeper than 100 levels"),
    ],
)
def test_a_row_that_cannot_be_read_is_unverifiable_and_alone(tmp_path, line, part):
    path = tmp_path / "cases.jsonl"
    rows = [json.dumps(case(name, "7", "So 7.\n#### 7", "pass")) for name in ("before", "after")]
    path.write_text("\n".join([rows[0], line, rows[1]]), errors="surrogateescape")
    found = run_cases("format", path)
    assert (found["n"], found["unverifiable"], list(found["unreadable"])) == (3, 0.3333, ["1"])
    assert part in found["unreadable"]["1"]
    is_missed = '"expected": "pass"' in line  # what it should have been is known, so it is one that did not pass
    assert found["true_accepted"] == (0.6667 if is_missed else 1.0) and found["wrong"] == [1] * is_missed
    assert json.loads(json.dumps(found)) and "\n" not in found["unreadable"]["1"]
    with pytest.raises(DataError, match=f"{re.escape(str(path))}, 1: not a case .*{re.escape(part)}"):
        read_cases(path)


def test_a_row_is_called_by_its_line_where_it_has_no_id_of_its_own(tmp_path):
    path = tmp_path / "cases.jsonl"
    ids = [1.5, [1], True, "a", "a", 1, "1", "x" * 201, float("nan"), "\ud800"]
    rows = [case(row_id, "7", "#### 8", "pass") for row_id in ids] + [{"gold": "7", "answer": "7", "expected": "pass"}]
    found = run_cases("math", write(path, *rows))
    lines = {n: f"line {n}" for n in range(12)}
    expected = [1.5, lines[2], lines[3], "a", "a, line 5", 1, "1, line 7", lines[8], "NaN", "?"]
    assert found["wrong"] == expected, "the last row has no id, and is right"
    assert set(found["unreadable"]) == {"NaN", "?"} and len(found["why"]) == 10


def test_rows_that_are_only_unusual_are_judged(tmp_path):
    deep, many = "[" * 60 + "]" * 60, "9" * 500
    rows = [
        f'{{"id": "deep", "gold": {deep}, "answer": "#### 1", "expected": "fail"}}',
        f'{{"id": "digits", "gold": {many}, "answer": "#### {many}", "expected": "pass"}}',
        f'{{"id": "other digits", "gold": {many}, "answer": "#### {many[:-1]}8", "expected": "fail"}}',
    ]
    (tmp_path / "cases.jsonl").write_text("\n".join(rows))
    found = run_cases("math", tmp_path / "cases.jsonl")
    assert (found["true_accepted"], found["false_accepted"], found["unreadable"]) == (1.0, 0.0, {})


def test_a_row_that_is_too_long_leaves_the_others(tmp_path):
    rows = [case("long", "7", "x" * (1 << 24), "fail"), case("right", "7", "#### 7", "pass")]
    found = run_cases("math", write(tmp_path / "cases.jsonl", *rows))
    assert found["true_accepted"] == 1.0 and found["false_accepted"] == 0.0 and found["unverifiable"] == 0.5
    assert "at most 16777216" in found["unreadable"]["long"]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_is_read_as_rows(tmp_path, mark, indent):
    rows = [case("a, b", "7", "]\u00e4\n#### 7", "pass"), case("odd", "7", "\ud800", "fail"), {"gold": 10**5000 % 7}]
    (tmp_path / "cases.json").write_text(mark + json.dumps(rows, indent=indent) + "\n")
    found = run_cases("math", tmp_path / "cases.json")
    assert found["n"] == 3 and found["true_accepted"] == 1.0 and set(found["unreadable"]) == {"odd", "row 3"}


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    path = tmp_path / "cases.jsonl"
    path.write_text("\ufeff" + json.dumps(case("a", "7", "#### 7", "pass")), encoding="utf-8")
    assert read_cases(path) == [case("a", "7", "#### 7", "pass")]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "no cases in it; write one JSON row a line"),
        (" \n\n", "no cases in it"),
        ("\ufeff", "no cases in it"),
        ("[]", "no line of it is a JSON object; write one JSON row a line"),
        ("id,gold\n1,2\n", "no line of it is a JSON object"),
        ("[[[", "no line of it is a JSON object"),
        ("[" * 200_000, "no line of it is a JSON object"),
        ('{\n "rows": 1\n}', "no line of it is a JSON object"),
    ],
)
def test_a_file_without_rows_is_one_sentence(tmp_path, text, part):
    path = tmp_path / "cases.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=part) as caught:
        run_cases("math", path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_only_a_newline_ends_a_row(tmp_path):
    row = case("odd", "7", "Seven.\u2028\u0085\x0b\n#### 7", "pass")
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps(row, ensure_ascii=False) + "\r\n")
    assert read_cases(path) == [row]


def test_unknown_names_and_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="known"):
        run_cases("maths_of_sorts")
    with pytest.raises(DataError, match="--cases"):
        run_cases("math", tmp_path / "none.jsonl")
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_that_name\n")
    write(tmp_path / "cases.jsonl", case("1", "1", "1", "pass"))
    with pytest.raises(ConfigError, match="failed to import: ModuleNotFoundError"):
        run_cases(f"{broken}:Broken", tmp_path / "cases.jsonl")
