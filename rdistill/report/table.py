"""The scorecard as a table in the terminal."""

import json

from rich.console import Console
from rich.table import Table

from rdistill.run import RunFolder


def print_scorecard(run: RunFolder, console: Console) -> None:
    """One line per model and mode; accuracy with its 95 % interval."""
    card = json.loads(run.scorecard.read_text())
    table = Table("model", "mode", "n", "accuracy", "95 % interval", "tokens/answer", "p50 latency", box=None)
    for model in ("base", "sft", "dpo", "teacher"):
        for mode, score in card["models"].get(model, {}).items():
            low, high = score["accuracy_ci"]
            table.add_row(
                model,
                mode,
                str(score["n"]),
                f"{score['accuracy']:.1%}",
                f"{low:.1%} - {high:.1%}",
                f"{score['output_tokens_mean']:.1f}",
                f"{score['latency_s']['p50']:.2f} s",
            )
    console.print(table)
    for test in card.get("paired", []):
        if test["first"] == "base" or test["second"] == "dpo":
            console.print(
                f"{test['second']} vs {test['first']}, {test['mode']}: {test['difference']:+.1%} "
                f"(won {test['won']}, lost {test['lost']}, p = {test['p_value']:.2g})"
            )
    console.print(f"invalid pairs: {card['pairs_invalid']}, clusters on two sides of the split: {card['leakage']}")
    console.print(f"report: {run.report}" if run.report.exists() else f"scorecard: {run.scorecard}", soft_wrap=True)
