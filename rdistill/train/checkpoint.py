"""Checkpoints inside a training stage: used again only by the very same training, removed when the model is saved."""

import json
import shutil
from pathlib import Path
from typing import Any

from rdistill.records import content_id
from rdistill.run import write_durable

# What may differ between a killed stage and the one that goes on.
FREE = {"log_every", "save_every"}


def training_identity(trainer: Any, stage: str, seed: int) -> str:
    """Changes with the settings, the data, the seed and the number of ranks (ZeRO's files are cut by rank)."""
    settings = {k: v for k, v in trainer.settings.model_dump(mode="json").items() if k not in FREE}
    tokens = [[list(s) for s in g] for g in trainer.data.groups]
    return content_id("training", stage, settings, seed, trainer.args.world_size, tokens)


def usable_checkpoint(trainer: Any, identity: str) -> Path | None:
    """The newest checkpoint of this very training, or None; rank 0 clears away what belongs to another one."""
    from transformers.trainer_utils import get_last_checkpoint

    folder = Path(trainer.args.output_dir)
    marker = folder / "identity.json"
    if trainer.is_world_process_zero() and _read(marker) != identity:
        shutil.rmtree(folder, ignore_errors=True)
        write_durable(marker, json.dumps(identity))
    trainer.accelerator.wait_for_everyone()
    found = get_last_checkpoint(str(folder))
    return Path(found) if found else None


def keep_metrics(path: Path, checkpoint: Path | None) -> None:
    """Cut the curve back to the checkpoint's step; without one it starts anew."""
    last = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    lines = path.read_text().splitlines() if path.exists() and last else []
    write_durable(path, "".join(f"{line}\n" for line in lines if json.loads(line)["step"] <= last))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
