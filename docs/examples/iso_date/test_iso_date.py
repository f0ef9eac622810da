"""The verifier agrees with its labelled cases: pytest iso_date"""

from pathlib import Path

from rdistill.verifiers.cases import run_cases

VERIFIER = Path(__file__).parent / "iso_date.py"


def test_every_case_is_judged_right():
    found = run_cases(f"{VERIFIER}:IsoDate")
    assert found["wrong"] == []
