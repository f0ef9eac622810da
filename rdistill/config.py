"""The one YAML file: its schema, its loader, its `key=value` overrides.

    config = load_config("configs/quickstart.yaml", ["dpo.beta=0.2"])

Each stage has one frozen section; unknown keys are refused with the nearest known one. Nothing here loads a model.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from rdistill.contradictions import contradictions
from rdistill.errors import ConfigError
from rdistill.explain import explain_validation, types_inside
from rdistill.overrides import apply_override, parse_yaml
from rdistill.records import Pool, StudentMode, TeacherMode
from rdistill.strict_yaml import MAX_BYTES

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
V = TypeVar("V")
PerMode = dict[StudentMode, V]
"""A value for each mode; a mode that a config leaves out keeps its default."""


class Section(BaseModel):
    """A part of the config: frozen, strict about its keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def no_flag_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads yes, no, on and off as true and false, which would count as 1 and 0."""
        kinds = types_inside(cls.model_fields[info.field_name or ""].annotation)
        if isinstance(value, bool) and bool not in kinds and Any not in kinds:
            raise ValueError(f"got {str(value).lower()}, which is neither a number nor text; change it")
        return value

    @field_validator("prompts", "max_tokens", mode="before", check_fields=False)
    @classmethod
    def other_modes_keep_their_default(cls, value: Any, info: ValidationInfo) -> Any:
        default = cls.model_fields[info.field_name or ""].default
        return {**default, **value} if isinstance(value, dict) and isinstance(default, dict) else value


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
    gold_format: Literal["text", "equation", "hashes", "json"] = "text"
    """`equation`: arithmetic to evaluate; `hashes`: what follows `####` (GSM8K); `json`: parsed."""
    variations: Annotated[int, Field(ge=0)] = 0
    """gold_format `equation`: so many train problems more of each one, told again with other numbers."""
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
        if self.variations and self.gold_format != "equation":
            raise ValueError("variations need gold_format: equation, which says what becomes of other numbers")
        if self.variations and self.fields.hint:
            raise ValueError("variations need the equation as the hint; leave fields.hint out")
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
    """What stands before the final answer, on the last line."""


class Sampling(Section):
    """How a model's tokens are drawn."""

    temperature: Annotated[float, Field(ge=0)] = 0.8
    """0 always takes the likeliest token, so that every sample of a problem is the same."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Below 1 each step sorts the vocabulary, which on CPU costs up to half of the speed."""
    max_tokens: Positive = 512
    """Longest completion; what is cut there is `unverifiable` and never learned from."""


class VllmConfig(Section):
    """Options of the in-process vLLM engine."""

    max_model_len: Positive = 2048
    """Tokens of prompt and completion together; also when students are evaluated."""
    max_num_seqs: Positive = 64
    """Completions computed at once."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "bfloat16"
    """Of the weights that are served."""
    tensor_parallel_size: Positive = 1
    """GPUs that one copy of the model is spread over."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of a GPU's memory for weights and KV cache."""
    cpu_kv_cache_gib: Positive = 2
    """KV cache on CPU, in GiB."""
    enforce_eager: bool | None = None
    """null: eager on CPU (compiling takes minutes there), compiled on GPUs."""


class WorkedExample(Section):
    """A question with the full reply that the teacher should imitate."""

    question: str
    """As a problem would be put."""
    hint: str | None = None
    """What follows the question where the problem itself has a hint."""
    reply: str | Annotated[list[str], Field(min_length=1)]
    """Rationale, marker and answer, as a reply should be; for a tool trace a list: the model's turn, the tool's result,
    the model's turn, and so on."""


class TeacherConfig(Section):
    """Who supervises, and how much of it is asked for."""

    engine: Literal["vllm", "openai"] = "vllm"
    """`vllm` runs the model in this process; `openai` asks an endpoint."""
    model: str
    """Hub id, local folder, `bundled:NAME`, or the model's name at the endpoint."""
    revision: str | None = None
    """Commit, tag or branch of a hub model."""
    base_url: str | None = None
    """OpenAI-compatible endpoint, e.g. http://127.0.0.1:8000/v1."""
    api_key_env: str = "OPENAI_API_KEY"
    """Name of the environment variable with the key; the key itself never stands in a config."""
    mode: TeacherMode = "rationale"
    """One reply; draft, critique and revision; or a conversation with tools."""
    system: str = (
        "Reason step by step in a few short sentences. Then write the final answer on a line of its own after '####'."
    )
    """System prompt; in tool_trace a description of the tools is added. It should name `answer.marker`."""
    critique: str = "List the mistakes in the solution above, if there are any. Be brief."
    """critique_revise: what asks for the critique of the draft."""
    revise: str = "Write the corrected solution in the same format, with the final answer after '####'."
    """critique_revise: what asks for the revision."""
    tools: list[Literal["calculator", "python"]] = ["calculator"]
    """What a tool trace may call."""
    max_turns: Positive = 4
    """Most model turns in one tool trace."""
    examples: list[WorkedExample] = []
    """Worked examples put before each problem (the student never sees them)."""
    sampling: Sampling = Sampling()
    samples_per_round: Positive = 4
    """Samples of a problem asked for together, before looking whether that is enough."""
    max_samples: Positive = 8
    """Samples per problem at most; sampling stops early when `want_pass` and `want_fail` are met."""
    max_samples_by_pool: dict[Pool, Annotated[int, Field(ge=0)]] = {}
    """Another limit for the problems of a pool, e.g. {synthetic: 1} where there are many and easy ones; 0 leaves
    them to `select.gold`."""
    want_pass: Positive = 1
    """Verified right samples after which a problem needs no more (if `want_fail` is met too)."""
    want_fail: Annotated[int, Field(ge=0)] = 1
    """Verified wrong samples wanted, for pairs; 0 where no pairs are."""
    hints: Annotated[int, Field(ge=0)] = 0
    """Samples more, at most, of a train problem that none solved, now with a hint in the teacher's prompt
    (rationalisation: STaR, Zelikman et al. 2022, section 3.2). The student never sees the hint."""
    hint: Annotated[str, Field(pattern=r"\{hint\}")] = "(Hint: {hint})"
    """What follows the question then; {hint} is what `fields.hint` says, or the gold answer, which {gold} always is."""
    concurrency: Positive = 64
    """Requests in flight at once."""
    timeout_s: Annotated[float, Field(gt=0)] = 300
    """Longest wait for one completion."""
    vllm: VllmConfig = VllmConfig()

    def most_samples(self, pool: Pool) -> int:
        """Samples of a problem of a pool at most, hinted ones left out."""
        return self.max_samples_by_pool.get(pool, self.max_samples)

    @model_validator(mode="after")
    def endpoint_named(self) -> Self:
        if self.engine == "openai" and not self.base_url:
            raise ValueError("engine 'openai' needs base_url, e.g. base_url: http://127.0.0.1:8000/v1")
        if self.mode == "tool_trace" and not self.tools:
            raise ValueError("mode 'tool_trace' needs at least one tool, e.g. tools: [calculator]")
        return self


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


class VerifyConfig(Section):
    """Who decides what may be learned from, and within which limits."""

    verifiers: Annotated[list[VerifierSpec], Field(min_length=1)] = [VerifierSpec(name="math")]
    """Those that are required and judge a problem's domain vote on its samples."""
    combine: Literal["all", "any", "weighted"] = "all"
    """A sample passes if all votes pass it, if any does, or if those that do weigh enough. What is not known decides
    nothing: docs/verifiers.md has the tables."""
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    """combine `weighted`: share of the votes' weight that has to pass."""
    workers: Positive = 2
    """Processes for the first-party verifiers together, and for each plug-in."""
    timeout_s: Annotated[float, Field(gt=0)] = 5
    """Wall-clock limit of one check; the worker is killed and the verdict is `unverifiable`."""
    memory_mb: Positive = 2048
    """Address space of one worker process, in MiB."""
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

    sources: list[Literal["best_of_n", "revision", "tool_trace", "concise"]] = ["best_of_n", "revision", "concise"]
    """Where pairs come from; docs/pairs.md describes each."""
    max_per_problem: Positive = 2
    """Per source."""
    concise_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """A concise pair's chosen answer is at most this fraction of the rejected one's length."""


class StudentConfig(Section):
    """Who learns, and the system prompt that asks it for each mode."""

    model: str
    """Hub id, local folder, or `bundled:NAME`."""
    revision: str | None = None
    """Commit, tag or branch of a hub model."""
    prompts: PerMode[str] = {
        "explain": "Reason step by step, then give the final answer after '####'.",
        "direct": "Give the final answer only.",
        "tool": "Answer with the help of the calculator tool.",
    }
    """System prompt of each mode, in training, evaluation and `ask`."""


class LoraConfig(Section):
    """Low-rank adapters instead of full weights; merged when saved."""

    rank: Positive = 16
    """Of the low-rank matrices."""
    alpha: Positive = 32
    """Scale: updates count alpha / rank."""
    dropout: Fraction = 0.0
    """On the adapters' input while training."""
    target_modules: str | list[str] = "all-linear"
    """Names of the layers to adapt, or `all-linear`."""


class SpanWeights(Section):
    """Weight of each supervised token by its role, in the mean that `sft.normalize` names. Prompt tokens weigh 0."""

    rationale: Annotated[float, Field(ge=0)] = 1.0
    """Reasoning, and the prose around tool calls."""
    answer: Annotated[float, Field(ge=0)] = 1.0
    """Separator, marker and final answer."""
    tool_call: Annotated[float, Field(ge=0)] = 1.0
    """The calls, tags included."""
    tool_result: Annotated[float, Field(ge=0)] = 0.0
    """What tools returned; the student does not write it."""


class TrainConfig(Section):
    """What both training stages share. Batch sizes count rows (pairs in DPO)."""

    learning_rate: Annotated[float, Field(gt=0)]
    """At its peak."""
    epochs: Annotated[float, Field(gt=0)]
    """Passes over the rows; a fraction is that share of one pass's steps."""
    batch_size: Positive
    """Rows per optimizer step over all ranks; any number of ranks trains the same curve."""
    micro_batch_size: Positive = 8
    """Rows per rank in one forward pass, at most."""
    max_length: Positive = 1024
    """Tokens; a longer row is dropped and counted, never cut."""
    warmup_ratio: Fraction = 0.1
    """Share of the steps in which the learning rate rises to its peak."""
    scheduler: Literal["linear", "cosine", "constant_with_warmup"] = "cosine"
    """How the learning rate moves after the warm-up."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Of AdamW."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Longer gradients are scaled down to this."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the forward pass; master weights stay float32."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, more time."""
    lora: LoraConfig | None = None
    """null: all weights are trained; a mapping (`{}` for its defaults): low-rank adapters."""
    deepspeed: str | None = None
    """DeepSpeed JSON, looked for from the current folder, then beside the config; null picks the one that fits the
    device (ZeRO-2; on CPU without offload)."""
    ranks: Positive | None = None
    """Processes; null: one per GPU, on CPU two where there are two cores."""
    save_every: Annotated[int, Field(ge=0)] = 0
    """Steps between checkpoints; 0 means only the final model."""
    log_every: Positive = 5
    """Steps between lines of metrics.jsonl."""


class SftConfig(TrainConfig):
    """Stage 1: span-weighted supervised fine-tuning."""

    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    epochs: Annotated[float, Field(gt=0)] = 3
    batch_size: Positive = 16
    weights: SpanWeights = SpanWeights()
    normalize: Literal["token", "span", "example"] = "token"
    """What counts alike in the mean over a step's rows, whatever its length: a token, a span (an unbroken run of one
    role) or an example; docs/training.md has the equations."""
    multitask_lambda: Annotated[float, Field(gt=0)] | None = None
    """Weight of the rationale task beside the answer task, as in Distilling Step-by-Step (Hsieh et al. 2023): the mean
    over `direct` rows plus this times the mean over all other rows. null: one mean over all rows."""


class DpoConfig(TrainConfig):
    """Stage 2: direct preference optimisation from the SFT model, its own reference."""

    enabled: bool = True
    """false leaves the stage out; the SFT model is then the student."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-6
    epochs: Annotated[float, Field(gt=0)] = 1
    batch_size: Positive = 16
    micro_batch_size: Positive = 4
    beta: Annotated[float, Field(gt=0)] = 0.1
    """How strongly the student is held to the reference; in `simpo` the scale of its reward, 2 to 2.5 in the paper."""
    loss: Literal["sigmoid", "robust", "ipo", "simpo"] = "sigmoid"
    """Of DPO (`sigmoid`; `robust` where some pairs are the wrong way round), IPO or SimPO, which needs no reference."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Assumed share of pairs that are the wrong way round (not in `ipo`): `sigmoid` and `simpo` learn them less surely,
    `robust` corrects the loss for them."""
    simpo_gamma: Annotated[float, Field(ge=0)] = 0.5
    """Margin that `simpo` wants between the rewards of chosen and rejected."""
    ld_alpha: Fraction | None = None
    """Weight of the tokens by which one side is longer than the other (LD-DPO), in `sigmoid` and `robust`; null: 1."""
    nll_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the chosen answer's negative log-likelihood (an anchor against likelihood collapse)."""


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

    require: Literal["strong", "medium"] = "strong"
    """Only `strong` exists today; a machine that cannot give it is refused."""
    timeout_s: Annotated[float, Field(gt=0)] = 5
    """Of one run of the python tool."""
    memory_mb: Positive = 512
    """Of one run of the python tool, in MiB."""


class Config(Section):
    """A whole run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Letters, digits and . _ -; names the run's folder."""
    run_dir: str | None = None
    """Default: runs/NAME under the current folder."""
    data_dir: str | None = None
    """Folder that relative data paths start from, itself looked for from the current folder, then beside the config
    file; default: the config file's folder."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of splits, sampling, procedural tasks and the order of training rows."""
    prompts: PromptsConfig
    answer: AnswerConfig = AnswerConfig()
    teacher: TeacherConfig
    verify: VerifyConfig = VerifyConfig()
    select: SelectConfig = SelectConfig()
    pair: PairConfig = PairConfig()
    student: StudentConfig
    sft: SftConfig = SftConfig()
    dpo: DpoConfig = DpoConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    sandbox: SandboxConfig = SandboxConfig()

    @model_validator(mode="after")
    def fields_agree(self) -> Self:
        for fault in contradictions(self):
            raise ValueError(fault)
        return self


def load_config(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Read, override and validate a config; relative data paths are resolved against its folder.

    Raises ConfigError: one sentence with the field, the value got, what was expected.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8") if size <= MAX_BYTES else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); name an existing YAML file") from None
    if text is None:
        raise ConfigError(f"{path}: {size} bytes, a config has at most {MAX_BYTES}; name another file")
    tree = parse_yaml(text, str(path))
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path}: holds {type(tree).__name__}, expected a mapping of sections (name, prompts, teacher, ...)"
        )
    for override in overrides or []:
        apply_override(tree, override)
    _resolve_paths(tree, path.parent)
    _tell_format_the_marker(tree)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain_validation(error, Config)}") from None


def _tell_format_the_marker(tree: dict) -> None:
    """The answer marker is declared once; the `format` verifier takes it from there."""
    try:
        marker = (tree.get("answer") or {}).get("marker", AnswerConfig().marker)
        for spec in (tree.get("verify") or {}).get("verifiers") or []:
            if spec["name"] == "format":
                spec["options"] = {"marker": marker} | (spec.get("options") or {})
    except (AttributeError, KeyError, TypeError):
        return  # not in this shape: validation says so


def _resolve_paths(tree: dict, folder: Path) -> None:
    """Make paths absolute: looked for from the current folder first, then beside the config file."""

    def resolve(path: Any) -> Any:
        if not isinstance(path, str):
            return path  # validation says what is wrong with it
        is_beside = not Path(path).exists() and (folder / path).exists()
        return str((folder / path if is_beside else Path(path)).resolve())

    tree["data_dir"] = resolve(tree.get("data_dir") or str(folder))
    run_dir = tree.get("run_dir") or f"runs/{tree.get('name', 'unnamed')}"
    tree["run_dir"] = str(Path(run_dir).resolve()) if isinstance(run_dir, str) else run_dir
    for stage in ("sft", "dpo"):
        section = tree.get(stage)
        if isinstance(section, dict) and section.get("deepspeed"):
            section["deepspeed"] = resolve(section["deepspeed"])


def dump_config(config: Config) -> str:
    """The resolved config as YAML, nulls kept: reading it back gives the same run."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
