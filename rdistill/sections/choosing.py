"""What may be learned from: verifiers, the choice of samples, pairs."""

from typing import Annotated, Any, Literal

from pydantic import Field

from rdistill.records import PairSource, StudentMode
from rdistill.sections.base import Fraction, Positive, Section


class VerifierSpec(Section):
    """A verifier by name (or path/to/file.py:Class) with its options."""

    name: str
    """An installed verifier, or path/to/file.py:Class."""
    required: bool = True
    """A required verifier has a vote; an advisory one is only recorded."""
    domains: Annotated[list[str], Field(min_length=1)] | None = None
    """Domains of the problems that it judges; null: all."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """combine `weighted`: what its vote weighs."""
    timeout_s: Annotated[float, Field(gt=0)] | None = None
    """Wall-clock limit of one check; null: verify.timeout_s."""
    workers: Positive | None = None
    """Processes of its own, e.g. 16 for a judge, which only waits; null: verify.workers, which the first-party ones
    share."""
    options: dict[str, Any] = {}
    """Keyword arguments of its class."""


Combine = Literal["all", "any", "weighted"]


class VerifyConfig(Section):
    """Who decides what may be learned from, and within which limits."""

    verifiers: Annotated[list[VerifierSpec], Field(min_length=1)] = [VerifierSpec(name="math")]
    """Those that are required and judge a problem's domain vote on its samples."""
    combine: Combine = "all"
    """A sample passes if all votes pass it, if any does, or if those that do weigh enough. What is not known decides
    nothing: docs/verifiers.md has the tables."""
    combine_in: dict[str, Combine] = {}
    """Domains whose votes combine in another way, e.g. `{code: any}`."""
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    """combine `weighted`: share of the votes' weight that has to pass."""
    workers: Positive = 2
    """Processes for the first-party verifiers together, and for each plug-in."""
    timeout_s: Annotated[float, Field(gt=0)] = 5
    """Wall-clock limit of one check; the worker is killed and the verdict is `unverifiable`."""
    memory_mb: Annotated[int, Field(ge=256)] = 2048
    """MiB: address space of one worker process, and resident memory of it and all that it started together."""
    max_bad_gold: Fraction = 0.1
    """Share of the problems whose gold answer may fail its own verifier; they are quarantined. More stops the run."""


class SelectConfig(Section):
    """Which verified samples become training examples."""

    max_per_problem: Positive = 2
    """Examples of one problem in one mode; one in `direct`."""
    prefer: Literal["shortest", "confident", "first"] = "shortest"
    """Which verified samples come first: shortest text, highest confidence, or lowest sample index."""
    modes: Annotated[list[StudentMode], Field(min_length=1)] = ["explain", "direct"]
    """What the student learns side by side, told apart by its system prompt."""
    gold: bool = False
    """Learn in `direct` the gold answer of train problems that no sample solved (the label of Distilling Step-by-Step,
    Hsieh et al. 2023)."""


class PairConfig(Section):
    """Which preferences are built."""

    sources: list[PairSource] = ["best_of_n", "revision", "concise"]
    """Where pairs come from; docs/pairs.md describes each. `student` samples the SFT model, so pairs are built after
    it."""
    max_per_problem: Positive = 2
    """Per source and mode."""
    concise_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """A concise pair's chosen answer is at most this fraction of the rejected one's length."""
    student_samples: Positive = 4
    """Source `student`: answers that the SFT model draws for each problem, in each mode."""
    student_temperature: Annotated[float, Field(gt=0, le=2)] = 0.8
    """Source `student`: its sampling temperature."""
    student_variations: Annotated[int, Field(ge=0)] = 0
    """Source `student`: ask it so many variations of each train problem that has an equation (prompts.sources with
    gold_format `equation`), with numbers that it was not trained on; 0: the train problems that the teacher solved."""
