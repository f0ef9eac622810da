"""Who learns, and how: the student and both training stages."""

from typing import Annotated, Literal

from pydantic import Field

from rdistill.sections.base import Fraction, PerMode, Positive, Section


class StudentConfig(Section):
    """Who learns, and the prompt that asks it for each mode."""

    model: str
    """Hub id, local folder, or `bundled:NAME`."""
    revision: str | None = None
    """Commit, tag or branch of a hub model."""
    prompts: PerMode[str] = {
        "explain": "Reason step by step, then give the final answer after '####'.",
        "direct": "Give the final answer only.",
        "tool": "Answer with the help of the calculator tool.",
    }
    """System prompt of each mode, in training, evaluation and `ask`. One with `{question}` in it takes the place of
    the user's last message instead: examples of one problem then begin alike, and training computes that once."""


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
    quantize: Literal["nf4"] | None = None
    """`nf4`: the frozen weights are held in 4 bits while training (QLoRA), by bitsandbytes; null: as they are."""


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
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the forward pass; master weights stay float32. `auto`: bfloat16 where the machine has instructions for it."""
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
    """Steps between checkpoints; 0: by time alone."""
    save_every_s: Annotated[float, Field(ge=0)] = 600
    """Seconds between checkpoints, as rank 0 counts them at the lines of metrics.jsonl; 0: none by time. A shorter
    training has none."""
    log_every: Positive = 5
    """Steps between lines of metrics.jsonl."""
    report_to: list[Literal["tensorboard", "wandb", "trackio"]] = []
    """Trackers that get the lines of metrics.jsonl too; each is a package of its own, set up by its own variables."""


class EarlyStopConfig(Section):
    """Stop when the loss on held-out rows no longer falls; the model is then the one where it was lowest."""

    share: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Of the clusters of train problems; their rows are not trained on."""
    every: Positive = 50
    """Steps between two looks at the held-out rows."""
    patience: Positive = 3
    """Looks without a lower loss after which training ends."""


class SftConfig(TrainConfig):
    """Stage 1: span-weighted supervised fine-tuning."""

    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    epochs: Annotated[float, Field(gt=0)] = 3
    batch_size: Positive = 16
    weights: SpanWeights = SpanWeights()
    mode_weights: PerMode[Annotated[float, Field(gt=0)]] = {"explain": 1.0, "direct": 1.0, "tool": 1.0}
    """How much a row of each mode counts beside a row of another, on top of `weights` and `normalize`."""
    normalize: Literal["token", "span", "example"] = "token"
    """What counts alike in the mean over a step's rows, whatever its length: a token, a span (an unbroken run of one
    role) or an example; docs/training.md has the equations."""
    multitask_lambda: Annotated[float, Field(gt=0)] | None = None
    """Weight of the rationale task beside the answer task, as in Distilling Step-by-Step (Hsieh et al. 2023): the mean
    over `direct` rows plus this times the mean over all other rows. null: one mean over all rows."""

    early_stop: EarlyStopConfig | None = None
    """null: all steps are taken, on all rows; a mapping (`{}` for its defaults): stop where held-out rows say so."""


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
