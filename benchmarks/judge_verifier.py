"""How far can a judge be trusted? Its error rates on labelled cases, or its biases on labelled pairs.

    python benchmarks/judge_verifier.py --base-url URL --model NAME [--cases FILE] [--json]
    python benchmarks/judge_verifier.py --base-url URL --model NAME --pairs FILE [--judge-model NAME] [--json]

Pairs are JSON lines {"id", "question", "a", "b", "label": "a" | "b" | "tie"}, with `model_a` and `model_b`, who wrote
the replies, where self-preference is to be measured: `--judge-model` is the judge's name there (default: `--model`).
"""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from rdistill.verifiers.judge import RUBRIC
from rdistill.verifiers.judge.bias import bias_report, judge_pairs
from rdistill.verifiers.judge.referee import Referee

from rdistill.config import TeacherConfig
from rdistill.teacher.openai import OpenAIEngine
from rdistill.verifiers.cases import run_cases


async def compare(args: argparse.Namespace) -> dict[str, Any]:
    pairs = [json.loads(line) for line in args.pairs.read_text(encoding="utf-8").splitlines() if line.strip()]
    endpoint = TeacherConfig(engine="openai", base_url=args.base_url, model=args.model, api_key_env=args.api_key_env)
    engine = OpenAIEngine(endpoint)
    try:
        rows = await judge_pairs(Referee(engine, args.rubric), pairs)
    finally:
        await engine.close()
    return bias_report(rows, args.judge_model or args.model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--api-key-env", default="OPENAI_API_KEY")
    parser.add_argument("--rubric", default=RUBRIC)
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--judge-model")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.pairs:
        found = asyncio.run(compare(args))
    else:
        options = {name: getattr(args, name) for name in ("base_url", "model", "api_key_env", "rubric")}
        found = run_cases("judge", args.cases, options, workers=8, timeout_s=90)
    if args.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:<16} {value}")


if __name__ == "__main__":
    main()
