"""Do a call's arguments fit its tool's JSON schema? No remote references are ever fetched."""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError as BadSchema
from jsonschema.exceptions import ValidationError
from rdistill.verifiers.tool_call.calls import Call
from referencing import Registry
from referencing.exceptions import Unresolvable

# Spellings of types that tool lists in the wild use.
TYPES = {
    "dict": "object", "hashmap": "object", "map": "object", "float": "number", "double": "number", "int": "integer",
    "long": "integer", "short": "integer", "byte": "integer", "bigint": "integer", "tuple": "array", "list": "array",
    "arraylist": "array", "set": "array", "str": "string", "char": "string", "bool": "boolean",
}  # fmt: skip
STANDARD = frozenset(("object", "array", "string", "number", "integer", "boolean", "null"))
MAX_DEPTH = 40


class SchemaError(ValueError):
    """The tools themselves cannot be used; the message says why."""


class Toolbox:
    """Tools by name, as bare {"name", "parameters"} or as OpenAI's {"type": "function", "function": {...}}."""

    def __init__(self, tools: Any) -> None:
        if not isinstance(tools, list):
            raise SchemaError(f"tools: expected a list, got {type(tools).__name__}")
        self.schemas: dict[str, dict[str, Any]] = {}
        for tool in tools:
            function = tool.get("function", tool) if isinstance(tool, dict) else None
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                raise SchemaError("tools: each needs a name")
            self.schemas[function["name"]] = closed_schema(function["name"], function.get("parameters") or {})

    def fault(self, call: Call) -> str | None:
        """Why a call does not fit, or None. Raises SchemaError if the tool's schema refers to what is not in it."""
        if call.name not in self.schemas:
            return f"no tool {call.name[:60]!r}"
        error = next(self._errors(call), None)
        if error is None:
            return None
        where = "".join(f".{step}" for step in error.absolute_path)
        return f"{call.name}{where}: {error.message[:200]}"

    def takes(self, name: str, argument: str, value: Any) -> bool:
        """Whether a known tool's schema has nothing against the value of one argument."""
        return not any(argument in list(e.absolute_path)[:1] for e in self._errors(Call(name, {argument: value})))

    def _errors(self, call: Call) -> Iterator[ValidationError]:
        validator = Draft202012Validator(self.schemas[call.name], registry=Registry())
        try:
            yield from validator.iter_errors(call.arguments)
        except (Unresolvable, RecursionError) as problem:
            raise SchemaError(f"tool {call.name!r}: unusable schema ({str(problem)[:120]})") from None


def closed_schema(name: str, parameters: Any) -> dict[str, Any]:
    """The schema of a tool's arguments, without unknown ones unless it allows them; raises SchemaError if it is none.

    `additionalProperties` would not see what `$ref`, `allOf` and the like declare.
    """
    standard = standard_schema(parameters)
    if not isinstance(standard, dict):
        raise SchemaError(f"tool {name!r}: parameters are {type(standard).__name__}, expected an object")
    schema = {"type": "object", **standard}
    schema.setdefault("unevaluatedProperties", False)
    try:
        Draft202012Validator.check_schema(schema)
    except (BadSchema, RecursionError) as problem:
        raise SchemaError(f"tool {name!r}: unusable schema ({str(problem)[:120]})") from None
    return schema


def standard_schema(schema: Any, depth: int = 0) -> Any:
    """A schema with standard type names; a type that nobody knows accepts anything."""
    if depth > MAX_DEPTH:
        raise SchemaError(f"tools: schema nested deeper than {MAX_DEPTH} levels")
    if isinstance(schema, list):
        return [standard_schema(item, depth + 1) for item in schema]
    if not isinstance(schema, dict):
        return schema
    fixed: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "type" and isinstance(value, str):
            name = value if value in STANDARD else TYPES.get(value.lower(), value.lower())
            if name in STANDARD:
                fixed[key] = name
        elif key == "properties" and isinstance(value, dict):
            fixed[key] = {name: standard_schema(part, depth + 1) for name, part in value.items()}
        elif key in ("enum", "const", "default", "description", "examples", "required"):
            fixed |= {key: value} if key != "required" or isinstance(value, list) else {}
        else:
            fixed[key] = standard_schema(value, depth + 1)
    return fixed
