"""Are these the right tool calls, with arguments that fit the tools' schemas, and do they lead to the right state?

With a gold of {"tools", "calls", "ordered", "final_state"}, or a list of calls, the calls are compared with the
expected ones, and the last result of a trace with the expected state. Without, a tool trace passes when each of its
calls could be read and ran without an error.
"""

import itertools
from typing import Any

from rdistill.verifiers.tool_call.attempts import attempted, tool_names
from rdistill.verifiers.tool_call.calls import Call, CallError, calls_in, calls_of, is_empty, shown
from rdistill.verifiers.tool_call.forms import UnclearCall, other_calls, refuse_attempt
from rdistill.verifiers.tool_call.gold import Gold, contradiction, read_gold
from rdistill.verifiers.tool_call.match import Expected, GoldError, matching_fault
from rdistill.verifiers.tool_call.results import error_in, have_run
from rdistill.verifiers.tool_call.schema import SchemaError, Toolbox
from rdistill.verifiers.tool_call.state import judge_state

from rdistill.records import Problem, Reason, Sample, Status, Verdict
from rdistill.verifiers import failed, passed, unverifiable


class ToolCall:
    """Option `min_calls`: the fewest calls in a tool trace that has no expected calls."""

    name = "tool_call"
    version = "5"

    def __init__(self, *, min_calls: int = 1) -> None:
        self.min_calls = min_calls

    def check(self, problem: Problem, sample: Sample) -> Verdict:
        try:
            gold = read_gold(problem.gold, problem.tools, is_trace=sample.mode == "tool_trace")
            if sample.finish_reason == "length":
                return unverifiable(self, sample, Reason.TRUNCATED, "the reply was cut")
            if gold.calls == []:
                return self.check_without_calls(sample, gold.names)
            return self.check_calls(gold, sample)
        except CallError as error:
            return failed(self, sample, Reason.BAD_TOOL_CALL, str(error))
        except UnclearCall as error:
            return unverifiable(self, sample, Reason.UNPARSEABLE, str(error))
        except (GoldError, SchemaError) as error:
            return unverifiable(self, sample, Reason.BAD_GOLD, str(error))

    def check_calls(self, gold: Gold, sample: Sample) -> Verdict:
        """A reply that should call: the calls first, then the state that they lead to, as far as either is expected."""
        calls = calls_of(sample, gold.names) if gold.calls is None else wanted_calls(sample, gold.names)
        if gold.calls is not None:
            fault = self.gold_fault(gold, gold.calls, calls)
        elif gold.final_state is None:
            fault = self.trace_fault(gold.tools, sample, calls)
        else:
            fault = None
        if gold.final_state is not None and any(turn["role"] == "tool" for turn in sample.messages):
            fault = fault or self.unrun_fault(sample, gold.names)
        if fault:
            return failed(self, sample, Reason.BAD_TOOL_CALL, fault)
        if gold.final_state is None:
            return passed(self, sample, f"{len(calls)} calls")
        finding = judge_state(gold.final_state, sample.messages, gold.names)
        if finding.status is Status.PASS:
            return passed(self, sample, f"{len(calls)} calls, {finding.detail}")
        word = failed if finding.status is Status.FAIL else unverifiable
        return word(self, sample, finding.reason, finding.detail)

    def check_without_calls(self, sample: Sample, names: set[str]) -> Verdict:
        """A reply where no call is needed: it says something, and attempts none. Raises CallError."""
        if calls := calls_of(sample, names):
            return failed(self, sample, Reason.BAD_TOOL_CALL, f"{len(calls)} calls, expected 0")
        texts = [shown(message) for message in sample.messages if message["role"] == "assistant"]
        if not texts or is_empty(texts[-1]):
            return failed(self, sample, Reason.NO_ANSWER, "neither a call nor an answer")
        if attempt := next(filter(None, (attempted(text, names) for text in texts)), None):
            return failed(self, sample, Reason.BAD_TOOL_CALL, f"a call that cannot be read: {attempt!r}")
        if calls := [call for text in texts for call in other_calls(text, names)]:
            return failed(self, sample, Reason.BAD_TOOL_CALL, f"{len(calls)} calls, expected 0")
        return passed(self, sample, "0 calls")

    def check_gold(self, problem: Problem, stated: Sample) -> Verdict:
        """Whether the tools and what is expected can be read, and agree; a tool trace needs neither calls nor state."""
        is_trace = stated.mode == "tool_trace"
        try:
            gold = read_gold(problem.gold, problem.tools, is_trace=is_trace)
            if gold.final_state is not None and not is_trace:
                raise GoldError("gold final_state: only a tool trace runs tools; set teacher.mode: tool_trace")
            if fault := contradiction(gold):
                raise GoldError(fault)
        except (GoldError, SchemaError) as error:
            return unverifiable(self, stated, Reason.BAD_GOLD, str(error))
        is_open = gold.calls is None and gold.final_state is None
        return passed(self, stated, "no expected calls" if is_open else "")

    def gold_fault(self, gold: Gold, expected: list[Expected], calls: list[Call]) -> str | None:
        """What is wrong with the calls, compared with the expected ones; None if nothing.

        The gold has the last word on values: a schema that it contradicts only helps to explain a refusal.
        """
        if len(calls) != len(expected):
            return f"{len(calls)} calls, expected {len(expected)}"
        fault = matching_fault(expected, calls, ordered=gold.ordered)
        return fault and (self.schema_fault(gold.tools, calls) or fault)

    def schema_fault(self, tools: Any, calls: list[Call]) -> str | None:
        """The first call that does not fit its tool's schema, or None."""
        toolbox = Toolbox(tools or [])
        return next((fault for call in calls if tools and (fault := toolbox.fault(call))), None)

    def trace_fault(self, tools: Any, sample: Sample, calls: list[Call]) -> str | None:
        """The first call of a trace that its tool refused or that was never run, or too few calls; None if nothing."""
        if len(calls) < self.min_calls:
            return f"{len(calls)} calls, expected {self.min_calls} at least"
        if fault := self.schema_fault(tools, calls):
            return fault
        if fault := self.unrun_fault(sample, tool_names(tools)):
            return fault
        results = (str(turn.get("content") or "") for turn in sample.messages if turn["role"] == "tool")
        line = next(filter(None, map(error_in, results)), None)
        return f"a call ended with {line[:200]!r}" if line else None

    def unrun_fault(self, sample: Sample, names: set[str]) -> str | None:
        """Whether a turn's calls have no results."""
        for at, turn in enumerate(sample.messages):
            results = list(itertools.takewhile(lambda m: m["role"] == "tool", sample.messages[at + 1 :]))
            if calls_in(turn, names) and not have_run(turn, results):
                return "a call that was never run"
        return None


def wanted_calls(sample: Sample, names: set[str]) -> list[Call]:
    """The calls of a reply that should hold some, in a form of its own where none runs as it stands.

    Raises: CallError for calls that surely cannot be read, UnclearCall for what may be one.
    """
    turns = [message for message in sample.messages if message["role"] == "assistant"]
    text = "\n".join(filter(None, map(shown, turns)))
    try:
        calls, error = calls_of(sample, names), None
    except CallError as refusal:
        calls, error = [], refusal
    if calls or any(turn.get("tool_calls") for turn in turns):
        if error:
            raise error
        return calls
    is_trace = sample.mode == "tool_trace"  # what its tools did not understand was never run
    if not is_trace and (calls := other_calls(text, names)):
        return calls
    refuse_attempt(text, names)
    if error:
        raise error
    return []
