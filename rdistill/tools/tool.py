"""What a tool trace may call: a calculator in this process, Python in the sandbox.

tools = make_tools(["calculator", "python"], config.sandbox)
await tools["calculator"].call({"expression": "84 / 2"})   -> '42'
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from rdistill.config import SandboxConfig
from rdistill.errors import ConfigError, PrerequisiteError
from rdistill.sandbox import Level, Sandbox
from rdistill.tools.calculator import CalculatorError, evaluate_expression, format_number

MAX_OUTPUT_CHARS = 2000


class Tool(Protocol):
    """A thing that a model may call. `schema` is the JSON schema of its arguments."""

    name: str
    description: str
    schema: ClassVar[dict[str, Any]]
    level: Level | None
    """Of the sandbox that it runs code in; None where it runs none."""

    async def call(self, arguments: dict[str, Any]) -> str:
        """The result as text; what the model did wrong comes back as `error: ...`."""
        ...


class Calculator:
    """Exact arithmetic."""

    level: Level | None = None
    name = "calculator"
    description = "Evaluates an arithmetic expression with + - * / // % ** and parentheses."
    schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"expression": {"type": "string", "description": "e.g. (3 + 4) * 12"}},
        "required": ["expression"],
        "additionalProperties": False,
    }

    async def call(self, arguments: dict[str, Any]) -> str:
        expression = _only_text_argument(arguments, "expression")
        if expression is None:
            return 'error: calculator takes exactly one argument, "expression", a string'
        try:
            return format_number(evaluate_expression(expression))
        except CalculatorError as error:
            return f"error: {error}"


class Python:
    """Python code in a fresh sandbox; nothing is kept between calls."""

    name = "python"
    description = (
        "Runs a Python program with the standard library and returns what it prints. No network, no files kept."
    )
    schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"code": {"type": "string", "description": "a whole program that prints its result"}},
        "required": ["code"],
        "additionalProperties": False,
    }

    def __init__(self, config: SandboxConfig) -> None:
        self.sandbox = Sandbox(timeout_s=config.timeout_s, memory_mb=config.memory_mb)
        self.level: Level | None = self.sandbox.level

    async def call(self, arguments: dict[str, Any]) -> str:
        code = _only_text_argument(arguments, "code")
        if code is None:
            return 'error: python takes exactly one argument, "code", a string'
        result = await self.sandbox.arun(code)
        if result.status == "sandbox_error":
            test = "rdistill sandbox selftest" + (f" --url {self.sandbox.url}" if self.sandbox.url else "")
            raise PrerequisiteError(f"the python tool's sandbox failed: {result.stderr}; run '{test}'")
        output = _shorten(result.stdout.strip())
        if result.status == "ok":
            return output or "(no output; print the result)"
        reasons = {
            "timeout": f"timed out after {self.sandbox.timeout_s:g} s",
            "resource_limit": "a resource limit was hit",
        }
        last_line = result.stderr.strip().rpartition("\n")[2]
        problem = f"error: {reasons.get(result.status) or _shorten(last_line) or f'exit status {result.exit_code}'}"
        return f"{output}\n{problem}" if output else problem


def make_tools(names: list[str], sandbox: SandboxConfig) -> dict[str, Tool]:
    """The named tools. Raises ConfigError for an unknown name, PrerequisiteError where the sandbox cannot be had."""
    makers: dict[str, Callable[[], Tool]] = {"calculator": Calculator, "python": lambda: Python(sandbox)}
    for name in names:
        if name not in makers:
            raise ConfigError(f"tool {name!r} is unknown; known tools: {', '.join(makers)}")
    return {name: makers[name]() for name in names}


def _only_text_argument(arguments: dict[str, Any], name: str) -> str | None:
    value = arguments.get(name)
    return value if set(arguments) == {name} and isinstance(value, str) else None


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_OUTPUT_CHARS else text[:MAX_OUTPUT_CHARS] + " ... (cut)"
