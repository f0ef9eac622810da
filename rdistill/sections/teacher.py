"""Who supervises, how its tokens are drawn, and how much of it is asked for."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rdistill.records import Pool, TeacherMode
from rdistill.sections.base import Positive, Section


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
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Of the weights that are served. `auto`: on a GPU the 16 bits that vLLM takes for these weights; on CPU bfloat16
    where it has instructions for it, else float32."""
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
    """`vllm` runs the model here, without a server; `openai` asks an endpoint."""
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
    timeout_s: Annotated[float, Field(gt=0)] = 600
    """Longest wait for one completion; an endpoint is asked again after half of it, half of the rest, and so on."""
    vllm: VllmConfig = VllmConfig()

    def most_samples(self, pool: Pool) -> int:
        """Samples of a problem of a pool at most, hinted ones left out."""
        return self.max_samples_by_pool.get(pool, self.max_samples)

    @model_validator(mode="after")
    def endpoint_named(self) -> Self:
        if self.engine == "openai" and not self.base_url:
            raise ValueError("engine 'openai' needs base_url, e.g. base_url: http://127.0.0.1:8000/v1")
        if self.base_url and not self.base_url.lower().startswith(("http://", "https://")):
            raise ValueError(f"base_url={self.base_url!r} does not begin with http://; write it in front")
        if self.mode == "tool_trace" and not self.tools:
            raise ValueError("mode 'tool_trace' needs at least one tool, e.g. tools: [calculator]")
        return self
