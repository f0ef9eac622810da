"""Direct preference optimisation beside TRL's DPOTrainer: the same pairs, tokens, order and optimizer.

    python benchmarks/dpo_vs_trl.py --data FOLDER --model MODEL --json

TRL is set up as its documentation does: a model by name, per_device_train_batch_size=8, bf16=True, everything else left
as it is, so it keeps a reference model and asks it at every step. Ours is the dpo stage with one rank, which computes
the reference once before the first step; its seconds are spread over the steps. Chosen replies are GSM8K's solutions,
rejected ones begin alike and end in another answer.
Claims: at least 2.5 times the pairs a second of TRL, reference included, at most half of its memory; losses and margins
(the difference of the rewards, in nats) within 1e-3 of TRL's at every step, in float32 within 1e-5.
Prints {"speed_ratio", "memory_ratio", "loss_max_rel_diff", "margin_max_diff", "loss_max_rel_diff_fp32", ...}.
"""

from pathlib import Path
from typing import Any

import versus_trl as versus
from measured import finish

CURVE = {"loss": "loss", "margin": "rewards/margins"}
SETTINGS = {"nll_weight": 0, "beta": 0.1, "micro_batch_size": 2}


def ours(folder: Path) -> dict[str, Any]:
    found = versus.run_ours("dpo", folder, list(CURVE))
    reference = found["result"]["reference_seconds"] / len(found["seconds"])
    found["seconds"] = [seconds + reference for seconds in found["seconds"]]
    return found


def trl(folder: Path) -> dict[str, Any]:
    import datasets
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    from rdistill.config import load_config
    from rdistill.run import RunFolder
    from rdistill.train.data import load_pairs

    class SameTokens(DPOTrainer):
        """Takes the rows' tokens as they are: the template's line break behind a reply is no part of ours."""

        def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
            return dataset

    config, run = load_config(folder / "config.yaml"), RunFolder(folder)
    tokenizer = AutoTokenizer.from_pretrained(run.model("sft"))
    rows = []
    for chosen, rejected in versus.in_order(load_pairs(run.pairs_data, tokenizer, config.dpo)):
        start = next(i for i, w in enumerate(chosen.weights) if w)
        prompt, replies = chosen.ids[:start], {"chosen_ids": chosen.ids[start:], "rejected_ids": rejected.ids[start:]}
        rows.append({"prompt_ids": prompt, **replies})
    options = versus.trl_arguments(len(rows) // config.dpo.batch_size, config.dpo.dtype, folder)
    trainer = SameTokens(
        model=str(run.model("sft")),
        args=DPOConfig(**options, beta=config.dpo.beta),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    return versus.run_trl(trainer, CURVE)


SIDES = {"ours": ours, "trl": trl}


def margin_difference(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """Largest difference of the margins at one step, nats."""
    return max(abs(a - b) for a, b in zip(ours["curve"]["margin"], theirs["curve"]["margin"], strict=True))


def main() -> None:
    args, rounds, exact = versus.measure(__file__, __doc__, "dpo", SIDES, SETTINGS)
    half, full = ((found["ours"][0], found["trl"][0]) for found in (rounds, exact))
    found = {
        "speed_ratio": versus.speed_ratio(rounds["ours"], rounds["trl"]),
        "memory_ratio": versus.memory_ratio(rounds["ours"], rounds["trl"]),
        "loss_max_rel_diff": versus.largest_difference(*half, "loss"),
        "margin_max_diff": margin_difference(*half),
        "loss_max_rel_diff_fp32": versus.largest_difference(*full, "loss"),
        "margin_max_diff_fp32": margin_difference(*full),
        "peak_rss_gb": {side: [r["peak_rss_gb"] for r in found] for side, found in rounds.items()},
        "curves": {side: found[0]["curve"] for side, found in rounds.items()},
    }
    limits = {"loss_max_rel_diff": 1e-3, "margin_max_diff": 1e-3}
    limits |= {f"{name}_fp32": 1e-5 for name in limits}
    missed = [f"{name} <= {limit}" for name, limit in limits.items() if not found[name] <= limit]
    missed += ["speed_ratio >= 2.5"] * (found["speed_ratio"] < 2.5) + ["memory_ratio <= 0.5"] * (
        found["memory_ratio"] > 0.5
    )
    finish(found, missed, as_json=args.json)


if __name__ == "__main__":
    main()
