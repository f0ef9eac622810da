"""Does the answer name the gold date? `3 March 2026` and `2026-03-03` do; `3/4/2026` could be two dates."""

import re
from datetime import date, datetime

from rdistill.verifiers import Problem, Reason, Sample, Verdict, failed, passed, unverifiable

FORMS = ("%Y-%m-%d", "%d %B %Y", "%B %d, %Y", "%d %b %Y")
SLASHES = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)
MAX_CHARS = 40


class IsoDate:
    """Gold is a date such as 2026-03-03. Option: `allow_slashes`, read 25/12/2026 where only one reading exists."""

    name = "iso_date"
    version = "1"

    def __init__(self, *, allow_slashes: bool = False) -> None:
        self.allow_slashes = allow_slashes

    def check(self, problem: Problem, sample: Sample) -> Verdict:
        try:
            gold = date.fromisoformat(problem.gold)
        except (TypeError, ValueError):
            return unverifiable(self, sample, Reason.BAD_GOLD, f"gold {problem.gold!r} is no date like 2026-03-03")
        if sample.answer is None:
            return failed(self, sample, Reason.NO_ANSWER, "nothing stands after the marker")
        found = self.dates(sample.answer.strip(" ."))
        if len(found) > 1:
            return failed(self, sample, Reason.AMBIGUOUS, f"{sample.answer!r} could be {len(found)} dates")
        if not found:
            return failed(self, sample, Reason.UNPARSEABLE, f"{sample.answer[:MAX_CHARS]!r} is no date")
        if gold not in found:
            return failed(self, sample, Reason.WRONG_ANSWER, f"got {min(found)}, expected {gold}")
        return passed(self, sample)

    def dates(self, text: str) -> set[date]:
        """Every date that a text can be read as."""
        if len(text) > MAX_CHARS:
            return set()
        found = {d for form in FORMS if (d := read(text, form))}
        if SLASHES.fullmatch(text) and self.allow_slashes:
            found |= {d for form in ("%d/%m/%Y", "%m/%d/%Y") if (d := read(text, form))}
        return found


def read(text: str, form: str) -> date | None:
    try:
        return datetime.strptime(text, form).date()
    except ValueError:
        return None
