"""`rdistill verifiers new NAME`: a folder with a working verifier, labelled cases and a test, to be edited.

NAME/NAME.py       the class, which compares answer and gold as text until its author knows better
NAME/cases.jsonl   answers whose right verdict is known
NAME/test_NAME.py  pytest: every case is judged right
"""

import json
import keyword
import re
from pathlib import Path

from rdistill.errors import ConfigError
from rdistill.run import write_durable
from rdistill.verifiers import registry

NAME = re.compile(r"[a-z][a-z0-9_]{0,40}", re.ASCII)

VERIFIER = '''\
"""Is the answer the gold text?"""

from rdistill.verifiers import Problem, Reason, Sample, Verdict, failed, passed, unverifiable


class {cls}:
    """Compares answer and gold as text. Option: `ignore_case`."""

    name = "{name}"
    version = "1"  # raise it whenever a verdict could change

    def __init__(self, *, ignore_case: bool = True) -> None:
        self.ignore_case = ignore_case

    def check(self, problem: Problem, sample: Sample) -> Verdict:
        if not isinstance(problem.gold, str) or not problem.gold.strip():
            return unverifiable(self, sample, Reason.BAD_GOLD, f"gold is {{problem.gold!r}}, expected text")
        if sample.answer is None:
            return failed(self, sample, Reason.NO_ANSWER, "nothing stands after the marker")
        if self.normal(sample.answer) == self.normal(problem.gold):
            return passed(self, sample)
        return failed(self, sample, Reason.WRONG_ANSWER, f"{{sample.answer[:80]!r}} is not {{problem.gold[:80]!r}}")

    def normal(self, text: str) -> str:
        """Text without needless blanks, and without case where it does not matter."""
        text = " ".join(text.split())
        return text.casefold() if self.ignore_case else text
'''

CASES = (
    {"id": "right", "gold": "Paris", "answer": "It is the capital of France.\n#### Paris", "expected": "pass"},
    {"id": "other_case", "gold": "Paris", "answer": "The capital.\n#### paris", "expected": "pass"},
    {"id": "wrong", "gold": "Paris", "answer": "Perhaps it is Lyon.\n#### Lyon", "expected": "fail"},
    {"id": "near_miss", "gold": "Paris", "answer": "It is in Texas.\n#### Paris, Texas", "expected": "fail"},
    {"id": "no_marker", "gold": "Paris", "answer": "Paris", "expected": "fail"},
    {"id": "no_gold", "gold": None, "answer": "I think so.\n#### Paris", "expected": "fail"},
)

TEST = '''\
"""The verifier agrees with its labelled cases: pytest {name}"""

from pathlib import Path

from rdistill.verifiers.cases import run_cases

VERIFIER = Path(__file__).parent / "{name}.py"


def test_every_case_is_judged_right():
    found = run_cases(f"{{VERIFIER}}:{cls}")
    assert found["wrong"] == []
'''


def write_skeleton(name: str, parent: Path) -> str:
    """Write the folder parent/NAME; returns what `rdistill verifiers test` and a config call the verifier.

    Raises: ConfigError for a name that is no module name, that is installed already, or whose folder exists.
    """
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigError(f"name {name!r} cannot be a module's; use small letters, digits and _, e.g. iso_date")
    if name in registry.known():
        raise ConfigError(f"a verifier {name!r} is installed already; take another name")
    folder = parent / name
    if folder.exists():
        raise ConfigError(f"{folder} exists; take another name, or move it away")
    cls = "".join(part.capitalize() for part in name.split("_"))
    write_durable(folder / f"{name}.py", VERIFIER.format(name=name, cls=cls))
    write_durable(folder / "cases.jsonl", "".join(json.dumps(row) + "\n" for row in CASES))
    write_durable(folder / f"test_{name}.py", TEST.format(name=name, cls=cls))
    return f"{folder / name}.py:{cls}"
