"""Is the answer strict JSON that fits a JSON schema (draft 2020-12)?

The gold, or the option `schema`, is the schema. References within the schema are followed, anything else is never
fetched: such a schema is `BAD_GOLD`. Says nothing about whether the values are true.
"""

import json
from typing import Any

from rdistill.verifiers.json_schema.schema import Schema, SchemaError, compile_schema

from rdistill.answers import normalise_reasoning
from rdistill.records import Problem, Reason, Sample, Verdict
from rdistill.strict_json import loads_strict
from rdistill.verifiers import failed, passed, unverifiable

MAX_CHARS = 1 << 22


class TooLarge(ValueError):
    """JSON, and more of it than is read; the message says which limit it is."""


class JsonSchema:
    """Options: `schema`, for rows whose gold is something else; `marker` before the answer, where the reply as a whole
    is not JSON; `allow_fence`, accept one code fence around it, or refuse it; unset, it is `unverifiable`."""

    name = "json_schema"
    version = "3"

    def __init__(
        self, *, schema: dict[str, Any] | bool | None = None, marker: str = "####", allow_fence: bool | None = None
    ) -> None:
        if not marker:
            raise ValueError("marker must not be empty")
        self.marker, self.allow_fence = marker, allow_fence
        self.schema = None if schema is None else compile_schema(schema)

    def check(self, problem: Problem, sample: Sample) -> Verdict:
        try:
            schema = self.schema or schema_of(problem.gold)
        except SchemaError as error:
            return unverifiable(self, sample, Reason.BAD_GOLD, str(error))
        if sample.finish_reason == "length":
            return unverifiable(self, sample, Reason.TRUNCATED, "the reply was cut")
        _, text, finished = normalise_reasoning(sample.text)
        if not finished or not text:
            return failed(self, sample, Reason.NO_ANSWER, "an empty reply" if finished else "thinking without an end")
        try:
            value, is_fenced = self.read(text)
        except TooLarge as error:
            return unverifiable(self, sample, Reason.UNPARSEABLE, f"{error}: JSON that is not read")
        except ValueError as error:
            return failed(self, sample, Reason.UNPARSEABLE, str(error))
        try:
            fault = schema.fault(value)
        except SchemaError as error:
            return unverifiable(self, sample, Reason.BAD_GOLD, str(error))
        if fault:
            return failed(self, sample, Reason.WRONG_ANSWER, fault)
        if is_fenced and self.allow_fence is None:
            return unverifiable(
                self,
                sample,
                Reason.UNPARSEABLE,
                "it fits, in a code fence; set allow_fence to accept or to refuse that",
            )
        return passed(self, sample)

    def check_gold(self, problem: Problem, stated: Sample) -> Verdict:
        """Whether the schema can be used; it is no answer that would fit itself."""
        try:
            self.schema or schema_of(problem.gold)
        except SchemaError as error:
            return unverifiable(self, stated, Reason.BAD_GOLD, str(error))
        return passed(self, stated)

    def read(self, text: str) -> tuple[Any, bool]:
        """The JSON value of a reply, the whole of it, else what stands after the marker, and whether it is fenced.

        Raises: ValueError, TooLarge for what is JSON beyond the limits.
        """
        try:
            return self.unfenced(text)
        except TooLarge:
            raise
        except ValueError:
            _, found, tail = text.rpartition(self.marker)
            if not found:
                raise
        return self.unfenced(tail.strip())

    def unfenced(self, text: str) -> tuple[Any, bool]:
        if self.allow_fence is not False and text.startswith("```") and text.endswith("```") and "\n" in text:
            return load(text[text.index("\n") : -3].strip()), True
        return load(text), False


def load(text: str) -> Any:
    """A strict JSON value. Raises ValueError, TooLarge for what only the limits of size, depth and range refuse."""
    try:
        return loads_strict(text)
    except ValueError as error:
        raise (TooLarge(str(error)) if is_json(text) else error) from None


def is_json(text: str) -> bool:
    """Whether a text is JSON of any size, with numbers of any length; taken for it where it is too much to tell."""
    if len(text) > MAX_CHARS:
        return True
    try:
        value = json.loads(
            text, parse_int=len, parse_float=len, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys
        )
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key stands twice")
    return table


def schema_of(gold: Any) -> Schema:
    """The schema that a gold answer is, as an object or as JSON text. Raises SchemaError."""
    if isinstance(gold, str):
        try:
            gold = loads_strict(gold)
        except ValueError as error:
            raise SchemaError(f"gold is no schema: {error}") from None
    return compile_schema(gold)
