"""Find the solution among the fenced blocks of a reply. Nothing of it is executed here."""

import ast
import re
import textwrap

MAX_CODE_CHARS = 100_000
PYTHON_TAGS = frozenset(("python", "py", "python3", "py3"))
OTHER_TAGS = frozenset(("bash", "sh", "shell", "zsh", "console", "text", "txt", "plaintext", "output"))


def extract_code(text: str, entry_point: str | None = None) -> str:
    """The code of a reply: of its fenced blocks the last that is a solution, or the whole text without fences.

    A solution defines the entry point, or at least names it; without an entry point it is Python that calls something,
    or says that it is Python. Where no block is a solution, the last one counts. A fence that is never closed runs to
    the end. One linear scan.
    """
    blocks = fenced_blocks(text)
    codes = [code for _, code in blocks]
    if len(codes) < 2:
        return (codes or [text])[0]
    if entry_point is None:
        return next((code for tag, code in reversed(blocks) if is_program(tag, code)), codes[-1])
    naming = [code for code in codes if entry_point in code]
    return next((code for code in reversed(naming) if defines(code, entry_point)), (naming or codes)[-1])


def fenced_blocks(text: str) -> list[tuple[str, str]]:
    """(language in lower case, code) of each fenced block; code that is indented as a whole is no longer."""
    blocks: list[tuple[str, list[str]]] = []
    is_open = False
    for line in text.split("\n"):
        if line.lstrip().startswith("```"):
            is_open = not is_open
            if is_open:
                blocks.append(("".join(line.strip().strip("`").lower().split()[:1]), []))
        elif is_open:
            blocks[-1][1].append(line)
    return [(tag, _dedent(lines)) for tag, lines in blocks]


def _dedent(lines: list[str]) -> str:
    """textwrap.dedent, which would also empty the blank lines of code that has nothing to lose."""
    code = "\n".join(lines)
    return textwrap.dedent(code) if all(not line.strip() or line[0] in " \t" for line in lines) else code


def parse(code: str) -> ast.Module | None:
    """The tree of a program; None where it is none, or too large."""
    if len(code) > MAX_CODE_CHARS:
        return None
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def is_program(tag: str, code: str) -> bool:
    """Whether a block says that it is Python, or is Python that calls something: an output such as `5` does not."""
    if tag in PYTHON_TAGS:
        return True
    tree = None if tag in OTHER_TAGS else parse(code)
    return tree is not None and any(isinstance(node, ast.Call) for node in ast.walk(tree))


def defines(code: str, name: str) -> bool:
    """Whether code defines a function, a class or a variable at its top level."""
    tree = parse(code)
    if tree is None:
        pattern = rf"^(?:(?:async[ \t]+)?def|class)[ \t]+{name}\b|^{name}[ \t]*=(?!=)"
        return re.search(pattern, code, re.MULTILINE) is not None
    return any(name in _defined(statement) for statement in tree.body)


def _defined(statement: ast.stmt) -> set[str]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {statement.name}
        case ast.Assign(targets=targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            return {name}
    return set()
