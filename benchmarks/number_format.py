"""What `dtype: auto` is worth on this machine: its choice beside the other number format, in training and in sampling.

    python benchmarks/number_format.py --data FOLDER --model MODEL --json

Both formats take turns: a forward and a backward pass on GSM8K rows, one at a time, as the sft stage makes them; and
the vLLM engine on 32 questions at once, 32 tokens each. Claim: `auto` is at least 0.9 times as fast as the other, in
both.
Prints {"auto", "other", "training_ratio", "sampling_ratio"}, tokens a second of `auto` over those of the other.
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
ROWS, QUESTIONS, TOKENS = 3, 32, 32


def training(folder: Path) -> dict[str, Any]:
    from rdistill.config import load_config
    from rdistill.run import RunFolder
    from rdistill.train.data import load_sft
    from rdistill.train.packing import forward_logps, pack
    from rdistill.train.rank import load_model, load_tokenizer

    config = load_config(folder / "config.yaml")
    data = load_sft(RunFolder(folder).sft_data, load_tokenizer(config.student.model), config.sft)
    model = load_model(config.student.model, config.sft).train()
    found = []
    for group in data.groups[:ROWS]:
        batch, began = pack([group]), time.monotonic()
        (-forward_logps(model, batch).mean()).backward()
        found.append(batch.input_ids.numel() / (time.monotonic() - began))
    return {"tokens_per_s": found[1:]}  # the first warms up


def sampling(folder: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    from rdistill.config import VllmConfig, load_config
    from rdistill.records import Message
    from rdistill.teacher.engine import Request
    from rdistill.teacher.vllm import VllmEngine

    config = load_config(folder / "config.yaml")
    options = VllmConfig(dtype=config.sft.dtype, max_model_len=1024, max_num_seqs=QUESTIONS)
    rows = pq.read_table(folder / "data" / "sft.parquet", columns=["messages"]).to_pylist()
    asked: list[list[Message]] = [json.loads(row["messages"])[:-1] for row in rows]

    async def turns() -> list[float]:
        engine = await VllmEngine.start(config.student.model, None, options)
        found = []
        for part in (asked[:QUESTIONS], asked[QUESTIONS : 2 * QUESTIONS]):
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
        found = versus.take_turns(__file__, args, "sft", list(SIDES), {"dtype": dtype})
        for what, turns in found.items():
            speeds[what, dtype] = statistics.median(speed for turn in turns for speed in turn["tokens_per_s"])
    auto = fastest_dtype()
    other = next(dtype for dtype in FORMATS if dtype != auto)
    ratios = {f"{what}_ratio": round(speeds[what, auto] / speeds[what, other], 2) for what in SIDES}
    missed = [f"{name} >= 0.9" for name, ratio in ratios.items() if ratio < 0.9]
    finish({"auto": auto, "other": other, **ratios}, missed, as_json=args.json)


if __name__ == "__main__":
    main()
