"""DeepSpeed settings: the default for the device, or the user's JSON file, checked."""

import json
from pathlib import Path
from typing import Any

from rdistill.config import TrainConfig
from rdistill.errors import ConfigError

AUTO = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")

BUCKET = 20_000_000
"""Elements that ranks exchange at once. DeepSpeed's own 500 million hold 1 GB of buffers."""
GROUP = 20_000_000
"""Elements that the optimizer updates at once, about: DeepSpeed copies a group's gradients for that."""


PIECE = 1_000_000
"""Elements of a gradient that are squared at once."""


def deepspeed_settings(config: TrainConfig, passes: int) -> dict[str, Any]:
    """The DeepSpeed config of a stage. Batch sizes and precision always come from the stage's own config.

    passes: forward and backward passes of a rank in an optimizer step; what several add up, they add in float32.
    Raises: ConfigError if the file cannot be read or contradicts the stage.
    """
    buckets = {"reduce_bucket_size": BUCKET, "allgather_bucket_size": BUCKET}
    settings: dict[str, Any] = {"zero_optimization": {"stage": 2, **buckets}}
    if config.deepspeed:
        settings = read_settings(Path(config.deepspeed))
    for key in AUTO:
        if settings.setdefault(key, "auto") != "auto":
            raise ConfigError(f'{config.deepspeed}: {key} must be "auto"; set it in the run\'s config instead')
    for key in ("bf16", "fp16"):
        asked = settings.pop(key, {})
        if not isinstance(asked, dict) or asked.get("enabled", "auto") not in ("auto", False):
            raise ConfigError(f"{config.deepspeed}: {key} must not be enabled; set dtype in the run's config instead")
    settings["bf16"] = {"enabled": config.dtype == "bfloat16"}
    settings.setdefault("zero_allow_untested_optimizer", True)
    settings.setdefault("zero_force_ds_cpu_optimizer", False)
    settings.setdefault("steps_per_print", 1_000_000_000)
    zero = settings.setdefault("zero_optimization", {"stage": 0})
    alone = passes == 1 and config.dtype == "bfloat16" and zero.get("stage") in (2, 3)
    settings.setdefault("data_types", {"grad_accum_dtype": "bf16" if alone else "fp32"})
    if zero.get("stage") == 3:
        zero.setdefault("stage3_gather_16bit_weights_on_model_save", True)
    return settings


def small_groups(groups: list[dict[str, Any]], most: int = GROUP) -> list[dict[str, Any]]:
    """An optimizer's parameter groups cut into groups of about `most` elements, in their order.

    No group holds one parameter alone if it can be helped: DeepSpeed would keep that one where it was loaded, and with
    it the whole model file in memory.
    """
    small = []
    for group in groups:
        part: list[Any] = []
        for parameter in group["params"]:
            if len(part) > 1 and sum(p.numel() for p in part) + parameter.numel() > most:
                small.append({**group, "params": part})
                part = []
            part.append(parameter)
        small.append({**group, "params": part})
    return small


def take_norms_in_pieces() -> None:
    """Have DeepSpeed's ZeRO 1 and 2 make float64 of a piece of a gradient, not of the whole, to take its norm."""
    from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer

    whole = DeepSpeedZeroOptimizer.get_grad_norm_direct

    def in_pieces(self: Any, gradients: Any, params: Any, norm_type: float = 2) -> Any:
        real = [g for g in gradients if not getattr(g, "_zero_padding", False)]
        pieces = [(piece, p) for g, p in zip(real, params, strict=False) for piece in g.reshape(-1).split(PIECE)]
        return whole(self, [piece for piece, _ in pieces], [p for _, p in pieces], norm_type)

    if whole.__qualname__ != in_pieces.__qualname__:  # not done yet in this process
        DeepSpeedZeroOptimizer.get_grad_norm_direct = in_pieces


def read_settings(path: Path) -> dict[str, Any]:
    """A DeepSpeed JSON file as a mapping. Raises ConfigError."""
    try:
        settings = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"deepspeed={path}: not a readable JSON file ({error}); name one of configs/deepspeed/"
        ) from None
    if not isinstance(settings, dict):
        raise ConfigError(
            f"deepspeed={path}: holds {type(settings).__name__}, expected an object of DeepSpeed settings"
        )
    return settings
