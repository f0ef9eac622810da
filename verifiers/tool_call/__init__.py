"""Are these the right tool calls, with arguments that fit the tools' schemas?

With a gold of {"tools", "calls", "ordered"}, or a list of calls, the calls are compared with the expected ones.
Without, a tool trace passes when each of its calls could be read and ran without an error.
"""

import itertools
from typing import Any

from rdistill.verifiers.tool_call.attempts import attempted, tool_names
from rdistill.verifiers.tool_call.calls import Call, CallError, calls_in, calls_of, is_empty, shown
from rdistill.verifiers.tool_call.gold import expectation
from rdistill.verifiers.tool_call.match import Expected, GoldError, matching_fault, read_expected
from rdistill.verifiers.tool_call.results import error_in, have_run
from rdistill.verifiers.tool_call.schema import SchemaError, Toolbox

from rdistill.records import Problem, Reason, Sample, Verdict
from rdistill.verifiers import failed, passed, unverifiable


class ToolCall:
    """Option `min_calls`: the fewest calls in a tool trace that has no expected calls."""

    name = "tool_call"
    version = "4"

    def __init__(self, *, min_calls: int = 1) -> None:
        self.min_calls = min_calls

    def check(self, problem: Problem, sample: Sample) -> Verdict:
        try:
            gold = expectation(problem.gold, is_trace=sample.mode == "tool_trace")
            if sample.finish_reason == "length":
                return unverifiable(self, sample, Reason.TRUNCATED, "the reply was cut")
            tools = problem.tools if gold is None else gold.get("tools", problem.tools)
            expected = [] if gold is None else read_expected(gold["calls"])
            names = tool_names(tools) | {call.name for call in expected}
            calls = calls_of(sample, names)
            if gold is not None and not expected and not calls:
                return self.check_without_calls(sample, names)
            if gold is None:
                fault = self.trace_fault(tools, sample, calls)
            else:
                fault = self.gold_fault(gold, tools, expected, calls)
        except CallError as error:
            return failed(self, sample, Reason.BAD_TOOL_CALL, str(error))
        except (GoldError, SchemaError) as error:
            return unverifiable(self, sample, Reason.BAD_GOLD, str(error))
        return (
            failed(self, sample, Reason.BAD_TOOL_CALL, fault) if fault else passed(self, sample, f"{len(calls)} calls")
        )

    def check_without_calls(self, sample: Sample, names: set[str]) -> Verdict:
        """A reply where no call is needed, and none was found: it says something, and attempts none."""
        texts = [shown(message) for message in sample.messages if message["role"] == "assistant"]
        if not texts or is_empty(texts[-1]):
            return failed(self, sample, Reason.NO_ANSWER, "neither a call nor an answer")
        if attempt := next(filter(None, (attempted(text, names) for text in texts)), None):
            return failed(self, sample, Reason.BAD_TOOL_CALL, f"a call that cannot be read: {attempt!r}")
        return passed(self, sample, "0 calls")

    def check_gold(self, problem: Problem, stated: Sample) -> Verdict:
        """Whether the tools and the expected calls can be read; where `stated.mode` is a tool trace, none need be."""
        try:
            gold = expectation(problem.gold, is_trace=stated.mode == "tool_trace")
            Toolbox((problem.tools if gold is None else gold.get("tools", problem.tools)) or [])
            if gold is not None:
                read_expected(gold["calls"])
        except (GoldError, SchemaError) as error:
            return unverifiable(self, stated, Reason.BAD_GOLD, str(error))
        return passed(self, stated, "no expected calls" if gold is None else "")

    def gold_fault(self, gold: dict[str, Any], tools: Any, expected: list[Expected], calls: list[Call]) -> str | None:
        """What is wrong with the calls, compared with the expected ones; None if nothing.

        The gold has the last word on values: a schema that it contradicts only helps to explain a refusal.
        """
        if len(calls) != len(expected):
            return f"{len(calls)} calls, expected {len(expected)}"
        fault = matching_fault(expected, calls, ordered=bool(gold.get("ordered", False)))
        return fault and (self.schema_fault(tools, calls) or fault)

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
        names = tool_names(tools)
        for at, turn in enumerate(sample.messages):
            results = list(itertools.takewhile(lambda m: m["role"] == "tool", sample.messages[at + 1 :]))
            if calls_in(turn, names) and not have_run(turn, results):
                return "a call that was never run"
            if turn["role"] == "tool" and (line := error_in(str(turn.get("content") or ""))):
                return f"a call ended with {line[:200]!r}"
        return None
