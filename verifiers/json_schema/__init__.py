"""Is the answer strict JSON that fits a JSON schema (draft 2020-12)?

The gold, or the option `schema`, is the schema. References within the schema are followed, anything else is never
fetched: such a schema is `BAD_GOLD`. Says nothing about whether the values are true.
"""

from typing import Any

from rdistill.verifiers.json_schema.schema import Schema, SchemaError, compile_schema

from rdistill.answers import normalise_reasoning
from rdistill.records import Problem, Reason, Sample, Verdict
from rdistill.strict_json import loads_strict
from rdistill.verifiers import failed, passed, unverifiable


class JsonSchema:
    """Options: `schema`, for rows whose gold is something else; `marker` before the answer, where the reply as a whole
    is not JSON; `allow_fence`, accept one code fence around it."""

    name = "json_schema"
    version = "2"

    def __init__(
        self, *, schema: dict[str, Any] | bool | None = None, marker: str = "####", allow_fence: bool = False
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
            value = self.read(text)
        except ValueError as error:
            return failed(self, sample, Reason.UNPARSEABLE, str(error))
        try:
            fault = schema.fault(value)
        except SchemaError as error:
            return unverifiable(self, sample, Reason.BAD_GOLD, str(error))
        return failed(self, sample, Reason.WRONG_ANSWER, fault) if fault else passed(self, sample)

    def check_gold(self, problem: Problem, stated: Sample) -> Verdict:
        """Whether the schema can be used; it is no answer that would fit itself."""
        try:
            self.schema or schema_of(problem.gold)
        except SchemaError as error:
            return unverifiable(self, stated, Reason.BAD_GOLD, str(error))
        return passed(self, stated)

    def read(self, text: str) -> Any:
        """The JSON value of a reply: the whole of it, else what stands after the marker. Raises ValueError."""
        try:
            return loads_strict(self.unfence(text))
        except ValueError:
            _, found, tail = text.rpartition(self.marker)
            if not found:
                raise
        return loads_strict(self.unfence(tail.strip()))

    def unfence(self, text: str) -> str:
        if self.allow_fence and text.startswith("```") and text.endswith("```") and "\n" in text:
            return text[text.index("\n") : -3].strip()
        return text


def schema_of(gold: Any) -> Schema:
    """The schema that a gold answer is, as an object or as JSON text. Raises SchemaError."""
    if isinstance(gold, str):
        try:
            gold = loads_strict(gold)
        except ValueError as error:
            raise SchemaError(f"gold is no schema: {error}") from None
    return compile_schema(gold)
