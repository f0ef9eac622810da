"""What is measured, and where model-written code runs meanwhile."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rdistill.records import StudentMode
from rdistill.sandbox.levels import Level, url_fault
from rdistill.sections.base import PerMode, Positive, Section

ModelRole = Literal["base", "sft", "dpo", "teacher"]


class EvaluateConfig(Section):
    """What is measured on held-out items, always greedy."""

    split: Literal["dev", "test"] = "test"
    """Held-out problems; use dev to choose settings, test for the final numbers."""
    limit: Positive | None = None
    """The first problems of the split only; null: all."""
    models: Annotated[list[ModelRole], Field(min_length=1)] = ["base", "sft", "dpo", "teacher"]
    """What is measured; a model that was not trained is left out."""
    modes: Annotated[list[StudentMode], Field(min_length=1)] = ["explain", "direct"]
    """How base and student are asked; the teacher answers in its own mode."""
    max_tokens: PerMode[Positive] = {"explain": 256, "direct": 32, "tool": 128}
    """Longest answer of base and student in each mode."""
    examples: Positive = 8
    """Side-by-side examples in the report."""


class SandboxConfig(Section):
    """Where model-written code runs."""

    require: Level = "strong"
    """The lowest level that will do, best first. The machine's best is taken; one that is below this is refused.

    external: the service at `url`, and nothing else.
    """
    url: str | None = None
    """Of a service that runs code as SandboxFusion does (POST URL/run_code); needs require: external."""
    timeout_s: Annotated[float, Field(gt=0)] = 5
    """Of one run of the python tool."""
    memory_mb: Annotated[int, Field(ge=32)] = 512
    """Of one run of the python tool, in MiB."""

    @model_validator(mode="after")
    def service_named(self) -> Self:
        if self.url is not None and (fault := url_fault(self.url)):
            raise ValueError(fault)
        if self.require == "external" and self.url is None:
            raise ValueError(
                "require='external' needs url, the address of the service, e.g. url: http://127.0.0.1:8080"
            )
        if self.url is not None and self.require != "external":
            raise ValueError(
                f"url is not used with require={self.require!r}; write require: external, or leave url out"
            )
        return self
