"""What is measured, and where model-written code runs meanwhile."""

from typing import Annotated, Literal

from pydantic import Field

from rdistill.records import StudentMode
from rdistill.sandbox.levels import Level
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
    """The lowest level that will do, best first. The machine's best is taken; one that is below this is refused."""
    timeout_s: Annotated[float, Field(gt=0)] = 5
    """Of one run of the python tool."""
    memory_mb: Annotated[int, Field(ge=32)] = 512
    """Of one run of the python tool, in MiB."""
