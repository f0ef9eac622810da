"""Supervised fine-tuning beside TRL's SFTTrainer: the same rows, tokens, order and optimizer, one process each.

    python benchmarks/sft_vs_trl.py --data FOLDER --model MODEL --json

TRL is set up as its documentation does: a model by name, per_device_train_batch_size=8, bf16=True, everything else left
as it is. Ours is the sft stage with one rank and the same 8 rows at a time; fewer take less memory and more time.
`bare` is a loop of a dozen lines in plain PyTorch over our packed batches of 8, with the same float32 master weights.
Every token of a reply weighs 1, prompts nothing.
Claims: at least 3 times the tokens a second of TRL, at most 0.6 of its memory, at least 0.9 of the bare loop's speed;
losses within 1e-3 of TRL's at every step, in float32 within 1e-6. Whose rounding a difference is shows before the first
update, beside plain transformers in float32, a row at a time: `first_loss_off_fp32`. What rounding does to TRL alone
shows `trl_off_itself`: its model on the first batches, unchanged but for the padding, which no loss should depend on.
Prints {"speed_ratio", "memory_ratio", "bare_ratio", "loss_max_rel_diff", "loss_max_rel_diff_fp32", "curves", ...}.
"""

import json
from pathlib import Path
from typing import Any

import versus_trl as versus
from measured import finish

CURVE = {"loss": "loss"}
SETTINGS = {"micro_batch_size": versus.BATCH}
PADDED_BATCHES = 3


def settings(folder: Path) -> tuple[Any, Any, list[Any]]:
    """The stage's config, the tokenizer, and the rows as tokens in the order of the steps."""
    from transformers import AutoTokenizer

    from rdistill.config import load_config
    from rdistill.run import RunFolder
    from rdistill.train.data import load_sft

    config = load_config(folder / "config.yaml")
    tokenizer = AutoTokenizer.from_pretrained(config.student.model)
    return config, tokenizer, versus.in_order(load_sft(RunFolder(folder).sft_data, tokenizer, config.sft))


def ours(folder: Path) -> dict[str, Any]:
    return versus.run_ours("sft", folder, list(CURVE))


def trl(folder: Path) -> dict[str, Any]:
    import datasets
    from trl import SFTConfig, SFTTrainer

    config, tokenizer, groups = settings(folder)
    rows = [{"input_ids": t.ids, "completion_mask": [int(w > 0) for w in t.weights]} for (t,) in groups]
    options = versus.trl_arguments(len(rows) // config.sft.batch_size, config.sft.dtype, folder)
    trainer = SFTTrainer(
        model=str(config.student.model),
        args=SFTConfig(**options, completion_only_loss=True),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    return versus.run_trl(trainer, CURVE)


def bare(folder: Path) -> dict[str, Any]:
    """The same maths without a trainer: model in `dtype`, float32 master weights, AdamW, linear schedule."""
    import time

    import torch

    from rdistill.train.packing import forward_logps, pack
    from rdistill.train.rank import load_model

    config, _, groups = settings(folder)
    size, model = config.sft.batch_size, load_model(config.student.model, config.sft).train()
    working = list(model.parameters())
    masters = [p.detach().float().clone() for p in working]
    optimizer = torch.optim.AdamW(masters, lr=config.sft.learning_rate, weight_decay=0, fused=True)
    batches = [pack(groups[i : i + size]) for i in range(0, len(groups), size)]
    found: dict[str, Any] = {"seconds": [], "curve": {"loss": []}}
    for step, batch in enumerate(batches):
        began = time.monotonic()
        optimizer.param_groups[0]["lr"] = config.sft.learning_rate * (1 - step / len(batches))
        loss = -forward_logps(model, batch).mean()
        loss.backward()
        for master, p in zip(masters, working, strict=True):
            master.grad, p.grad = p.grad.float(), None
        torch.nn.utils.clip_grad_norm_(masters, 1.0)
        optimizer.step()
        with torch.no_grad():
            for master, p in zip(masters, working, strict=True):
                p.copy_(master)
        found["curve"]["loss"].append(loss.item())
        found["seconds"].append(time.monotonic() - began)
    return found


def nats(model: Any, rows: list[Any], width: int, dtype: Any) -> float:
    """Summed loss of rows padded to `width`, by transformers alone: float32 weights under autocast to `dtype`."""
    import torch

    ids, labels = torch.zeros(len(rows), width, dtype=torch.long), torch.full((len(rows), width), -100)
    mask = torch.zeros_like(ids)
    for at, (tokens,) in enumerate(rows):
        here = at, slice(len(tokens.ids))
        ids[here], mask[here] = torch.tensor(tokens.ids), 1
        labels[here] = torch.where(torch.tensor(tokens.weights) > 0, ids[here], -100)
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="sum"))


def one_by_one(model: Any, rows: list[Any], dtype: Any) -> float:
    return sum(nats(model, [row], len(row[0].ids), dtype) for row in rows)


def plain(folder: Path) -> dict[str, Any]:
    """The first step's loss by transformers alone, in float32, a row at a time."""
    import torch
    from transformers import AutoModelForCausalLM

    config, _, groups = settings(folder)
    model = AutoModelForCausalLM.from_pretrained(config.student.model, dtype=torch.float32).eval()
    rows = groups[: config.sft.batch_size]
    count = sum(weight > 0 for (tokens,) in rows for weight in tokens.weights[1:])
    return {"seconds": [], "curve": {"loss": [one_by_one(model, rows, torch.float32) / count]}}


def padded(folder: Path) -> dict[str, Any]:
    """How far apart the first batches' losses are when TRL's model reads them with other padding, relative.

    The model is TRL's: float32 weights, autocast to `dtype`. Rows are padded to the longest, as TRL does, 8 further, to
    a multiple of 64 (TRL's pad_to_multiple_of), and not at all, one at a time.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config, _, groups = settings(folder)
    model = AutoModelForCausalLM.from_pretrained(config.student.model, dtype=torch.float32).eval()
    dtype = getattr(torch, config.sft.dtype)

    apart = []
    for start in range(0, min(PADDED_BATCHES * versus.BATCH, len(groups)), versus.BATCH):
        rows = groups[start : start + versus.BATCH]
        longest = max(len(tokens.ids) for (tokens,) in rows)
        as_trl = nats(model, rows, longest, dtype)
        others = [nats(model, rows, width, dtype) for width in (longest + 8, longest + -longest % 64)]
        others.append(one_by_one(model, rows, dtype))
        apart.append([abs(other / as_trl - 1) for other in others])
    return {"seconds": [], "curve": {"apart": apart}}


SIDES = {"ours": ours, "trl": trl, "bare": bare, "plain": plain, "padded": padded}


def main() -> None:
    args, rounds, exact = versus.measure(__file__, __doc__, "sft", SIDES, SETTINGS)
    (truth,) = rounds.pop("plain")[0]["curve"]["loss"]
    apart = rounds.pop("padded")[0]["curve"]["apart"]
    found = {
        "speed_ratio": versus.speed_ratio(rounds["ours"], rounds["trl"]),
        "bare_ratio": versus.speed_ratio(rounds["ours"], rounds["bare"]),
        "memory_ratio": versus.memory_ratio(rounds["ours"], rounds["trl"]),
        "loss_max_rel_diff": versus.largest_difference(rounds["ours"][0], rounds["trl"][0], "loss"),
        "loss_max_rel_diff_fp32": versus.largest_difference(exact["ours"][0], exact["trl"][0], "loss"),
        "first_loss_off_fp32": {side: abs(found[0]["curve"]["loss"][0] / truth - 1) for side, found in rounds.items()},
        "trl_off_itself": max(max(batch) for batch in apart),
        "trl_off_itself_by_padding": dict(
            zip(("8_more", "to_64", "one_by_one"), zip(*apart, strict=True), strict=True)
        ),
        "peak_rss_gb": {side: [r["peak_rss_gb"] for r in found] for side, found in rounds.items()},
        "curves": {side: found[0]["curve"]["loss"] for side, found in rounds.items()},
    }
    claims = {
        "speed_ratio >= 3": found["speed_ratio"] >= 3,
        "bare_ratio >= 0.9": found["bare_ratio"] >= 0.9,
        "memory_ratio <= 0.6": found["memory_ratio"] <= 0.6,
        "loss_max_rel_diff <= 1e-3": found["loss_max_rel_diff"] <= 1e-3,
        "loss_max_rel_diff_fp32 <= 1e-6": found["loss_max_rel_diff_fp32"] <= 1e-6,
    }
    finish(json.loads(json.dumps(found)), [claim for claim, holds in claims.items() if not holds], as_json=args.json)


if __name__ == "__main__":
    main()
