"""Stage 1: span-weighted supervised fine-tuning, one rank of it.

    deepspeed --module rdistill.train.sft RUN/config.yaml

Reads RUN/data/sft.parquet and the student; writes RUN/models/sft and RUN/stages/sft.
"""

from pathlib import Path
from typing import Any

import torch
from trl import SFTConfig, SFTTrainer

from rdistill.config import Config, SftConfig
from rdistill.errors import DataError
from rdistill.models import resolve_model
from rdistill.outputs import check_sealed
from rdistill.run import RunFolder
from rdistill.train import rank
from rdistill.train.batches import collate
from rdistill.train.data import load_sft
from rdistill.train.losses import sequence_sums
from rdistill.train.packing import Batch, forward_logps
from rdistill.train.trainer import PackedTraining, finish, placeholder_dataset, planned_steps, training_arguments


class SpanTrainer(PackedTraining, SFTTrainer):
    """TRL's SFTTrainer with loss = sum(w * ce) / sum(w) over the global batch, or over each task's part of it."""

    settings: SftConfig

    def batch_size_of(self, batch: Batch) -> torch.Tensor:
        return self.by_task(batch.weights_N, batch)

    def batch_loss(self, model: Any, batch: Batch) -> torch.Tensor:
        loss = -self.by_task(batch.weights_N * forward_logps(model, batch), batch)
        share = self.settings.multitask_lambda
        return loss if share is None else loss * loss.new_tensor([1.0, share])

    def by_task(self, values_N: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Sum of the values; with `multitask_lambda`, (answer task, rationale task)."""
        if self.settings.multitask_lambda is None:
            return values_N.sum()
        tasks_S = torch.tensor([int(self.data.modes[row] != "direct") for row in batch.rows], device=values_N.device)
        return sequence_sums(values_N, tasks_S[batch.owners_N], 2)


def train(run: RunFolder, config: Config) -> None:
    """Train the student on the sealed examples."""
    student = resolve_model(config.student.model, config.student.revision)
    tokenizer = rank.load_tokenizer(student)
    check_sealed(run, run.sft_data)
    data = load_sft(run.sft_data, tokenizer, config.sft)
    if config.sft.multitask_lambda is not None and len({mode == "direct" for mode in data.modes}) < 2:
        raise DataError(
            f"sft.multitask_lambda needs rows of mode direct and of another, got {sorted(set(map(str, data.modes)))}; "
            "look at what the select stage left out, or set it to null"
        )
    steps = planned_steps(data, config.sft, config.seed)
    arguments = training_arguments(run, config, "sft", len(steps))
    args = SFTConfig(**arguments, dataset_kwargs={"skip_prepare_dataset": True})
    trainer = SpanTrainer(
        model=rank.load_model(student, config.sft),
        args=args,
        data_collator=collate,
        train_dataset=placeholder_dataset(),
        processing_class=tokenizer,
        peft_config=rank.lora_settings(config.sft),
    )
    trainer.plan(data, config.sft, steps, run.metrics("sft"))
    finish(trainer, tokenizer, run, "sft", Path(student), early_stop=config.sft.early_stop is not None)


def main(argv: list[str] | None = None) -> int:
    """Run one rank; returns the exit code."""
    return rank.main("sft", train, argv)


if __name__ == "__main__":
    rank.leave(main())
