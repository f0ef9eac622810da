"""Run a program on many inputs in one sandbox, each in a process of its own, where it leaves nothing behind.

    outputs(sandbox, "print(int(input()) + 1)", ["1\\n", "2\\n"], timeout_s=4)      # ["2\\n", "3\\n"]

One start of a sandbox takes as long as 20 such processes. They share its files, so only a program that reads its input,
writes its output and imports little else is run so (`leaves_nothing`). What comes back can only save a run of its own:
an output that is not the expected one decides nothing. No expected output is ever inside.
"""

import ast
from collections.abc import Iterator
from typing import Any

from rdistill.verifiers.code.blocks import parse

from rdistill.sandbox import Sandbox, run_steps

MAX_TOGETHER, MAX_TOGETHER_CHARS = 100, 1_000_000
MODULES = {
    "__future__", "abc", "array", "bisect", "cmath", "collections", "copy", "dataclasses", "datetime", "decimal",
    "enum", "fractions", "functools", "heapq", "itertools", "math", "operator", "queue", "random", "re",
    "statistics", "string", "sys", "typing",
}  # fmt: skip
NAMES = {
    "breakpoint", "compile", "delattr", "eval", "exec", "getattr", "globals", "locals", "open", "setattr", "vars",
}  # fmt: skip
ATTRIBUTES = {
    "modules", "builtins", "os", "posix", "io", "open", "system", "popen", "fork", "settrace", "setprofile",
}  # fmt: skip
WIDE = 1 << 16

_HARNESS = """
import os, sys, types

def _rdistill_file():
    path = "/tmp/rdistill_" + os.urandom(8).hex()
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(path)
    return number

def _rdistill_output(stdin):
    given, made = _rdistill_file(), _rdistill_file()
    with os.fdopen(os.dup(given), "wb") as file:
        file.write(stdin.encode("utf-8", "surrogatepass"))
    os.lseek(given, 0, 0)
    child = os.fork()
    if child == 0:
        _rdistill_become(given, made)
    status = os.waitpid(child, 0)[1]
    output = os.pread(made, {wide} + 1, 0)
    os.close(given)
    os.close(made)
    return output.decode("utf-8", "replace") if status == 0 and len(output) <= {wide} else None

def _rdistill_become(given, made):
    status = 1
    try:
        for old, new in ((given, 0), (made, 1), (os.open(os.devnull, os.O_WRONLY), 2)):
            os.dup2(old, new)
        os.closerange(3, 256)
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        sys.argv = ["main.py"]
        try:
            exec(_rdistill_program, module.__dict__)
            status = 0
        except SystemExit as stop:
            status = 0 if stop.code is None or stop.code == 0 else 1
        sys.stdout.flush()
    except BaseException:
        status = 1
    finally:
        os._exit(status)

_rdistill_program = compile({code!r}, "main.py", "exec")
"""


def outputs(sandbox: Sandbox, code: str, stdins: list[str], *, timeout_s: float) -> list[str | None]:
    """What a program writes for each input; None where it did not end well, or where the sandbox did not."""
    harness = _HARNESS.format(code=code, wide=WIDE)
    steps: list[dict[str, Any]] = [{"kind": "call", "name": "_rdistill_output", "args": [stdin]} for stdin in stdins]
    run = run_steps(sandbox, harness, steps, timeout_s=timeout_s)
    if run.status != "ok":
        return [None] * len(stdins)
    return [outcome.value if isinstance(outcome.value, str) else None for outcome in run.outcomes]


def together(cases: list[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    """The cases in order, in parts that one sandbox takes: so many, and so many characters."""
    part: list[dict[str, str]] = []
    size = 0
    for case in cases:
        length = len(case["stdin"]) + len(case["stdout"])
        if part and (len(part) == MAX_TOGETHER or size + length > MAX_TOGETHER_CHARS):
            yield part
            part, size = [], 0
        part.append(case)
        size += length
    yield part


def leaves_nothing(code: str) -> bool:
    """Whether a program, as it stands, opens no file and starts no process: its imports and names say so."""
    tree = parse(code)
    return tree is not None and all(map(_is_harmless, _nodes(tree)))


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes, but not the `open` of `open(0)`, which is stdin."""
    todo = [tree]
    while todo:
        node = todo.pop()
        match node:
            case ast.Call(func=ast.Name(id="open"), args=[ast.Constant(value=0)], keywords=[]):
                continue
        yield node
        todo += ast.iter_child_nodes(node)


def _is_harmless(node: ast.AST) -> bool:
    match node:
        case ast.Import(names=names):
            return all(alias.name.partition(".")[0] in MODULES for alias in names)
        case ast.ImportFrom(module=module, names=names):
            is_known = str(module).partition(".")[0] in MODULES
            return is_known and not any(alias.name in ATTRIBUTES or alias.name.startswith("_") for alias in names)
        case ast.Name(id=name):
            return name not in NAMES and (not name.startswith("__") or name == "__name__")
        case ast.Attribute(attr=name):
            return name not in ATTRIBUTES and (not name.startswith("_") or name == "__init__")
    return True
