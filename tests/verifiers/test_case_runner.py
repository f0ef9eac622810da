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
    }


def test_options_reach_the_verifier(tmp_path):
    path = write(tmp_path / "cases.jsonl", case("loose", "7", "The answer is 7.", "pass"))
    assert run_cases("math", path)["true_accepted"] == 1.0
    assert run_cases("math", path, {"strict": True})["true_accepted"] == 0.0


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("", "no cases in it"),
        ("{", "not JSON"),
        ('{"id": 1, "gold": 1, "answer": "1"}', "expected is missing; add it"),
        ("[]", "a case is a JSON object"),
        ('{"id": 1, "gold": 1, "answer": "1", "expected": "yes"}', """expected="yes": expected 'pass' or 'fail'"""),
        ('{"id": 1, "gold": 1, "expected": "pass"}', "neither an answer nor messages"),
        ('{"id": [1], "gold": 1, "answer": "1", "expected": "pass"}', "id=[1]: expected text or a whole number"),
        ('{"id": 1, "gold": 1, "answer": "\\ud800", "expected": "pass"}', "lone surrogate"),
        ('{"id": 1, "gold": NaN, "answer": "1", "expected": "pass"}', "NaN is not JSON"),
        ('{"id": 1, "gold": 1, "messages": "hi", "expected": "pass"}', "messages"),
        ('{"id": 1, "gold": 1, "messages": [{"content": "x"}], "expected": "pass"}', "messages.0.role is missing"),
        ('{"id": 1, "gold": 1, "answer": "1", "mode": "loud", "expected": "pass"}', 'mode="loud": expected '),
        (
            '{"id": 1, "gold": 1, "answer": "1", "finish_reason": 3, "expected": "pass"}',
            "finish_reason=3: expected text; put it in quotes",
        ),
        ('{"id": 1, "gold": 1, "answer": "\udcff", "expected": "pass"}', "'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_a_bad_case_is_named_by_its_line(tmp_path, line, part):
    path = tmp_path / "cases.jsonl"
    path.write_text("\n" + line + "\n", errors="surrogateescape")
    with pytest.raises(DataError, match=re.escape(part)) as caught:
        read_cases(path)
    assert str(caught.value).startswith(f"{path}, line 2: not a case" if line else f"{path}: ")
    assert "\n" not in str(caught.value)


def test_only_a_newline_ends_a_row(tmp_path):
    row = case("odd", "7", "Seven.\u2028\u0085\x0b\n#### 7", "pass")
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps(row, ensure_ascii=False) + "\r\n")
    assert read_cases(path) == [row]


def test_an_id_that_stands_twice_is_refused(tmp_path):
    path = write(
        tmp_path / "cases.jsonl", case("a", "7", "#### 7", "pass"), *[case(n, "7", "7", "pass") for n in (1, "1")]
    )
    with pytest.raises(DataError, match=r"cases.jsonl, line 3: id '1' stands in line 2 too; name each case once"):
        read_cases(path)


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
