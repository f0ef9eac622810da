"""What `dtype: auto` is worth on this machine: its choice beside the other number format, in training and in sampling.

    python benchmarks/number_format.py --data FOLDER --model MODEL --json

Both formats take turns: the sft stage with one rank on batches of 8 GSM8K rows, and the vLLM engine on half of
the rows' questions at once, 32 tokens each. Claim: `auto` is at least 0.9 times as fast as the other, in both.
Prints {"auto", "other", "training_ratio", "sampling_ratio", ...}, tokens a second of `auto` over those of the other.
"""

import asyncio
import json
import statistics
import time
from pathlib import Path
from typing import Any

import versus_trl as versus
from measured import finish

from rdistill.precision import fastest_dtype

FORMATS = ("bfloat16", "float32")
TOKENS = 32


def training(folder: Path) -> dict[str, Any]:
    return versus.run_ours("sft", folder, ["loss"])


def sampling(folder: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    from rdistill.config import VllmConfig, load_config
    from rdistill.records import Message
    from rdistill.teacher.engine import Request
    from rdistill.teacher.vllm import VllmEngine

    config = load_config(folder / "config.yaml")
    options = VllmConfig(dtype=config.sft.dtype, max_model_len=1024, max_num_seqs=64)
    rows = pq.read_table(folder / "data" / "sft.parquet", columns=["messages"]).to_pylist()
    asked: list[list[Message]] = [json.loads(row["messages"])[:-1] for row in rows]

    async def turns() -> list[float]:
        engine = await VllmEngine.start(config.student.model, None, options)
        found = []
        for part in (asked[::2], asked[1::2]):
            began = time.monotonic()
            replies = await asyncio.gather(*(engine.chat(a, Request(temperature=0.0, max_tokens=TOKENS)) for a in part))
            found.append(sum(reply.completion_tokens for reply in replies) / (time.monotonic() - began))
        await engine.close()
        return found

    return {"tokens_per_s": asyncio.run(turns())[1:]}  # the first part warms up


SIDES = {"training": training, "sampling": sampling}


def main() -> None:
    args = versus.arguments(__doc__, list(SIDES))
    if args.side:
        versus.work(SIDES[args.side], args.folder)
    speeds: dict[tuple[str, str], float] = {}
    for dtype in FORMATS:
        options = {"dtype": dtype, "micro_batch_size": versus.BATCH}
        found = versus.take_turns(__file__, args, "sft", list(SIDES), options)
        speeds["training", dtype] = 1 / statistics.median(versus.median_seconds(found["training"]))
        speeds["sampling", dtype] = statistics.median(s for turn in found["sampling"] for s in turn["tokens_per_s"])
    auto = fastest_dtype()
    other = next(dtype for dtype in FORMATS if dtype != auto)
    ratios = {f"{what}_ratio": round(speeds[what, auto] / speeds[what, other], 2) for what in SIDES}
    missed = [f"{name} >= 0.9" for name, ratio in ratios.items() if ratio < 0.9]
    finish({"auto": auto, "other": other, **ratios}, missed, as_json=args.json)


if __name__ == "__main__":
    main()
