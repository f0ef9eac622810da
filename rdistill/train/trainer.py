"""What both stages share around TRL's trainers: planned batches, global normalisation, a metrics line per log step.

`PackedTraining` goes before a TRL trainer in the bases. The subclass says what a batch weighs (`batch_size_of`) and
what its loss is (`batch_loss`); everything about DeepSpeed, schedules and checkpoints stays TRL's and transformers'.
"""

import json
import math
import os
import time
from bisect import bisect_left
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import TrainerCallback

from rdistill.config import Config, TrainConfig
from rdistill.errors import TrainError
from rdistill.process import release_free_memory
from rdistill.run import RunFolder
from rdistill.train.batches import Unit, accumulation, loader, plan_steps, rank_batches
from rdistill.train.checkpoint import keep_metrics, usable_checkpoint
from rdistill.train.data import TokenData
from rdistill.train.early_stop import EarlyStop
from rdistill.train.packing import Batch, pack
from rdistill.train.progress import progress_line
from rdistill.train.rank import peak_rss_gb
from rdistill.train.save import put_in_place, save_checked
from rdistill.train.zero import deepspeed_settings, small_groups


def training_arguments(run: RunFolder, whole: Config, stage: Literal["sft", "dpo"], steps: int) -> dict[str, Any]:
    """Keyword arguments for TRL's SFTConfig and DPOConfig. Tells trackers where to write, unless the user did."""
    config: TrainConfig = getattr(whole, stage)
    ranks = int(os.environ["WORLD_SIZE"])
    passes = accumulation(config.batch_size, config.micro_batch_size, ranks)
    on_cpu = not torch.cuda.is_available()
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(run.stage(stage) / "tensorboard"))
    os.environ.setdefault("WANDB_PROJECT", whole.name)
    return {
        "output_dir": str(run.stage(stage) / "checkpoints"),
        "per_device_train_batch_size": config.micro_batch_size,
        "gradient_accumulation_steps": passes,
        "max_steps": steps,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.scheduler,
        "warmup_steps": round(config.warmup_ratio * steps),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "optim": "adamw_torch_fused",
        "seed": whole.seed,
        "bf16": config.dtype == "bfloat16",
        "use_cpu": on_cpu,
        "gradient_checkpointing": config.gradient_checkpointing,
        "deepspeed": deepspeed_settings(config, passes),
        "logging_steps": config.log_every,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps" if config.save_every else "no",
        "save_steps": config.save_every or 500,
        "save_total_limit": 2,
        "report_to": list(config.report_to),
        "run_name": f"{whole.name}-{stage}",
        "project": whole.name,
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": not on_cpu,
    }


class PackedTraining:
    """A mixin for a TRL trainer; call `plan` before `train`."""

    loss_is_scaled_for_ga = True
    held_out_loss: float | None = None
    """What early stopping saw at this step, for the next line of the metrics."""
    # Of the trainer that this is mixed into:
    args: Any
    accelerator: Any
    state: Any
    callback_handler: Any
    control: Any
    is_world_process_zero: Any

    def plan(self, data: TokenData, config: TrainConfig, steps: list[list[Unit]], metrics: Path) -> None:
        """Take the planned steps, and cut this rank's micro-batches from them."""
        self.data, self.settings, self.metrics_path = data, config, metrics
        self.steps = steps
        self.batches = rank_batches(
            self.steps,
            data.own_lengths(units_of(data, config)),
            batch_size=config.batch_size,
            micro_batch_size=config.micro_batch_size,
            ranks=self.args.world_size,
            rank=self.args.process_index,
        )
        self.rows_after = list(accumulate(sum(map(len, step)) for step in self.steps))
        """Rows taken by the end of each step."""
        steps_per_epoch = bisect_left(self.rows_after, len(data.training)) + 1
        self.batches_per_epoch = steps_per_epoch * self.args.gradient_accumulation_steps
        self.lengths = data.lengths
        self.totals: dict[str, Any] = {}
        self.tokens = self.computed = 0.0
        """Of the rows trained on; of these, what was not shared."""
        self.since = self.began = time.monotonic()

    def batch_size_of(self, batch: Batch) -> torch.Tensor:
        """What the loss of a batch is divided by, summed over the global batch; float32, shaped like the loss."""
        raise TypeError(f"{type(self).__name__} must say what a batch weighs")

    def batch_loss(self, model: Any, batch: Batch) -> torch.Tensor:
        """The batch's loss, not divided yet: a scalar, or a vector of parts that have means of their own."""
        raise TypeError(f"{type(self).__name__} must say what a batch's loss is")

    # What transformers' training loop calls

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = super().create_optimizer(*args, **kwargs)  # type: ignore[misc]
        optimizer.param_groups = small_groups(optimizer.param_groups)
        return optimizer

    def get_train_dataloader(self) -> Any:
        return loader(self.data.groups, self.batches)

    def _get_num_items_in_batch(self, batch_samples: list[Batch], device: torch.device) -> torch.Tensor:
        local = torch.stack([self.batch_size_of(b) for b in batch_samples]).sum(0).to(device)
        total = self.accelerator.reduce(local, "sum")
        return total + (total == 0)  # a part that no row of this step belongs to is 0 / 1

    def _prepare_inputs(self, batch: Batch) -> Batch:
        return batch.to(self.args.device)

    def floating_point_ops(self, inputs: Any) -> int:
        return 0

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The batch's share of the global loss, times the ranks, because gradients are averaged over ranks."""
        self.count("tokens", sum(self.lengths[row] for row in inputs.rows if row >= 0))
        self.count("computed", inputs.input_ids.numel() if inputs.rows != (-1,) else 0)
        return (self.batch_loss(model, inputs) * (self.args.world_size / num_items_in_batch)).sum()

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """TRL's card is for the hub; the run's report says more."""

    # Metrics

    def extra_result(self) -> dict[str, Any]:
        """What the stage's result holds beside what both stages count."""
        return {}

    def count(self, name: str, amount: float | torch.Tensor) -> None:
        """Add to a metric that is summed over the log interval and over ranks."""
        amount = amount.detach() if isinstance(amount, torch.Tensor) else amount
        self.totals[name] = self.totals.get(name, 0.0) + amount

    def summarise(self, totals: dict[str, float]) -> dict[str, float]:
        """Metrics of an interval from its totals, beside loss and speed."""
        return {}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """One line of metrics.jsonl per log step, and one line of progress. Stops at a loss that is not finite."""
        if "loss" not in logs:
            return
        values = torch.tensor([float(self.totals[k]) for k in sorted(self.totals)], dtype=torch.float64)
        summed = self.accelerator.reduce(values.to(self.args.device), "sum").tolist()
        totals = dict(zip(sorted(self.totals), summed, strict=True))
        now, self.totals = time.monotonic(), dict.fromkeys(self.totals, 0.0)
        step = self.state.global_step
        self.tokens += totals["tokens"]
        self.computed += totals["computed"]
        line = {
            "step": step,
            "epoch": round(self.rows_after[step - 1] / len(self.data.training), 4),
            "loss": logs["loss"],
            "learning_rate": logs["learning_rate"],
            "grad_norm": logs.get("grad_norm"),
            "seconds": round(now - self.since, 4),
            "tokens_per_s": round(totals["tokens"] / (now - self.since), 1),
            **self.summarise(totals),
        }
        if self.held_out_loss is not None:
            line["held_out_loss"], self.held_out_loss = round(self.held_out_loss, 6), None
        self.since = now
        if self.is_world_process_zero():
            with self.metrics_path.open("a") as f:
                f.write(json.dumps(line) + "\n")
            print(progress_line(step, len(self.steps), line), flush=True)
        known = {name: value for name, value in line.items() if value is not None}
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, known)
        if not math.isfinite(logs["loss"]):
            raise TrainError(f"loss is {logs['loss']} at step {step}; lower learning_rate, or set dtype: float32")


def units_of(data: TokenData, config: TrainConfig) -> list[Unit]:
    """Rows that are trained on together: no more than a pass takes, or a step."""
    return data.units(min(config.micro_batch_size, config.batch_size))


def planned_steps(data: TokenData, config: TrainConfig, seed: int) -> list[list[Unit]]:
    """Units of rows of each optimizer step."""
    return plan_steps(units_of(data, config), batch_size=config.batch_size, epochs=config.epochs, seed=seed)


class LogLastStep(TrainerCallback):
    """The curve ends at the last step, whatever `log_every` is."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_log = True


def set_callbacks(trainer: Any) -> None:
    """Remove the callbacks that print (`log` does it) and log the last step."""
    trainer.add_callback(LogLastStep())
    for callback in list(trainer.callback_handler.callbacks):
        if type(callback).__name__ in ("PrinterCallback", "ProgressCallback"):
            trainer.remove_callback(callback)


def placeholder_dataset() -> Any:
    """TRL insists on a dataset at construction; the rows come from the plan instead."""
    import datasets

    return datasets.Dataset.from_dict({"input_ids": [[1, 1]], "labels": [[1, 1]]})


def final_loss(trainer: Any) -> float | None:
    """The last loss of the curve: logged just now, or before the kill of a stage that had no step left to do."""
    lines = trainer.metrics_path.read_text().splitlines()
    return json.loads(lines[-1])["loss"] if lines else None


def drop_optimizer_state(trainer: Any) -> None:
    """After the last step: room for the copy of the model that is loaded to prove what was saved."""
    optimizer = trainer.optimizer
    while hasattr(optimizer, "optimizer"):  # accelerate's and DeepSpeed's wrappers
        optimizer = optimizer.optimizer
    optimizer.state.clear()
    release_free_memory()


def finish(trainer: Any, tokenizer: Any, run: RunFolder, stage: str, start: Path, *, early_stop: bool = False) -> None:
    """Train from the model in `start`, save the model checked, and write the stage's result."""
    set_callbacks(trainer)
    stop = EarlyStop(trainer, tokenizer, run.stage(stage) / "best") if early_stop else None
    if stop:
        trainer.add_callback(stop)
    checkpoint = usable_checkpoint(trainer, stage, start)
    if trainer.is_world_process_zero():
        keep_metrics(trainer.metrics_path, checkpoint)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.monotonic() - trainer.began
    if stop and stop.best:
        saved = stop.saved
        if trainer.is_world_process_zero():
            put_in_place(stop.best, run.model(stage))
    else:
        drop_optimizer_state(trainer)
        saved = save_checked(trainer, tokenizer, run.model(stage), pack(trainer.data.groups[:2]))
    trainer.accelerator.wait_for_everyone()
    if not trainer.is_world_process_zero():
        return
    summary, extra = trainer.data.summary(), trainer.extra_result()
    result = {
        **summary,
        "steps": trainer.state.global_step,
        "resumed_from": int(checkpoint.name.rpartition("-")[2]) if checkpoint else None,
        "ranks": trainer.args.world_size,
        "dtype": trainer.settings.dtype,
        "seconds": round(seconds, 1),
        "tokens": int(trainer.tokens),
        "computed_share": round(trainer.computed / trainer.tokens, 4) if trainer.tokens else None,
        "tokens_per_s": round(trainer.tokens / seconds, 1),
        "final_loss": final_loss(trainer),
        "peak_rss_gb": peak_rss_gb(),
        **saved,
        **extra,
        **(stop.result() if stop else {}),
        "warnings": summary.get("warnings", []) + extra.get("warnings", []),
    }
    run.write_result(stage, result)
