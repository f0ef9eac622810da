"""A JSON schema, checked as a whole before it is used: small, of draft 2020-12, without a way out of itself.

Patterns are ECMA-262 expressions in the standard; here they are read by Python's `re`, with `$`, `.`, classes and
named groups as ECMA has them. A pattern that Python cannot read, or reads as something else, makes the schema
unusable. Backtracking is not prevented: patterns and answers are bounded, and the pool kills what takes too long.
"""

import copy
import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError as BadSchema
from jsonschema.exceptions import UnknownType, ValidationError
from jsonschema.validators import extend
from jsonschema_specifications import REGISTRY as SPECIFICATIONS
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from rdistill.records import canonical_json
from rdistill.strict_json import loads_strict

STANDARD = "https://json-schema.org/draft/2020-12/"
DRAFT = f"{STANDARD}schema"
MAX_NODES, MAX_PATTERN_CHARS = 5_000, 500
NO_FORMATS = FormatChecker(formats=())
PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
TOKENS = re.compile(
    rf"({PAIR}|\\u\{{[0-9a-fA-F]{{1,6}}\}}|\\.|\[(?:\\.|[^\]\\])*\]|\(\?<(?![=!])|\(\?[P>#(]|[*+?}}]\+|[$.])", re.DOTALL
)
IN_CLASS = re.compile(rf"{PAIR}|\\u\{{[0-9a-fA-F]{{1,6}}\}}|(\\[dDsSwW])(-(?!\]))?|\\.", re.DOTALL)
BLANKS = r"\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
SWAPPED = {"$": r"\Z", ".": r"[^\n\r\u2028\u2029]", "(?<": "(?P<", r"\s": f"[{BLANKS}]", r"\S": f"[^{BLANKS}]"}
PYTHON_ONLY = ("[]", "[^]", r"\A", r"\Z", "(?P", "(?>", "(?#", "(?(", "*+", "++", "?+", "}+")
"""What ECMA-262 reads otherwise, or not at all."""
PROPERTY = re.compile(r"(?<!\\)(?:\\\\)*(\\[pP]\{[^}]{0,40}\}?)")


class SchemaError(ValueError):
    """The schema itself cannot be used; the message says why."""


class Schema:
    """A usable schema; `fault` says what is wrong with a value."""

    def __init__(self, schema: dict[str, Any] | bool, written: dict[str, str], registry: Any) -> None:
        self._validator, self._written = STRICT(schema, registry=registry), written

    def fault(self, value: Any) -> str | None:
        """Where and why a value does not fit, or None. Raises SchemaError if the schema sends it in circles."""
        try:
            error = next(self._validator.iter_errors(value), None)
        except (Unresolvable, UnknownType, RecursionError, re.error) as problem:
            raise SchemaError(f"schema: {type(problem).__name__} ({str(problem)[:120]})") from None
        if error is None:
            return None
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
        message = error.message
        for ours, written in self._written.items():
            message = message.replace(repr(ours), repr(written))
        return f"answer{where[:80]}: {message[:200]}"


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
    if isinstance(schema, dict):
        _check_name(schema)
    _check_draft(schema)
    registry = standard_schemas() if STANDARD in text else Registry()
    return Schema(schema, _check_closed(schema, registry), registry)


def standard_schemas() -> Any:
    """The schemas of the standard itself, which jsonschema ships; copies, since patterns are made ours in place."""
    ours = [uri for uri in SPECIFICATIONS if uri.startswith(STANDARD)]
    copies = [(uri, DRAFT202012.create_resource(copy.deepcopy(SPECIFICATIONS.contents(uri)))) for uri in ours]
    return Registry().with_resources(copies).crawl()


def _check_name(part: dict[str, Any]) -> None:
    if (draft := str(part.get("$schema", DRAFT)).rstrip("#")) != DRAFT:
        raise SchemaError(f"$schema is {draft[:80]!r}; only draft 2020-12 is read, so convert the schema")


def _check_draft(schema: Any) -> None:
    try:
        Draft202012Validator.check_schema(schema, format_checker=NO_FORMATS)
    except BadSchema as error:
        raise SchemaError(f"not a 2020-12 schema: {error.message[:200]}") from None


def _check_closed(schema: dict[str, Any] | bool, registry: Any) -> dict[str, str]:
    """Raise SchemaError unless every subschema is of this draft and refers within the schema; makes patterns ours.

    Subschemas are those of the keywords, and wherever a reference leads. Returns the patterns as written, by ours.
    """
    root: Resource = DRAFT202012.create_resource(schema)
    found = [(root, (registry.with_resource("", root).crawl()).resolver_with_root(root))]
    seen: set[int] = set()
    written: dict[str, str] = {}
    for count, (part, resolver) in enumerate(found):  # grows as it is walked
        if count > MAX_NODES:
            raise SchemaError(f"schema of more than {MAX_NODES} subschemas")
        if not isinstance(part.contents, dict) or id(part.contents) in seen:
            continue
        seen.add(id(part.contents))
        for target in _check_part(part.contents, resolver, written):
            if id(target.contents) not in seen:
                _check_draft(target.contents)
                found.append((DRAFT202012.create_resource(target.contents), target.resolver))
        found += [(inner, resolver.in_subresource(inner)) for inner in part.subresources()]
    return written


def _check_part(part: dict[str, Any], resolver: Any, written: dict[str, str]) -> list[Any]:
    """Check one subschema, and find where its references lead."""
    _check_name(part)
    targets = []
    for key in ("$ref", "$dynamicRef"):
        if key in part:
            try:
                targets.append(resolver.lookup(part[key]))
            except (Unresolvable, ValueError):
                raise SchemaError(f"{key} {part[key][:80]!r} leaves the schema or finds nothing in it") from None
    if "pattern" in part:
        ours = python_pattern(part["pattern"])
        written[ours], part["pattern"] = part["pattern"], ours
    if "patternProperties" in part:
        by_pattern = {python_pattern(key): (key, inner) for key, inner in part["patternProperties"].items()}
        written |= {ours: key for ours, (key, _) in by_pattern.items()}
        part["patternProperties"] = {ours: inner for ours, (_, inner) in by_pattern.items()}
    return targets


def python_pattern(pattern: str) -> str:
    """An ECMA-262 pattern for Python: `$` is the very end, `.` no line's end, groups are named as `(?P<name>`.

    Raises SchemaError for one that is too long or that Python cannot read as ECMA-262 does.
    """
    if len(pattern) > MAX_PATTERN_CHARS:
        raise SchemaError(f"pattern of {len(pattern)} characters, at most {MAX_PATTERN_CHARS}")
    if found := PROPERTY.search(pattern):
        raise SchemaError(f"pattern {pattern[:80]!r}: {found[1]} is a property of Unicode, which is not supported")
    tokens = TOKENS.split(pattern)
    if foreign := next((token for token in tokens[1::2] if token in PYTHON_ONLY), None):
        raise SchemaError(f"pattern {pattern[:80]!r} cannot be read ({foreign} is not ECMA-262's, or matches nothing)")
    text = "".join(_swapped(token) if i % 2 else token for i, token in enumerate(tokens))
    try:
        re.compile(scoped := f"(?a:{text})")
    except (re.error, RecursionError, OverflowError) as error:
        raise SchemaError(f"pattern {pattern[:80]!r} cannot be read ({getattr(error, 'msg', error)})") from None
    return scoped


def _swapped(token: str) -> str:
    """A token of an ECMA-262 pattern for Python."""
    if token.startswith("["):
        return IN_CLASS.sub(_in_class, token)
    return re.escape(_char(token)) if token.startswith(r"\u") and len(token) > 2 else SWAPPED.get(token, token)


def _in_class(found: re.Match[str]) -> str:
    """`[\\w-.]` has a plain hyphen; blanks are Unicode's."""
    if kind := found[1]:
        return (BLANKS if kind == r"\s" else kind) + (r"\-" if found[2] else "")
    return re.escape(_char(found[0])) if found[0].startswith(r"\u") and len(found[0]) > 2 else found[0]


def _char(escape: str) -> str:
    """The character of `\\u{1F600}` or of two surrogates."""
    if escape[2] == "{":
        return chr(int(escape[3:-1], 16))
    return bytes.fromhex(escape.replace(r"\u", "")).decode("utf-16-be")


def _multiple_of(validator: Any, divisor: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    """Exact: 0.3 is a multiple of 0.1, which binary fractions deny."""
    if validator.is_type(value, "number") and Fraction(str(value)) % Fraction(str(divisor)):
        yield ValidationError(f"{value} is not a multiple of {divisor}")


STRICT = extend(Draft202012Validator, {"multipleOf": _multiple_of})
