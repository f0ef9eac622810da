"""Reference log-probabilities of DPO: computed once, before training, by the very forward passes that training uses.

They are kept in RUN/stages/dpo/reference.safetensors with a fingerprint of the model, the pairs, the planned rows and
the precision; a restarted stage reads them back instead of computing them from a model that has moved.
"""

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rdistill.config import DpoConfig
from rdistill.errors import TrainError
from rdistill.models import folder_digest
from rdistill.records import content_id
from rdistill.run import RunFolder, write_durable
from rdistill.train.batches import Unit
from rdistill.train.data import TokenData


class Reference:
    """What DPO compares of each pair's (chosen, rejected), under the SFT model: `values_B2`, float32, nats."""

    def __init__(self, run: RunFolder, config: DpoConfig, data: TokenData) -> None:
        self.path = run.stage("dpo") / "reference.safetensors"
        self.model, self.config, self.data = run.model("sft"), config, data
        self.values_B2 = torch.full((len(data.groups), 2), torch.nan)
        self.seconds, self.reused = 0.0, False

    def fill(self, trainer: Any) -> None:
        """Read the stored values, or compute them; every rank must call.

        Raises: TrainError on a resumed stage whose stored values are gone: its model is no longer the reference.
        """
        from accelerate.utils import broadcast_object_list

        began = time.monotonic()
        found: list[Any] = [self.fingerprint(trainer.steps), None] if trainer.is_world_process_zero() else [None, None]
        if trainer.is_world_process_zero():
            found[1] = load(self.path, found[0])
        broadcast_object_list(found)
        fingerprint, stored = found
        self.reused = stored is not None
        if stored is not None:
            self.values_B2 = stored
        elif trainer.state.global_step:
            raise TrainError(f"{self.path} does not belong to this run any more; remove the checkpoints beside it")
        else:
            self.values_B2 = compute(trainer)
            if trainer.is_world_process_zero():
                save(self.path, self.values_B2, fingerprint)
        self.seconds = round(time.monotonic() - began, 1)
        trainer.began = trainer.since = time.monotonic()

    def fingerprint(self, steps: Sequence[Sequence[Unit]]) -> str:
        """Changes whenever the values could, or the rows that have some."""
        tokens = [[list(s) for s in g] for g in self.data.groups]
        quantize = self.config.lora and self.config.lora.quantize
        settings = [self.config.dtype, quantize, self.config.ld_alpha]
        return content_id("reference", folder_digest(self.model), settings, tokens, planned_rows(steps))


def planned_rows(steps: Sequence[Sequence[Unit]]) -> list[int]:
    """The rows that training takes: all of them, unless it is less than an epoch."""
    return sorted({row for step in steps for unit in step for row in unit})


def compute(trainer: Any) -> torch.Tensor:
    """(B, 2) values of every planned row, in the first epoch's own micro-batches, so that the step-0 margin is 0.

    Rows that are not planned are NaN.
    """
    values_B2 = torch.zeros(len(trainer.data.groups), 2)
    model = trainer.model_wrapped
    model.eval()
    with torch.no_grad():
        for batch in itertools.islice(trainer.get_train_dataloader(), trainer.batches_per_epoch):
            sums = trainer.sums(model, trainer._prepare_inputs(batch))
            if batch.rows != (-1,):
                values_B2[list(batch.rows)] = sums.compared_B2.float().cpu()
    model.train()
    known_B2 = torch.full_like(values_B2, torch.nan)
    rows = planned_rows(trainer.steps)
    known_B2[rows] = trainer.accelerator.reduce(values_B2.to(trainer.args.device), "sum").cpu()[rows]
    return known_B2


def save(path: Path, values_B2: torch.Tensor, fingerprint: str) -> None:
    from safetensors.torch import save as to_bytes

    write_durable(path, to_bytes({"values_B2": values_B2}, metadata={"fingerprint": fingerprint}))


def load(path: Path, fingerprint: str) -> torch.Tensor | None:
    """The stored values, or None if they are missing, damaged or of another fingerprint."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as f:
            if (f.metadata() or {}).get("fingerprint") != fingerprint:
                return None
            return f.get_tensor("values_B2")
    except (OSError, SafetensorError):
        return None
