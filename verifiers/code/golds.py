"""Read a gold answer for code: its forms, and the faults that can be seen without running anything.

read_gold({"kind": "asserts", "tests": ["assert add(2, 3) == 5"]})
# {"kind": "asserts", "entry_point": "add", "tests": "assert add(2, 3) == 5"}
"""

import ast
import json
import sys
from collections.abc import Iterator
from typing import Any

from rdistill.verifiers.code.asserts import called_of_solution, plan_asserts

from rdistill.sandbox import equals_json

MAX_CASES = 1000
KINDS = ("function", "stdio", "asserts", "property")


def read_gold(gold: Any) -> dict[str, Any]:
    """A gold answer in the one form that is checked. Raises ValueError: what is wrong with it, in one sentence."""
    if not isinstance(gold, dict) or gold.get("kind") not in KINDS:
        raise ValueError(f"gold.kind is not one of {', '.join(KINDS)}")
    if gold["kind"] == "asserts":
        tests = _tests(gold.get("tests"))
        name = gold.get("entry_point")
        gold = {**gold, "tests": tests, "entry_point": called_of_solution(tests) if name is None else name}
    name = gold.get("entry_point")
    if gold["kind"] != "stdio" and not (isinstance(name, str) and name.isidentifier()):
        raise ValueError(f"gold.entry_point {str(name)[:40]!r} is not a function's name")
    if gold["kind"] == "property":
        _read_property(gold)
    elif gold["kind"] != "asserts":
        _read_cases(gold)
    return gold


def inspect_gold(gold: dict[str, Any]) -> None:
    """What read_gold leaves for the check of a sample to find. Raises ValueError for a gold that nothing can pass."""
    if gold["kind"] == "asserts":
        _compiled(gold["tests"], "gold.tests")
        for planned in plan_asserts(gold["tests"], gold["entry_point"]):
            if planned.is_import:
                _require_imports(ast.parse(planned.step["code"]), "gold.tests")
    elif gold["kind"] == "property":
        _inspect_check(gold["check"])
    else:
        _require_one_answer(gold)


def missing_imports(tree: ast.AST) -> set[str]:
    """The modules beyond the standard library, which is all that the sandbox has, that code imports outside `try`."""
    found = set()
    for node in _untried(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found - sys.stdlib_module_names - {"solution"}


def _untried(tree: ast.AST) -> Iterator[ast.AST]:
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, ast.Try):
            todo += ast.iter_child_nodes(node)


def _tests(tests: Any) -> str:
    """Text, or MBPP's list of asserts."""
    if isinstance(tests, list) and tests and all(isinstance(test, str) for test in tests):
        return "\n".join(tests)
    if not isinstance(tests, str):
        raise ValueError("gold.tests is neither text nor a list of texts")
    return tests


def _read_property(gold: dict[str, Any]) -> None:
    inputs, check = gold.get("inputs"), gold.get("check")
    if not isinstance(inputs, list) or not 0 < len(inputs) <= MAX_CASES or not all(isinstance(i, list) for i in inputs):
        raise ValueError(f"gold.inputs is not a list of 1 to {MAX_CASES} lists of arguments")
    if not isinstance(check, str) or "def check(" not in check:
        raise ValueError('gold.check is not the source of "def check(args, result)"')


def _read_cases(gold: dict[str, Any]) -> None:
    cases = gold.get("cases")
    if not isinstance(cases, list) or not 0 < len(cases) <= MAX_CASES:
        raise ValueError(f"gold.cases is not a list of 1 to {MAX_CASES} cases")
    if gold["kind"] == "function":
        if not all(isinstance(c, dict) and isinstance(c.get("args"), list | dict) and "expected" in c for c in cases):
            raise ValueError('a case needs "args", a list or an object of keywords, and "expected"')
    elif not all(isinstance(c, dict) and all(isinstance(c.get(k), str) for k in ("stdin", "stdout")) for c in cases):
        raise ValueError('a case needs "stdin" and "stdout", both text')


def _inspect_check(check: str) -> None:
    """A check that compiles, and takes two arguments."""
    tree = _compiled(check, "gold.check")
    found = [s for s in tree.body if isinstance(s, ast.FunctionDef) and s.name == "check"]
    if not found:
        raise ValueError('gold.check has no "def check(args, result)" at its top level')
    takes = found[-1].args
    num_named = len(takes.posonlyargs) + len(takes.args)
    is_required = any(default is None for default in takes.kw_defaults)
    if num_named - len(takes.defaults) > 2 or (num_named < 2 and not takes.vararg) or is_required:
        raise ValueError("gold.check does not take two arguments, args and result")
    _require_imports(tree, "gold.check")


def _require_imports(tree: ast.AST, field: str) -> None:
    if missing := missing_imports(tree):
        raise ValueError(f"{field} imports {', '.join(sorted(missing))}, which the sandbox does not have")


def _compiled(code: str, field: str) -> ast.Module:
    """The tree of code that also compiles. Nothing is executed."""
    try:
        tree = ast.parse(code)
        compile(code, f"<{field}>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{field} is no Python: {error}") from None
    return tree


def _require_one_answer(gold: dict[str, Any]) -> None:
    """Two cases that ask for the same and expect something else cannot both hold."""
    is_function = gold["kind"] == "function"
    seen: dict[str, tuple[int, Any]] = {}
    for number, case in enumerate(gold["cases"], 1):
        asked = json.dumps(case["args"], sort_keys=True) if is_function else case["stdin"]
        expected = case["expected"] if is_function else lines_of(case["stdout"])
        first, other = seen.setdefault(asked, (number, expected))
        if not equals_json(expected, other):
            field = "args" if is_function else "stdin"
            raise ValueError(f"gold.cases {first} and {number} have the same {field} and expect different results")


def lines_of(output: str) -> list[str]:
    """Lines without trailing blanks, and without empty lines at the end."""
    lines = [line.rstrip() for line in output.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines
