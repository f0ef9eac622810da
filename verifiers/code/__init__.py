"""Code: run the solution in the sandbox and compare what it gives, here, with what is expected.

Gold is one of
    {"kind": "function", "entry_point": "add", "cases": [{"args": [2, 3], "expected": 5}]}
    {"kind": "stdio", "cases": [{"stdin": "2 3\n", "stdout": "5\n"}]}
    {"kind": "asserts", "entry_point": "add", "tests": "assert add(2, 3) == 5"}
    {"kind": "property", "entry_point": "order", "inputs": [[[2, 1]]], "check": "def check(args, result): ..."}

A wrong value or an exception is a `fail`; a time-out, a resource limit or a broken sandbox is `unverifiable`.
"""

import json
import re
import time
from typing import Any

from rdistill.verifiers.code.asserts import PlannedStep, plan_asserts
from rdistill.verifiers.code.blocks import MAX_CODE_CHARS, extract_code, parse
from rdistill.verifiers.code.golds import inspect_gold, lines_of, missing_imports, read_gold
from rdistill.verifiers.code.lifting import Judge
from rdistill.verifiers.code.programs import leaves_nothing, outputs, together
from rdistill.verifiers.code.values import Undecided

from rdistill.answers import normalise_reasoning
from rdistill.records import Problem, Reason, Sample, Verdict
from rdistill.sandbox import Outcome, Sandbox, StepsRun, equals_json, run_function, run_steps
from rdistill.verifiers.protocol import failed, passed, unverifiable

LITERALS = "inf, nan = float('inf'), float('nan')\n"
"""What the repr of a plain value may name beside builtins."""

MISSING_MODULE = re.compile(r"ModuleNotFoundError: No module named '(\w+)")

_UNVERIFIABLE = {
    "timeout": Reason.TIMEOUT,
    "resource_limit": Reason.RESOURCE_LIMIT,
    "sandbox_error": Reason.SANDBOX,
}


class Code:
    """Verifier of programs and functions. `timeout_s` is for all cases of a sample together."""

    name = "code"
    version = "6"

    def __init__(self, timeout_s: float = 4.0, memory_mb: int = 512) -> None:
        self.sandbox = Sandbox(timeout_s=timeout_s, memory_mb=memory_mb)

    def check(self, problem: Problem, sample: Sample) -> Verdict:
        if sample.finish_reason == "length":
            return unverifiable(self, sample, Reason.TRUNCATED, "the reply was cut")
        kinds = {"function": self._function, "stdio": self._stdio, "asserts": self._asserts, "property": self._property}
        try:
            gold = read_gold(problem.gold)
        except ValueError as error:
            return unverifiable(self, sample, Reason.BAD_GOLD, str(error))
        _, text, finished = normalise_reasoning(sample.text)
        if not finished:
            return failed(self, sample, Reason.NO_ANSWER, "thinking without an end")
        code = extract_code(text, gold.get("entry_point"))
        if not code.strip():
            return failed(self, sample, Reason.NO_ANSWER, "no code in the reply")
        if len(code) > MAX_CODE_CHARS:
            return failed(self, sample, Reason.UNPARSEABLE, f"{len(code)} characters of code, at most {MAX_CODE_CHARS}")
        verdict = kinds[gold["kind"]](gold, sample, code)
        if name := lacking_module(verdict, code):
            return unverifiable(self, sample, Reason.SANDBOX, f"the solution imports {name}, which the sandbox lacks")
        return verdict

    def check_gold(self, problem: Problem, stated: Sample) -> Verdict:
        """Whether the tests can be read and met; they are no answer that could be run, and nothing of them is."""
        try:
            inspect_gold(read_gold(problem.gold))
        except ValueError as error:
            return unverifiable(self, stated, Reason.BAD_GOLD, str(error))
        return passed(self, stated)

    def _function(self, gold: dict[str, Any], sample: Sample, code: str) -> Verdict:
        cases = gold["cases"]
        run = run_steps(self.sandbox, code, [call_step(gold["entry_point"], case["args"]) for case in cases])
        if run.status != "ok":
            return self._no_outcomes(sample, run)
        for number, (case, outcome) in enumerate(zip(cases, run.outcomes, strict=True), 1):
            if outcome.error is not None:
                return self._raised(sample, outcome, f"case {number}")
            if not equals_json(outcome.value, case["expected"]):
                return failed(self, sample, Reason.WRONG_ANSWER, f"case {number}: got {shorten(outcome.value)}")
        return passed(self, sample, f"{len(cases)} cases")

    def _asserts(self, gold: dict[str, Any], sample: Sample, code: str) -> Verdict:
        try:
            plan = plan_asserts(gold["tests"], gold["entry_point"])
        except ValueError as error:
            return unverifiable(self, sample, Reason.BAD_GOLD, str(error))
        run = run_steps(self.sandbox, code, [step for planned in plan for step in planned.steps])
        if run.status != "ok":
            return self._no_outcomes(sample, run)
        outcomes, num_inside = iter(run.outcomes), 0
        for planned in plan:
            outcome, *others = [next(outcomes) for _ in planned.steps]
            judge, is_inside = planned.judge, planned.is_inside or planned.judge is None
            if planned.shaped and is_no_data(outcome):
                (outcome,), judge, is_inside = others, planned.shaped[1], True
            if fault := self._fault(sample, planned, outcome, judge):
                return fault
            num_inside += is_inside * planned.num_checks
        num_checks = sum(planned.num_checks for planned in plan)
        note = f", {num_inside} of them judged inside the sandbox" if num_inside else ""
        return passed(self, sample, f"{num_checks} asserts{note}")

    def _fault(self, sample: Sample, planned: PlannedStep, outcome: Outcome, judge: Judge | None) -> Verdict | None:
        """The verdict on a step of the tests that did not go well; None for one that did."""
        if outcome.error is not None and planned.is_import and self._fails_alone(planned.step):
            return unverifiable(self, sample, Reason.BAD_GOLD, f"{planned.label}: {outcome.error}")
        if planned.is_lenient and is_no_data(outcome):
            return unverifiable(
                self, sample, Reason.UNPARSEABLE, f"{planned.label}: {outcome.error}, which is no plain data"
            )
        if outcome.error is not None:
            return self._raised(sample, outcome, planned.label)
        try:
            if judge is None or holds(judge, outcome.value):
                return None
        except Undecided as error:
            return unverifiable(self, sample, Reason.RESOURCE_LIMIT, f"{planned.label}: {error}")
        return failed(self, sample, Reason.WRONG_ANSWER, f"{planned.label}: got {shorten(outcome.value)}")

    def _fails_alone(self, step: dict[str, str]) -> bool:
        """Whether a step of the tests raises in a sandbox that never held the solution."""
        run = run_steps(self.sandbox, "", [step])
        return run.status == "ok" and run.outcomes[0].error is not None

    def _stdio(self, gold: dict[str, Any], sample: Sample, code: str) -> Verdict:
        """Run what leaves nothing behind on many inputs in one sandbox, and on each input in its own where that was not
        done or did not give what is expected: it may be right all the same."""
        deadline = time.monotonic() + self.sandbox.timeout_s
        is_quick = len(gold["cases"]) > 1 and leaves_nothing(code)
        number = 0
        for part in together(gold["cases"]):
            found: list[str | None] = [None] * len(part)
            if is_quick and (left := deadline - time.monotonic()) > 0:
                found = outputs(self.sandbox, code, [case["stdin"] for case in part], timeout_s=left)
            for case, output in zip(part, found, strict=True):
                number += 1
                if output is None or lines_of(output) != lines_of(case["stdout"]):
                    is_quick = False
                    if fault := self._run_case(sample, code, case, number, deadline):
                        return fault
        return passed(self, sample, f"{number} cases")

    def _run_case(
        self, sample: Sample, code: str, case: dict[str, str], number: int, deadline: float
    ) -> Verdict | None:
        """Run a program on one input in a sandbox of its own; None where it gives what is expected."""
        left = deadline - time.monotonic()
        if left <= 0:
            return unverifiable(self, sample, Reason.TIMEOUT, f"no time left before case {number}")
        result = self.sandbox.run(code, stdin=case["stdin"], timeout_s=left)
        if reason := _UNVERIFIABLE.get(result.status):
            return unverifiable(self, sample, reason, f"case {number}: {result.stderr[-200:]}")
        if result.status != "ok":
            last_line = result.stderr.strip().rpartition("\n")[2]
            return failed(self, sample, Reason.RUNTIME_ERROR, f"case {number}: {last_line[:200]}")
        if lines_of(result.stdout) != lines_of(case["stdout"]):
            return failed(self, sample, Reason.WRONG_ANSWER, f"case {number}: got {shorten(result.stdout)}")
        return None

    def _property(self, gold: dict[str, Any], sample: Sample, code: str) -> Verdict:
        """Run the solution, then, in a sandbox that never held it, the gold's check of each result."""
        deadline = time.monotonic() + self.sandbox.timeout_s
        run = run_function(self.sandbox, code, gold["entry_point"], gold["inputs"])
        if run.status != "ok":
            return self._no_outcomes(sample, run)
        for number, outcome in enumerate(run.outcomes, 1):
            if outcome.error is not None:
                return self._raised(sample, outcome, f"input {number}")
        try:
            calls = [f"check({args!r}, {o.value!r})" for args, o in zip(gold["inputs"], run.outcomes, strict=True)]
        except ValueError:  # an integer past Python's digit limit
            return failed(self, sample, Reason.WRONG_ANSWER, "a result too large to be checked")
        steps = [{"kind": "value", "code": call} for call in calls]
        left = max(deadline - time.monotonic(), 0.1)
        judged = run_steps(self.sandbox, LITERALS + gold["check"], steps, timeout_s=left)
        if judged.status != "ok":
            reason = _UNVERIFIABLE.get(judged.status, Reason.BAD_GOLD)
            return unverifiable(self, sample, reason, f"gold.check did not run: {judged.detail}")
        for number, (outcome, holds) in enumerate(zip(run.outcomes, judged.outcomes, strict=True), 1):
            if holds.is_limit:
                return self._raised(sample, holds, f"gold.check of input {number}")
            if holds.error is None and type(holds.value) is not bool:
                detail = f"gold.check of input {number} gave {shorten(holds.value)}, expected True or False"
                return unverifiable(self, sample, Reason.BAD_GOLD, detail)
            if not holds.value:
                detail = f"input {number}: {shorten(outcome.value)} does not hold ({holds.error or holds.value})"
                return failed(self, sample, Reason.WRONG_ANSWER, detail)
        return passed(self, sample, f"{len(calls)} inputs")

    def _no_outcomes(self, sample: Sample, run: StepsRun) -> Verdict:
        if run.status in _UNVERIFIABLE:
            return unverifiable(self, sample, _UNVERIFIABLE[run.status], run.detail)
        return failed(self, sample, Reason.RUNTIME_ERROR, run.detail)

    def _raised(self, sample: Sample, outcome: Outcome, label: str) -> Verdict:
        detail = f"{label}: {outcome.error}"
        if outcome.is_limit:
            return unverifiable(self, sample, Reason.RESOURCE_LIMIT, detail)
        is_wrong = str(outcome.error).startswith(("AssertionError", "it returned "))
        return failed(self, sample, Reason.WRONG_ANSWER if is_wrong else Reason.RUNTIME_ERROR, detail)


def lacking_module(verdict: Verdict, code: str) -> str | None:
    """The module that a solution failed for the want of, if it does import one beyond the standard library by that
    name; None for any other verdict. An import within `try`, or made up at run time, is the solution's own affair."""
    found = MISSING_MODULE.search(verdict.detail) if verdict.reason is Reason.RUNTIME_ERROR else None
    tree = parse(code) if found else None
    return found[1] if found and tree and found[1] in missing_imports(tree) else None


def call_step(name: str, args: list[Any] | dict[str, Any]) -> dict[str, Any]:
    """A call of the solution by position, or by keyword where `args` is an object."""
    if isinstance(args, list):
        return {"kind": "call", "name": name, "args": args}
    return {"kind": "value", "code": f"{name}(**__import__('json').loads({json.dumps(args)!r}))"}


def shorten(value: Any) -> str:
    """A value for a detail: its repr, cut; never an error."""
    try:
        text = repr(value)
    except ValueError:
        text = f"a large {type(value).__name__}"
    return text if len(text) <= 120 else text[:117] + "..."


def is_no_data(outcome: Outcome) -> bool:
    """Whether a step gave a value that is not made of plain builtin types."""
    return outcome.error is not None and outcome.error.startswith("it returned ")


def holds(judge: Judge, value: Any) -> bool:
    """A judgement of a decoded value; a value that cannot even be compared does not hold. Raises Undecided."""
    try:
        return judge(value)
    except (TypeError, ValueError, ArithmeticError, LookupError, RecursionError):
        return False
