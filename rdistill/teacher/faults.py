"""Requests that came to nothing: data where the conversation is the cause, an error where the engine is."""

from collections.abc import Iterable

from rdistill.errors import TeacherError
from rdistill.records import Message, Sample, content_id
from rdistill.teacher.engine import FAILED, REFUSED, UNCLEAR, Completion

HOPELESS = 20
"""Conversations of which nothing comes, the first that were begun, or requests without a reply, one after the other,
before the engine is at fault."""
WHAT = {
    REFUSED: "refused",
    FAILED: "left without a reply",
    UNCLEAR: "answered without a word on whether the reply is whole",
}
NAMED = 5


class Patience:
    """Tells when an engine, not its conversations, is why nothing comes of them."""

    def __init__(self, identity: str) -> None:
        self._identity = identity
        self._begun = self._answered = self._whole = self._failed_in_a_row = 0
        self._first: dict[str, bool] = {}
        """Of the conversations that were begun first, whether something came of a request, and that was no reply."""
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
        requests in a row had no reply.
        """
        self._failed_in_a_row = self._failed_in_a_row + 1 if completion.finish_reason == FAILED else 0
        if completion.fault is None:
            self._answered += 1
            self._whole += completion.finish_reason != "length"
            return
        self._fault = completion.fault
        if self._failed_in_a_row >= HOPELESS:
            raise TeacherError(
                f"{self._identity} left {HOPELESS} requests in a row without a reply ({self._fault}); mend it, then "
                "run again"
            )
        if name in self._first and completion.finish_reason != FAILED:
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
            f"{self._identity} gave no reply of use to {which} ({self._fault}); check the model, its system prompt and "
            "its sampling"
        )


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
