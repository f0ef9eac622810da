"""Stage 2: direct preference optimisation from the SFT model, which is its own reference; one rank of it.

    deepspeed --module rdistill.train.dpo RUN/config.yaml

Reads RUN/data/pairs.parquet and RUN/models/sft; writes RUN/models/dpo and RUN/stages/dpo.
"""

import json
import math
from statistics import fmean
from typing import Any, NamedTuple

import torch
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer

from rdistill.config import Config, DpoConfig
from rdistill.errors import DataError, TrainError
from rdistill.outputs import check_sealed
from rdistill.run import RunFolder
from rdistill.train import rank
from rdistill.train.batches import collate
from rdistill.train.data import load_pairs
from rdistill.train.losses import dpo_loss, length_weights, nll_anchor, sequence_sums, simpo_loss
from rdistill.train.packing import Batch, forward_logps
from rdistill.train.reference import Reference
from rdistill.train.trainer import PackedTraining, finish, placeholder_dataset, planned_steps, training_arguments

# Largest mean difference of policy and reference before the first update: a fraction of the log-probability's size.
STEP0_TOLERANCE = {"bfloat16": 0.01, "float32": 1e-4}
DRIFT_WARNING = 0.1
"""Nats per chosen token: each has lost a tenth of its probability."""


class PairSums(NamedTuple):
    """Of each pair's (chosen, rejected): log-probability, number of target tokens, and what DPO compares."""

    logps_B2: torch.Tensor
    tokens_B2: torch.Tensor
    compared_B2: torch.Tensor


class PairTrainer(PackedTraining, DPOTrainer):
    """TRL's DPOTrainer on packed pairs, with the reference computed by the same forward passes and then dropped."""

    settings: DpoConfig
    reference: Reference | None = None

    def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *args: Any) -> Any:
        return dataset

    def batch_size_of(self, batch: Batch) -> torch.Tensor:
        return torch.tensor(float(num_pairs(batch)))

    def sums(self, model: Any, batch: Batch) -> PairSums:
        """What the loss needs of each pair. With `ld_alpha`, what is compared counts surplus length less."""
        logps_N = forward_logps(model, batch)

        def of_each(values_N: torch.Tensor) -> torch.Tensor:
            return sequence_sums(values_N, batch.owners_N, batch.num_sequences).view(-1, 2)

        logps_B2, tokens_B2, alpha = of_each(logps_N), of_each(torch.ones_like(logps_N)), self.settings.ld_alpha
        if alpha is None:
            return PairSums(logps_B2, tokens_B2, logps_B2)
        weights_N = length_weights(batch.owners_N, batch.num_sequences, alpha)
        return PairSums(logps_B2, tokens_B2, of_each(weights_N * logps_N))

    def batch_loss(self, model: Any, batch: Batch) -> torch.Tensor:
        count = num_pairs(batch)  # 0 on an idle rank, which counts the same metrics
        sums = PairSums(*(part_B2[:count] for part_B2 in self.sums(model, batch)))
        loss_B, margin_B = self.preferences(sums, batch.rows[:count])
        if self.settings.nll_weight:
            loss_B = loss_B + self.settings.nll_weight * nll_anchor(sums.logps_B2[:, 0], sums.tokens_B2[:, 0])
        self.count("pairs", len(loss_B))
        self.count("margin", margin_B.sum())
        self.count("correct", (margin_B > 0).sum())
        self.count("chosen_logp", sums.logps_B2[:, 0].sum())
        self.count("chosen_tokens", sums.tokens_B2[:, 0].sum())
        return loss_B.sum()

    def preferences(self, sums: PairSums, rows: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and margin of each pair, by `dpo.loss`; both (B,)."""
        settings, tokens = self.settings, sums.tokens_B2.unbind(1)
        common = {"beta": settings.beta, "label_smoothing": settings.label_smoothing}
        if settings.loss == "simpo":
            return simpo_loss(*sums.logps_B2.unbind(1), *tokens, gamma=settings.simpo_gamma, **common)
        assert self.reference is not None
        reference_B2 = self.reference.values_B2[list(rows)].to(sums.compared_B2.device)
        drift_B2 = (sums.compared_B2 - reference_B2).detach()
        if self.state.global_step == 0 and rows:
            self.assert_same(drift_B2, reference_B2)
        self.count("chosen_drift", drift_B2[:, 0].sum())
        self.count("rejected_drift", drift_B2[:, 1].sum())
        return dpo_loss(
            *(sums.compared_B2.unbind(1) + reference_B2.unbind(1)),
            kind=settings.loss,
            chosen_tokens_B=tokens[0],
            rejected_tokens_B=tokens[1],
            **common,
        )

    def assert_same(self, drift_B2: torch.Tensor, reference_B2: torch.Tensor) -> None:
        """Before the first update the policy is the reference: the margin is 0."""
        drift = float(drift_B2.abs().mean() / reference_B2.abs().mean().clamp(min=1.0))
        if not drift <= STEP0_TOLERANCE[self.settings.dtype]:
            raise TrainError(
                f"policy and reference differ by {drift:.2%} before the first update (margin 0 was expected); "
                "the SFT model was changed: remove stages/dpo/reference.safetensors and run again"
            )
        self.step0_drift = max(getattr(self, "step0_drift", 0.0), drift)

    def summarise(self, totals: dict[str, float]) -> dict[str, float]:
        pairs, tokens = max(totals.get("pairs", 0.0), 1.0), max(totals.get("chosen_tokens", 0.0), 1.0)
        metrics = {
            "margin": totals.get("margin", 0.0) / pairs,
            "accuracy": totals.get("correct", 0.0) / pairs,
            "chosen_logp_per_token": totals.get("chosen_logp", 0.0) / tokens,
        }
        if self.reference is None:
            return metrics
        return metrics | {
            "chosen_logp_drift": totals.get("chosen_drift", 0.0) / pairs,
            "rejected_logp_drift": totals.get("rejected_drift", 0.0) / pairs,
            "chosen_drift_per_token": totals.get("chosen_drift", 0.0) / tokens,
        }

    def extra_result(self) -> dict[str, Any]:
        lines = [json.loads(line) for line in self.metrics_path.read_text().splitlines()]
        result: dict[str, Any] = {"warnings": drift_warnings(lines)}
        if self.reference is None:
            return result
        return result | {
            "step0_drift": getattr(self, "step0_drift", None),
            "reference_seconds": self.reference.seconds,
            "reference_reused": self.reference.reused,
        }


def num_pairs(batch: Batch) -> int:
    """Pairs in a batch; 0 for the placeholder of an idle rank."""
    return 0 if batch.rows == (-1,) else len(batch.rows)


def drift_warnings(lines: list[dict[str, Any]]) -> list[str]:
    """What to say of the lines of metrics.jsonl where chosen answers became less likely.

    The last quarter of the lines is held against the reference or, without one, against the first quarter.
    """
    if not lines:
        return []  # resumed by hand after the last step
    size = math.ceil(len(lines) / 4)
    if "chosen_drift_per_token" in lines[-1]:
        drift = fmean(line["chosen_drift_per_token"] for line in lines[-size:])
    else:
        levels = [line["chosen_logp_per_token"] for line in lines]
        drift = fmean(levels[-size:]) - fmean(levels[:size])
    if drift > -DRIFT_WARNING:
        return []
    return [
        f"chosen answers lost {-drift:.2f} nats a token, so a token of them is {-math.expm1(drift):.0%} less likely "
        "than before; raise dpo.nll_weight or dpo.beta, or lower dpo.learning_rate"
    ]


class ReferenceFirst(TrainerCallback):
    """Fill in the reference when the model is set up and before its first update."""

    def __init__(self, trainer: PairTrainer, reference: Reference) -> None:
        self.trainer, self.reference = trainer, reference

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.reference.fill(self.trainer)


def train(run: RunFolder, config: Config) -> None:
    """Train the SFT model on the sealed pairs."""
    if not (run.model("sft") / "config.json").exists():
        raise DataError(f"{run.model('sft')} holds no model; run the sft stage before dpo")
    tokenizer = rank.load_tokenizer(run.model("sft"))
    check_sealed(run, run.pairs_data)
    data = load_pairs(run.pairs_data, tokenizer, config.dpo)
    steps = planned_steps(data, config.dpo, config.seed)
    arguments = training_arguments(run, config, "dpo", len(steps))
    trainer = PairTrainer(
        model=rank.load_model(run.model("sft"), config.dpo),
        args=DPOConfig(**arguments, beta=config.dpo.beta, precompute_ref_log_probs=True),
        data_collator=collate,
        train_dataset=placeholder_dataset(),
        processing_class=tokenizer,
        peft_config=rank.lora_settings(config.dpo),
    )
    trainer.plan(data, config.dpo, steps, run.metrics("dpo"))
    if config.dpo.loss != "simpo":
        trainer.reference = Reference(run, config.dpo, data)
        trainer.add_callback(ReferenceFirst(trainer, trainer.reference))
    finish(trainer, tokenizer, run, "dpo", run.model("sft"))


def main(argv: list[str] | None = None) -> int:
    """Run one rank; returns the exit code."""
    return rank.main("dpo", train, argv)


if __name__ == "__main__":
    rank.leave(main())
