"""Verifiers of other distributions, by their entry points: listed unimported, and never in the place of ours."""

import json
import subprocess
import sys

import pytest

from rdistill.config import VerifierSpec
from rdistill.errors import ConfigError
from rdistill.records import Status
from rdistill.verifiers import registry

CODE = """
from pathlib import Path
from rdistill.verifiers import passed

Path(__file__).with_name("imported").touch()

class Others:
    name, version = "others", "7"
    def check(self, problem, sample):
        return passed(self, sample, __name__)
"""
POINTS = """[rdistill.verifiers]
others = others_verifier:Others
math = others_verifier:Others
gone = others_verifier_that_is_gone:Others
lacking = others_verifier:Lacking
"""
CASE = {"id": "a", "gold": "7", "answer": "So 8.\n#### 8", "expected": "fail"}


@pytest.fixture(params=[0, 1000])
def others(request, tmp_path, monkeypatch):
    """A distribution on sys.path, before ours or after it; returns the file that its import makes."""
    info = tmp_path / "other_verifiers-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other_verifiers\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text(POINTS)
    (tmp_path / "others_verifier.py").write_text(CODE)
    (tmp_path / "cases.jsonl").write_text(json.dumps(CASE))
    path = list(sys.path)
    path.insert(request.param, str(tmp_path))
    monkeypatch.setattr(sys, "path", path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "imported"


def cli(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "rdistill.cli", "verifiers", *arguments], capture_output=True, text=True
    )


def test_they_are_listed_with_their_distribution_and_not_imported(others):
    done = cli("list", "--json")
    rows = {row["name"]: (row["package"], row["version"]) for row in json.loads(done.stdout)}
    assert rows["gone"] == rows["others"] == ("other_verifiers", "2.5")
    assert rows["math"][0] == "rdistill", "a first-party name is not taken"
    assert not others.exists()


def test_one_that_is_not_named_is_not_imported(others, make, judge_all):
    [[verdict]] = judge_all([VerifierSpec(name="math")], [make("7", "#### 8")])
    assert verdict.status is Status.FAIL and verdict.version != "7"
    assert not others.exists()


def test_one_that_is_named_is_imported_in_a_process_of_its_own(others, make, judge_all):
    specs = [VerifierSpec(name="math"), VerifierSpec(name="others")]
    [[ours, theirs]] = judge_all(specs, [make("7", "#### 8")])
    assert ours.status is Status.FAIL
    assert (theirs.verifier, theirs.version, theirs.detail) == ("others", "7", "others_verifier")
    assert others.exists() and "others_verifier" not in sys.modules
    assert not registry.is_first_party("others") and registry.is_first_party("math")


def test_it_is_tested_by_its_name_on_cases_beside_it(others):
    done = cli("test", "others", "--json")
    assert json.loads(done.stdout)["wrong"] == ["a"], done.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone", "'gone': its package 'others_verifier_that_is_gone' is not installed"),
        ("lacking", "failed to import: AttributeError"),
        ("other", "did you mean 'others'"),
    ],
)
def test_one_that_cannot_be_had_is_one_sentence(others, name, words):
    done = cli("test", name)
    assert done.returncode in (2, 4) and words in done.stderr and done.stderr.count("\n") == 1


def test_an_unknown_name_lists_theirs_among_ours(others):
    with pytest.raises(ConfigError, match=r"known: .*gone.*math.*others"):
        registry.require("nothing_like_it")
