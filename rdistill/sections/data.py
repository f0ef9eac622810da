"""Where problems come from, how they are split, and how an answer is declared."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from rdistill.records import Pool
from rdistill.sections.base import Fraction, Positive, Section


class Fields(Section):
    """Which column of a data file holds what. A column may be a path into nested rows: `extra.answer`."""

    prompt: str = "prompt"
    """Column with the question (text), or with a list of chat messages."""
    gold: str | None = "gold"
    """Column with the expected answer; null for data without one."""
    hint: str | None = None
    """Column with the way to the answer, or a part of it, for `teacher.hints`; null: the equation of gold_format
    `equation`, else the gold answer."""
    tools: str | None = None
    """Column with the tools' JSON schemas."""
    domain: str | None = None
    """Column with the domain's name, where rows differ."""


class Source(Section):
    """One origin of problems: a file, a hub data set, or a procedural task. Exactly one of path, hub, task."""

    path: str | None = None
    """JSONL, CSV or Parquet file (optionally .gz), looked for under `data_dir`."""
    hub: str | None = None
    """Id of a data set on the hub."""
    revision: str | None = None
    """Commit, tag or branch of the hub data set; pin one, or the data may change under you."""
    subset: str | None = None
    """Configuration of the hub data set, where it has several."""
    hub_split: str = "train"
    """Which split of the hub data set to read; `split` says what it is used for."""
    task: str | None = None
    """`word_problems`, `arithmetic`, or `reasoning_gym:NAME`."""
    options: dict[str, Any] = {}
    """Arguments of the procedural task."""
    size: Positive | None = None
    """How many problems: the number to make (a task), or the most to read (a file)."""
    fields: Fields = Fields()
    show_tools: bool = True
    """Describe the tools of `fields.tools` in the prompt's system message; false where the prompts tell of them."""
    gold_format: Literal["text", "equation", "hashes", "json"] = "text"
    """`equation`: arithmetic to evaluate; `hashes`: what follows `####` (GSM8K); `json`: parsed."""
    variations: Annotated[int, Field(ge=0)] = 0
    """gold_format `equation`: so many train problems more of each one, told again with other numbers."""
    calculations: Annotated[int, Field(ge=0)] = 0
    """gold_format `equation`: so many bare calculations for each train problem, its equation with other numbers:
    practice in the arithmetic that the problems need. Their pool and domain are `domain` and `calculations`."""
    split: Literal["train", "dev", "test", "auto", "practice"] = "auto"
    """`auto` draws dev and test by fraction; a data set with its own test file names it here. dev is drawn from `train`
    rows too, but never from `practice` rows, which are only trained on."""
    domain: str = "general"
    """The domain of all rows, where no column names it."""
    pool: Pool = "real"
    """What kind of problems these are; kept with each problem. Variations are `synthetic`."""

    @model_validator(mode="after")
    def one_origin(self) -> Self:
        named = [k for k in ("path", "hub", "task") if getattr(self, k)]
        if len(named) != 1:
            raise ValueError(f"a source needs exactly one of path, hub, task; got {named or 'none'}")
        if self.task and self.size is None:
            raise ValueError(f"task {self.task!r} needs a size: the number of problems to make")
        for field in ("variations", "calculations"):
            if getattr(self, field) and self.gold_format != "equation":
                raise ValueError(f"{field} need gold_format: equation, which says what becomes of other numbers")
            if getattr(self, field) and self.fields.hint:
                raise ValueError(f"{field} need the equation as the hint; leave fields.hint out")
        return self


class PromptsConfig(Section):
    """Where problems come from and how they are split."""

    sources: Annotated[list[Source], Field(min_length=1)]
    """Read in order; of equal prompts the first stays."""
    dev_fraction: Fraction = 0.1
    """Share of the train rows set aside for choices (early stop, levers); whole clusters at a time."""
    test_fraction: Fraction = 0.1
    """Share of `auto` rows set aside for the final numbers; 0 where a source names its own test split."""
    near_duplicate: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Jaccard similarity of word 3-grams from which two prompts are one cluster; 1 means exact duplicates only."""


class AnswerConfig(Section):
    """The declared answer format."""

    marker: Annotated[str, Field(min_length=1)] = "####"
    """What stands before the final answer, on the last line. Before a line that ends in a colon it is a heading."""
