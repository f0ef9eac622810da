"""How well does `refusal` tell refusals, and how often does it see one in benign answers?

    python benchmarks/refusal_verifier.py --dialogues HH_FILE [--benign FILE FIELD] [--json]

HH_FILE is harmless-base/test of hh-rlhf (gzipped JSON lines with "chosen" and "rejected"). Its last replies are looked
up in reply_labels.jsonl by the first 16 digits of their SHA-256: 200 replies, three quarters of them picked for words
such as "sorry" and "can't", labelled by the rules' author before the rules were written. They were tuned on one half,
not on the other. FILE has benign answers, none of which refuses.
"""

import argparse
import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from rdistill.verifiers.refusal.detect import LEVELS, refusal_level

LABELS = Path(__file__).with_name("reply_labels.jsonl")


def read_rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def confusion(dialogues: Path) -> dict[str, Counter[tuple[str, str]]]:
    """For each half, how many replies of each (label, level found)."""
    labels = {row["reply"]: row for row in map(json.loads, LABELS.read_text().splitlines())}
    found: dict[str, Counter[tuple[str, str]]] = {}
    for dialogue in read_rows(dialogues):
        for side in ("chosen", "rejected"):
            reply = dialogue[side].rpartition("\n\nAssistant:")[2].strip()
            if row := labels.pop(hashlib.sha256(reply.encode()).hexdigest()[:16], None):
                found.setdefault(row["half"], Counter())[row["refusal"], refusal_level(reply)[0]] += 1
    return found


def rates(counts: Counter[tuple[str, str]]) -> dict[str, Any]:
    right = sum(counts[level, level] for level in LEVELS)
    table = {label: {level: counts[label, level] for level in LEVELS} for label in LEVELS}
    return {"n": counts.total(), "accuracy": round(right / counts.total(), 3), "labels_to_levels": table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dialogues", type=Path, required=True)
    parser.add_argument("--benign", nargs=2, metavar=("FILE", "FIELD"))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found: dict[str, Any] = {half: rates(counts) for half, counts in confusion(args.dialogues).items()}
    if args.benign:
        levels = Counter(refusal_level(str(row[args.benign[1]]))[0] for row in read_rows(Path(args.benign[0])))
        found["benign"] = {"n": levels.total(), "seen_as_refusing": round(1 - levels["none"] / levels.total(), 5)}
    if args.json:
        print(json.dumps(found, indent=1))
        return
    for name, row in found.items():
        print(name, row)


if __name__ == "__main__":
    main()
