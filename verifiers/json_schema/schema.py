"""A JSON schema, checked as a whole before it is used: small, of draft 2020-12, without a way out of itself.

Patterns are ECMA-262 expressions in the standard; here they are read by Python's `re`, with `$`, `\\d`, `\\w` and named
groups as ECMA has them. A pattern that Python cannot read makes the schema unusable. Backtracking is not prevented:
patterns and answers are bounded, and the pool kills what takes too long.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError as BadSchema
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from rdistill.records import canonical_json
from rdistill.strict_json import loads_strict

DRAFT = "https://json-schema.org/draft/2020-12/schema"
MAX_NODES, MAX_PATTERN_CHARS = 5_000, 500
NO_FORMATS = FormatChecker(formats=())
TOKENS = re.compile(r"(\\.|\[(?:\\.|[^\]\\])*\]|\(\?<(?![=!])|\$)", re.DOTALL)
SWAPPED = {"$": r"\Z", "(?<": "(?P<"}


class SchemaError(ValueError):
    """The schema itself cannot be used; the message says why."""


class Schema:
    """A usable schema; `fault` says what is wrong with a value."""

    def __init__(self, schema: dict[str, Any] | bool) -> None:
        self._validator = STRICT(schema, registry=Registry())

    def fault(self, value: Any) -> str | None:
        """Where and why a value does not fit, or None. Raises SchemaError if the schema sends it in circles."""
        try:
            error = next(self._validator.iter_errors(value), None)
        except (Unresolvable, RecursionError, re.error) as problem:
            raise SchemaError(f"schema: {type(problem).__name__} ({str(problem)[:120]})") from None
        if error is None:
            return None
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
        return f"answer{where[:80]}: {error.message[:200]}"


def compile_schema(schema: Any) -> Schema:
    """Check a schema and make it ready. Raises SchemaError for whatever is no small, closed 2020-12 schema."""
    if not isinstance(schema, dict | bool):
        raise SchemaError(f"gold is {type(schema).__name__}, expected a JSON schema (an object, true or false)")
    try:
        return _compiled(canonical_json(schema))
    except (RecursionError, TypeError, ValueError) as error:
        raise error if isinstance(error, SchemaError) else SchemaError(f"schema: {str(error)[:200]}") from None


@lru_cache(maxsize=256)
def _compiled(text: str) -> Schema:
    schema = loads_strict(text)
    try:
        Draft202012Validator.check_schema(schema, format_checker=NO_FORMATS)
    except BadSchema as error:
        raise SchemaError(f"not a 2020-12 schema: {error.message[:200]}") from None
    _check_closed(schema)
    return Schema(schema)


def _check_closed(schema: dict[str, Any] | bool) -> None:
    """Raise SchemaError unless every subschema is of this draft and refers within the schema; makes patterns ours."""
    root: Resource = DRAFT202012.create_resource(schema)
    found = [(root, (Registry().with_resource("", root).crawl()).resolver_with_root(root))]
    for count, (part, resolver) in enumerate(found):  # grows as it is walked
        if count > MAX_NODES:
            raise SchemaError(f"schema of more than {MAX_NODES} subschemas")
        if not isinstance(part.contents, dict):
            continue
        _check_part(part.contents, resolver)
        found += [(inner, resolver.in_subresource(inner)) for inner in part.subresources()]


def _check_part(part: dict[str, Any], resolver: Any) -> None:
    if (draft := str(part.get("$schema", DRAFT)).rstrip("#")) != DRAFT:
        raise SchemaError(f"$schema is {draft[:80]!r}, expected draft 2020-12")
    for key in ("$ref", "$dynamicRef"):
        if key in part:
            try:
                resolver.lookup(part[key])
            except (Unresolvable, ValueError):
                raise SchemaError(f"{key} {part[key][:80]!r} leaves the schema or finds nothing in it") from None
    if "pattern" in part:
        part["pattern"] = python_pattern(part["pattern"])
    if "patternProperties" in part:
        part["patternProperties"] = {python_pattern(key): inner for key, inner in part["patternProperties"].items()}


def python_pattern(pattern: str) -> str:
    """An ECMA-262 pattern for Python: `$` is the very end, groups are named as `(?P<name>`, classes are ASCII.

    Raises SchemaError for one that is too long or that Python cannot read.
    """
    if len(pattern) > MAX_PATTERN_CHARS:
        raise SchemaError(f"pattern of {len(pattern)} characters, at most {MAX_PATTERN_CHARS}")
    text = "".join(SWAPPED.get(token, token) for token in TOKENS.split(pattern))
    try:
        re.compile(scoped := f"(?a:{text})")
    except (re.error, RecursionError, OverflowError) as error:
        raise SchemaError(f"pattern {pattern[:80]!r} cannot be read ({error})") from None
    return scoped


def _multiple_of(validator: Any, divisor: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    """Exact: 0.3 is a multiple of 0.1, which binary fractions deny."""
    if validator.is_type(value, "number") and Fraction(str(value)) % Fraction(str(divisor)):
        yield ValidationError(f"{value} is not a multiple of {divisor}")


STRICT = extend(Draft202012Validator, {"multipleOf": _multiple_of})
