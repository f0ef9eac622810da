"""Requests that came to nothing: data where the conversation is the cause, an error where the engine is."""

import re
from collections import Counter
from collections.abc import Iterable

from rdistill.errors import TeacherError
from rdistill.records import Message, Sample, content_id
from rdistill.teacher.engine import FAILED, REFUSED, UNCLEAR, Completion

HOPELESS = 20
"""Conversations of which nothing comes, the first that were begun, or requests without a reply while none is answered,
before the engine is at fault."""
WHAT = {
    REFUSED: "refused",
    FAILED: "left without a reply",
    UNCLEAR: "answered without a word on whether the reply is whole",
}
NAMED = 5
VARYING = re.compile(r"[0-9a-fA-F-]{8,}|\d{4,}")
"""What differs from one request to the next in equal faults: ids and times."""


class Patience:
    """Tells when an engine, not its conversations, is why nothing comes of them."""

    def __init__(self, identity: str) -> None:
        self._identity = identity
        self._begun = self._answered = self._whole = 0
        self._failed = 0
        """Requests without a reply since the last that was answered; refusals in between change nothing."""
        self._causes: Counter[str] = Counter()
        """Of what came to nothing since the last reply."""
        self._first: dict[str, bool] = {}
        """Of the conversations that were begun first, whether a request of theirs came to nothing."""
        self._fault: str | None = None

    def begin(self, messages: list[Message]) -> str:
        """The name of a request's conversation; a problem's samples share one. Refusals are quicker than replies, so
        the first are those that were asked first.
        """
        self._begun += 1
        name = content_id(messages)
        if len(self._first) < HOPELESS:
            self._first.setdefault(name, False)
        return name

    def end(self, name: str, completion: Completion) -> None:
        """Raises: TeacherError if nothing came of each of the first conversations and of none since, or very many
        requests had no reply with none answered in between.
        """
        if completion.fault is None:
            self._failed = 0
            self._causes.clear()
            self._answered += 1
            self._whole += completion.finish_reason != "length"
            return
        self._fault = completion.fault
        self._causes[VARYING.sub("...", self._fault.rpartition(", the last: ")[2])] += 1
        self._failed += completion.finish_reason == FAILED
        if self._failed >= HOPELESS:
            lost = self._causes.total()
            what = "a reply" if lost == self._failed else "a reply of use"
            raise TeacherError(
                f"{self._identity} left {lost} requests in a row without {what} ({self._why()}); mend it, then "
                "run again"
            )
        if name in self._first:
            self._first[name] = True
        # Servers agree on how to say that a reply was cut: such replies do not tell that whole ones are understood.
        replies = self._whole if completion.finish_reason == UNCLEAR else self._answered
        if not replies and sum(self._first.values()) >= HOPELESS:
            self._give_up(f"each of the first {HOPELESS} problems")

    def conclude(self) -> None:
        """Raises: TeacherError if there were requests, and all came to nothing."""
        if self._fault is not None and not self._answered:
            self._give_up(f"all {self._begun} requests")

    def _give_up(self, which: str) -> None:
        raise TeacherError(
            f"{self._identity} gave no reply of use to {which} ({self._why()}); check the model, its system prompt and "
            "its sampling"
        )

    def _why(self) -> str:
        """The last fault; where there were others, how often each."""
        if len(self._causes) < 2:
            return str(self._fault)
        named = [f"{cause} {count} times" for cause, count in self._causes.most_common(NAMED)]
        more = f", and {len(self._causes) - NAMED} other causes" if len(self._causes) > NAMED else ""
        return f"{', '.join(named)}{more}; the last: {self._fault}"


def fault_warnings(samples: Iterable[Sample]) -> list[str]:
    """One sentence for each way in which requests came to nothing, with the first problems' ids."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.fault is not None:
            found.setdefault(sample.finish_reason, []).append(sample)
    warnings = []
    for finish_reason, some in found.items():
        ids = list(dict.fromkeys(sample.problem_id for sample in some))
        named = ", ".join(ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")
        warnings.append(f"{len(some)} requests were {WHAT[finish_reason]} ({some[0].fault}), of problems {named}")
    return warnings


def num_failed(samples: Iterable[Sample]) -> int:
    """Samples without a reply because the engine failed: what another attempt may get."""
    return sum(sample.finish_reason == FAILED for sample in samples)
