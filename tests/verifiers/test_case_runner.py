"""`rdistill verifiers list|test`: what they count."""

import json

import pytest

from rdistill.errors import ConfigError, DataError
from rdistill.verifiers.cases import list_verifiers, run_cases


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


@pytest.mark.parametrize("line", ["", "{", '{"id": 1}', "[]", '{"id": 1, "gold": 1, "answer": "1", "expected": "yes"}'])
def test_a_bad_case_file_is_named(tmp_path, line):
    path = tmp_path / "cases.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=r"cases\.jsonl"):
        run_cases("math", path)


def test_unknown_names_and_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="known"):
        run_cases("maths_of_sorts")
    with pytest.raises(DataError, match="--cases"):
        run_cases("math", tmp_path / "none.jsonl")
