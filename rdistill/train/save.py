"""Saving a trained model so that it can be trusted: written aside, reloaded, compared, then put in place.

ZeRO-3 shards are gathered, LoRA is merged. The folder holds safetensors, tokenizer, chat template.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rdistill.errors import TrainError
from rdistill.models import load_plain
from rdistill.run import sync_file, sync_folder
from rdistill.train.attention import register_attention
from rdistill.train.packing import Batch, forward_logps

QUANTIZED_DRIFT = 1.0
"""Nats a token, on average: adapters were trained on weights of 4 bits and are merged into the exact ones."""


def save_checked(trainer: Any, tokenizer: Any, folder: Path, probe: Batch) -> dict[str, Any]:
    """Save the trained model to `folder`, reloaded and compared first. Every rank must call; rank 0 writes.

    `probe` is a packed batch whose log-probabilities are compared between the trained and the reloaded model.
    Returns: counts for the stage's result ({} on other ranks).
    Raises: TrainError if a tensor is missing, of another value, or the probe differs.
    """
    model = trainer.model_wrapped
    model.eval()
    with torch.no_grad():
        before_N = forward_logps(model, probe.to(trainer.args.device)).float().cpu()
    state = trainer.accelerator.get_state_dict(model)
    if not trainer.is_world_process_zero():
        return {}
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    tokenizer.save_pretrained(partial)
    with _loaded_whole(trainer):
        saved = _save(trainer.accelerator.unwrap_model(model), state, partial)
        quantized = getattr(trainer.accelerator.unwrap_model(model), "is_loaded_in_4bit", False)
        result = _compare(saved, partial, probe, before_N, QUANTIZED_DRIFT if quantized else None)
    put_in_place(partial, folder)
    return result


@contextmanager
def _loaded_whole(trainer: Any) -> Iterator[None]:
    """Models loaded here are whole: under ZeRO-3 they would be sharded over ranks that do something else."""
    from transformers.integrations.deepspeed import set_hf_deepspeed_config, unset_hf_deepspeed_config

    unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if trainer.args.hf_deepspeed_config is not None:
            set_hf_deepspeed_config(trainer.args.hf_deepspeed_config)


def _save(model: Any, state: dict[str, torch.Tensor], partial: Path) -> dict[str, torch.Tensor]:
    """Write the model; returns its tensors by name."""
    if hasattr(model, "peft_config"):
        model, state = _merged(model, state)
    tied = model.all_tied_weights_keys if model.config.get_text_config().tie_word_embeddings else {}
    state = {k: v for k, v in state.items() if k not in tied}
    model.config.use_cache = True
    model.save_pretrained(partial, state_dict=dict(state))  # a copy: save_pretrained may empty what it is given
    return state


def _merged(peft_model: Any, state: dict[str, torch.Tensor]) -> tuple[Any, dict[str, torch.Tensor]]:
    """LoRA folded into the base weights, in float32, on the CPU, from a gathered state dict.

    The base is read from its own files: under QLoRA the state holds it in 4 bits.
    """
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    name, config = next(iter(peft_model.peft_config.items()))
    adapter = {k: v.float().cpu() for k, v in state.items() if ".lora_" in k}
    folder = peft_model.get_base_model().config._name_or_path
    plain = load_plain(AutoModelForCausalLM, folder, dtype=torch.float32)
    fresh = get_peft_model(plain, config, adapter_name=name)
    wanted = {k for k in fresh.state_dict() if ".lora_" in k}
    if lost := sorted(wanted ^ set(adapter)):
        raise TrainError(f"the trained adapter and its model differ in {len(lost)} tensors ({lost[0]}, ...); not saved")
    fresh.load_state_dict(adapter, strict=False)
    dtype = next(v.dtype for k, v in state.items() if ".lora_" in k)
    merged = fresh.merge_and_unload().to(dtype)
    return merged, dict(merged.state_dict())


def _compare(
    saved: dict[str, torch.Tensor], folder: Path, probe: Batch, before_N: torch.Tensor, tolerance: float | None = None
) -> dict[str, Any]:
    """Reload the folder and compare names, values and the probe's log-probabilities, by default as rounding allows."""
    from transformers import AutoModelForCausalLM

    attention = register_attention()
    again = load_plain(AutoModelForCausalLM, folder, dtype="auto", attn_implementation=attention).eval()
    reloaded = again.state_dict()
    lost = sorted(set(saved) - set(reloaded))
    changed = sorted(k for k in set(saved) & set(reloaded) if not torch.equal(saved[k].cpu(), reloaded[k]))
    if lost or changed or not saved:
        raise TrainError(
            f"{folder}: reloading the saved model gave {len(lost)} lost and {len(changed)} changed tensors"
        )
    with torch.no_grad():
        after_N = forward_logps(again, probe).float()
    drift = float((after_N - before_N).abs().mean())
    if tolerance is None:
        tolerance = 0.05 if next(again.parameters()).dtype == torch.bfloat16 else 1e-3
    if not drift <= tolerance:
        raise TrainError(f"{folder}: the reloaded model's log-probabilities differ by {drift:.3g} nats on average")
    return {"tensors": len(reloaded), "parameters": again.num_parameters(), "reload_drift": drift}


def put_in_place(partial: Path, folder: Path) -> None:
    """Make `partial` the model folder, durably; an older model is moved away first and removed last."""
    for path in partial.rglob("*"):
        if path.is_dir():  # several chat templates have a folder of their own
            sync_folder(path)
        else:
            sync_file(path)
    sync_folder(partial)
    folder.parent.mkdir(parents=True, exist_ok=True)
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
