"""Early stopping of SFT: the loss on rows that are held out, and the model of the step where it was lowest.

    stop = EarlyStop(trainer, tokenizer, run.stage("sft") / "best")
    trainer.add_callback(stop)
    ...                                # train
    model = stop.best                  # folder of a saved and checked model, or None: the last step is best

The rows are chosen by cluster, so that nothing like them is trained on. The best model lies on the disk, and a killed
stage that goes on remembers what it saw.
"""

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from rdistill.config import EarlyStopConfig
from rdistill.run import write_durable
from rdistill.train.batches import loader, rank_batches
from rdistill.train.packing import pack
from rdistill.train.save import save_checked


class EarlyStop(TrainerCallback):
    """Looks at the held-out rows every so many steps, keeps the best model, ends training when none gets better."""

    def __init__(self, trainer: Any, tokenizer: Any, folder: Path) -> None:
        self.trainer, self.tokenizer, self.folder = trainer, tokenizer, folder
        self.settings: EarlyStopConfig = trainer.settings.early_stop
        self.looks: list[tuple[int, float]] = []
        self.saved: dict[str, Any] = {}

    @property
    def best_step(self) -> int:
        """The step of the lowest loss so far; the earlier of two equal ones."""
        return step_of_lowest(self.looks)

    @property
    def is_exhausted(self) -> bool:
        """Whether the last `patience` looks found nothing better."""
        return sum(step > self.best_step for step, _ in self.looks) >= self.settings.patience

    @property
    def best(self) -> Path | None:
        """The folder of the best model, or None where that is the model of the last step."""
        return self.folder if self.looks and self.best_step < self.trainer.state.global_step else None

    @property
    def memory(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.json")

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remember the looks up to the step that training goes on from, if the best of them still has its model."""
        kept = json.loads(self.memory.read_text()) if state.global_step and self.memory.exists() else {"looks": []}
        looks = [(step, loss) for step, loss in kept["looks"] if step <= state.global_step]
        if looks and step_of_lowest(kept["looks"]) <= state.global_step:
            self.looks, self.saved = looks, kept["saved"]
        self.trainer.accelerator.wait_for_everyone()
        if not self.looks and self.trainer.is_world_process_zero():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.memory.unlink(missing_ok=True)
        control.should_training_stop |= self.is_exhausted  # killed after the look that ended it: one step more

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.settings.every and state.global_step < state.max_steps:
            return
        loss = held_out_loss(self.trainer)
        better = not self.looks or loss < min(known for _, known in self.looks)
        self.looks.append((state.global_step, loss))
        self.trainer.held_out_loss, control.should_log = loss, True
        if better:
            probe = pack(self.trainer.data.groups[:2])
            self.saved = save_checked(self.trainer, self.tokenizer, self.folder, probe)
            self.trainer.model_wrapped.train()
        if self.trainer.is_world_process_zero():
            write_durable(self.memory, json.dumps({"looks": self.looks, "saved": self.saved}).encode())
        control.should_training_stop |= self.is_exhausted

    def result(self) -> dict[str, Any]:
        """What the stage's result says of it."""
        lowest = min((loss for _, loss in self.looks), default=math.nan)
        return {"held_out_rows": len(self.trainer.data.held_out), "held_out_loss": lowest, "best_step": self.best_step}


def step_of_lowest(looks: Sequence[tuple[int, float]]) -> int:
    """The step of the lowest loss among (step, loss); the earlier of two equal ones."""
    return min(looks, key=lambda look: (look[1], look[0]))[0]


def held_out_loss(trainer: Any) -> float:
    """The training loss on the held-out rows, over all ranks; every rank must call."""
    data, settings, args = trainer.data, trainer.settings, trainer.args
    rows = sorted(data.held_out)
    mine = rank_batches(
        [[[row] for row in rows]],
        data.lengths,
        batch_size=len(rows),
        micro_batch_size=settings.micro_batch_size,
        ranks=args.world_size,
        rank=args.process_index,
    )
    model = trainer.model_wrapped
    model.eval()
    with torch.no_grad():
        batches = [trainer._prepare_inputs(batch) for batch in loader(data.groups, mine)]
        parts = torch.stack([trainer.batch_loss(model, batch).float() for batch in batches]).sum(0)
        sizes = torch.stack([trainer.batch_size_of(batch) for batch in batches]).sum(0).to(parts.device)
    model.train()
    parts, sizes = (trainer.accelerator.reduce(values, "sum") for values in (parts, sizes))
    return float((parts / (sizes + (sizes == 0))).sum())
