"""`rdistill verifiers new`: what it writes works at once, and nothing is overwritten."""

import subprocess
import sys

import pytest

from rdistill.errors import ConfigError
from rdistill.verifiers.cases import run_cases
from rdistill.verifiers.skeleton import write_skeleton

CLI = (sys.executable, "-m", "rdistill.cli")


def test_a_new_verifier_judges_its_cases_right(tmp_path):
    written = write_skeleton("iso_date", tmp_path)
    assert written == f"{tmp_path}/iso_date/iso_date.py:IsoDate"
    found = run_cases(written)
    assert found["wrong"] == [] and found["n"] == 6
    assert (found["true_accepted"], found["false_accepted"]) == (1, 0)


def test_its_own_test_passes(tmp_path):
    write_skeleton("iso_date", tmp_path)
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "iso_date"], cwd=tmp_path)
    assert done.returncode == 0


def test_command_writes_below_the_current_folder(tmp_path):
    done = subprocess.run([*CLI, "verifiers", "new", "short"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "rdistill verifiers test short/short.py:Short" in done.stdout
    assert sorted(p.name for p in (tmp_path / "short").iterdir()) == ["cases.jsonl", "short.py", "test_short.py"]
    again = subprocess.run([*CLI, "verifiers", "new", "short"], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 2 and "exists" in again.stderr


@pytest.mark.parametrize("name", ["math", "class", "Upper", "../up", "a b", "", "1st", "a" * 60])
def test_names_that_cannot_be_are_refused(tmp_path, name):
    with pytest.raises(ConfigError):
        write_skeleton(name, tmp_path)
    assert not list(tmp_path.iterdir())
