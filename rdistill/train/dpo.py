"""Stage 2: direct preference optimisation from the SFT model, which is its own reference; one rank of it.

    deepspeed --module rdistill.train.dpo RUN/config.yaml

Reads RUN/data/pairs.parquet and RUN/models/sft; writes RUN/models/dpo and RUN/stages/dpo.
"""

from typing import Any

import torch
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer

from rdistill.config import Config, DpoConfig
from rdistill.errors import DataError, TrainError
from rdistill.run import RunFolder
from rdistill.train import rank
from rdistill.train.batches import collate
from rdistill.train.data import load_pairs
from rdistill.train.losses import dpo_loss, nll_anchor, sequence_sums
from rdistill.train.packing import Batch, forward_logps
from rdistill.train.reference import Reference
from rdistill.train.trainer import PackedTraining, finish, placeholder_dataset, planned_steps, training_arguments

# Largest mean difference of policy and reference before the first update: a fraction of the log-probability's size.
STEP0_TOLERANCE = {"bfloat16": 0.01, "float32": 1e-4}


class PairTrainer(PackedTraining, DPOTrainer):
    """TRL's DPOTrainer on packed pairs, with the reference computed by the same forward passes and then dropped."""

    settings: DpoConfig
    reference: Reference

    def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *args: Any) -> Any:
        return dataset

    def batch_size_of(self, batch: Batch) -> torch.Tensor:
        return torch.tensor(float(num_pairs(batch)))

    def sums(self, model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability of each pair's (chosen, rejected), and their numbers of target tokens; both (B, 2)."""
        logps_N = forward_logps(model, batch)
        logps_S = sequence_sums(logps_N, batch.owners_N, batch.num_sequences)
        tokens_S = sequence_sums(torch.ones_like(logps_N), batch.owners_N, batch.num_sequences)
        return logps_S.view(-1, 2), tokens_S.view(-1, 2)

    def batch_loss(self, model: Any, batch: Batch) -> torch.Tensor:
        logps_B2, tokens_B2 = self.sums(model, batch)
        if batch.rows == (-1,):
            return logps_B2.sum() * 0.0
        reference_B2 = self.reference.values_B2[list(batch.rows)].to(logps_B2.device)
        drift_B2 = (logps_B2 - reference_B2).detach()
        if self.state.global_step == 0:
            self.assert_same(drift_B2, reference_B2)
        loss_B, margin_B = dpo_loss(
            *(logps_B2.unbind(1) + reference_B2.unbind(1)),
            beta=self.settings.beta,
            kind=self.settings.loss,
            label_smoothing=self.settings.label_smoothing,
            chosen_tokens_B=tokens_B2[:, 0],
            rejected_tokens_B=tokens_B2[:, 1],
        )
        if self.settings.nll_weight:
            loss_B = loss_B + self.settings.nll_weight * nll_anchor(logps_B2[:, 0], tokens_B2[:, 0])
        self.count("pairs", len(loss_B))
        self.count("margin", margin_B.sum())
        self.count("correct", (margin_B > 0).sum())
        self.count("chosen_drift", drift_B2[:, 0].sum())
        self.count("rejected_drift", drift_B2[:, 1].sum())
        return loss_B.sum()

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
        pairs = max(totals.get("pairs", 0.0), 1.0)
        return {
            "margin": totals.get("margin", 0.0) / pairs,
            "accuracy": totals.get("correct", 0.0) / pairs,
            "chosen_logp_drift": totals.get("chosen_drift", 0.0) / pairs,
            "rejected_logp_drift": totals.get("rejected_drift", 0.0) / pairs,
        }

    def extra_result(self) -> dict[str, Any]:
        return {
            "step0_drift": getattr(self, "step0_drift", None),
            "reference_seconds": self.reference.seconds,
            "reference_reused": self.reference.reused,
        }


def num_pairs(batch: Batch) -> int:
    """Pairs in a batch; 0 for the placeholder of an idle rank."""
    return 0 if batch.rows == (-1,) else len(batch.rows)


class ReferenceFirst(TrainerCallback):
    """Fill in the reference when the model is set up and before its first update."""

    def __init__(self, trainer: PairTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.trainer.reference.fill(self.trainer)


def train(run: RunFolder, config: Config) -> None:
    """Train the SFT model on the sealed pairs."""
    if not (run.model("sft") / "config.json").exists():
        raise DataError(f"{run.model('sft')} holds no model; run the sft stage before dpo")
    tokenizer = rank.load_tokenizer(run.model("sft"))
    data = load_pairs(run.pairs_data, tokenizer, config.dpo)
    steps = planned_steps(data, config.dpo, config.seed)
    arguments = training_arguments(config.dpo, run.stage("dpo"), steps=len(steps), seed=config.seed)
    trainer = PairTrainer(
        model=rank.load_model(run.model("sft"), config.dpo),
        args=DPOConfig(**arguments, beta=config.dpo.beta, precompute_ref_log_probs=True),
        data_collator=collate,
        train_dataset=placeholder_dataset(),
        processing_class=tokenizer,
        peft_config=rank.lora_settings(config.dpo),
    )
    trainer.plan(data, config.dpo, config.seed, run.metrics("dpo"))
    trainer.reference = Reference(run, config.dpo, data)
    trainer.add_callback(ReferenceFirst(trainer))
    finish(trainer, tokenizer, run, "dpo")


def main(argv: list[str] | None = None) -> int:
    """Run one rank; returns the exit code."""
    return rank.main("dpo", train, argv)


if __name__ == "__main__":
    rank.leave(main())
