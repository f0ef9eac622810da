"""Are these the right tool calls, with arguments that fit the tools' schemas?

With a gold of {"tools", "calls", "ordered"} the calls are compared with the expected ones. Without, a tool trace passes
when each of its calls could be read and ran without an error.
"""

from typing import Any

from rdistill.verifiers.tool_call.calls import Call, CallError, calls_of
from rdistill.verifiers.tool_call.match import GoldError, matching_fault, read_expected
from rdistill.verifiers.tool_call.schema import SchemaError, Toolbox

from rdistill.records import Problem, Reason, Sample, Verdict
from rdistill.verifiers import failed, passed, unverifiable

ERROR_PREFIX = "error:"


class ToolCall:
    """Option `min_calls`: the fewest calls in a tool trace that has no expected calls."""

    name = "tool_call"
    version = "1"

    def __init__(self, *, min_calls: int = 1) -> None:
        self.min_calls = min_calls

    def check(self, problem: Problem, sample: Sample) -> Verdict:
        gold = problem.gold
        expects = isinstance(gold, dict) and "calls" in gold
        if not expects and sample.mode != "tool_trace":
            return unverifiable(self, sample, Reason.BAD_GOLD, "neither expected calls nor a tool trace")
        if sample.finish_reason == "length":
            return unverifiable(self, sample, Reason.TRUNCATED, "the reply was cut")
        try:
            calls = calls_of(sample)
            fault = self.gold_fault(gold, problem, calls) if expects else self.trace_fault(problem, sample, calls)
        except CallError as error:
            return failed(self, sample, Reason.BAD_TOOL_CALL, str(error))
        except (GoldError, SchemaError) as error:
            return unverifiable(self, sample, Reason.BAD_GOLD, str(error))
        return (
            failed(self, sample, Reason.BAD_TOOL_CALL, fault) if fault else passed(self, sample, f"{len(calls)} calls")
        )

    def check_gold(self, problem: Problem, stated: Sample) -> Verdict:
        """Whether the expected calls, if there are any, can be read."""
        gold = problem.gold
        if not isinstance(gold, dict) or "calls" not in gold:
            return passed(self, stated, "no expected calls")
        try:
            read_expected(gold["calls"])
        except GoldError as error:
            return unverifiable(self, stated, Reason.BAD_GOLD, str(error))
        return passed(self, stated)

    def gold_fault(self, gold: dict[str, Any], problem: Problem, calls: list[Call]) -> str | None:
        """What is wrong with the calls, compared with the expected ones; None if nothing.

        The gold has the last word on values: a schema that it contradicts only helps to explain a refusal.
        """
        expected = read_expected(gold["calls"])
        if len(calls) != len(expected):
            return f"{len(calls)} calls, expected {len(expected)}"
        fault = matching_fault(expected, calls, ordered=bool(gold.get("ordered", False)))
        return fault and (self.schema_fault(gold.get("tools", problem.tools), calls) or fault)

    def schema_fault(self, tools: Any, calls: list[Call]) -> str | None:
        """The first call that does not fit its tool's schema, or None."""
        toolbox = Toolbox(tools or [])
        return next((fault for call in calls if tools and (fault := toolbox.fault(call))), None)

    def trace_fault(self, problem: Problem, sample: Sample, calls: list[Call]) -> str | None:
        """The first call of a trace that its tool refused, or too few calls; None if nothing."""
        if len(calls) < self.min_calls:
            return f"{len(calls)} calls, expected {self.min_calls} at least"
        if fault := self.schema_fault(problem.tools, calls):
            return fault
        for message in sample.messages:
            if message["role"] == "tool":
                for line in str(message.get("content") or "").splitlines():
                    if line.startswith(ERROR_PREFIX):
                        return f"a call ended with {line[:200]!r}"
        if calls and not any(m["role"] == "tool" for m in sample.messages):
            return "a call that was never run"
        return None
