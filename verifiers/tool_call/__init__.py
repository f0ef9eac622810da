"""Are these the right tool calls, with arguments that fit the tools' schemas?

With a gold of {"tools", "calls", "ordered"} the calls are compared with the expected ones. Without, a tool trace passes
when each of its calls could be read and ran without an error.
"""

import itertools
import re
from typing import Any

from rdistill.verifiers.tool_call.calls import Call, CallError, calls_in, calls_of
from rdistill.verifiers.tool_call.match import GoldError, matching_fault, read_expected
from rdistill.verifiers.tool_call.schema import SchemaError, Toolbox

from rdistill.records import Problem, Reason, Sample, Verdict
from rdistill.verifiers import failed, passed, unverifiable

ERROR = re.compile(r"(?:\A\s*(?:<tool_response>\s*)?|^(?!error: *[-+.\d]))(?P<line>error:.*)", re.MULTILINE)
"""A result that is an error, or ends as one: after the output of a program, or the results of other calls of the turn.
There a number after it, as in `error: 0.01`, is the program's output."""


class ToolCall:
    """Option `min_calls`: the fewest calls in a tool trace that has no expected calls."""

    name = "tool_call"
    version = "2"

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
        """Whether the tools, and the expected calls if there are any, can be read."""
        gold = problem.gold
        expects = isinstance(gold, dict) and "calls" in gold
        try:
            Toolbox((gold.get("tools", problem.tools) if expects else problem.tools) or [])
            if expects:
                read_expected(gold["calls"])
        except (GoldError, SchemaError) as error:
            return unverifiable(self, stated, Reason.BAD_GOLD, str(error))
        return passed(self, stated, "" if expects else "no expected calls")

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
        """The first call of a trace that its tool refused or that was never run, or too few calls; None if nothing."""
        if len(calls) < self.min_calls:
            return f"{len(calls)} calls, expected {self.min_calls} at least"
        if fault := self.schema_fault(problem.tools, calls):
            return fault
        for turn, after in itertools.pairwise([*sample.messages, {"role": "end"}]):
            if calls_in(turn) and after["role"] != "tool":
                return "a call that was never run"
            if turn["role"] == "tool" and (error := ERROR.search(str(turn.get("content") or ""))):
                return f"a call ended with {error['line'][:200]!r}"
        return None
