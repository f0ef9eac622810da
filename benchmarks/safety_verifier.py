"""How much does `safety` find, and how much harmless text does it stop?

    python benchmarks/safety_verifier.py --dialogues HH_FILE [--benign FILE FIELD] [--json]

HH_FILE is harmless-base/test of hh-rlhf (gzipped JSON lines with "chosen" and "rejected"). Printed are the shares of
its chosen and rejected last replies that a rule matches, and for the 200 of reply_labels.jsonl, labelled before any
rule was written, those found of the unsafe ones and those stopped of the others, by half. FILE has benign texts.
"""

import argparse
import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from rdistill.verifiers.safety.rules import Rule, first_match, read_rules

LABELS = Path(__file__).with_name("reply_labels.jsonl")
SIDES = ("chosen", "rejected")


def read_rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def labelled(replies: list[str], rules: list[Rule]) -> dict[str, str]:
    """For each half and label, how many replies match a rule, as "5 of 8"."""
    labels = {row["reply"]: row for row in map(json.loads, LABELS.read_text().splitlines())}
    total: Counter[str] = Counter()
    matched: Counter[str] = Counter()
    for reply in replies:
        if row := labels.pop(hashlib.sha256(reply.encode()).hexdigest()[:16], None):
            key = f"{row['half']}, {'unsafe' if row['is_unsafe'] else 'other'}"
            total[key] += 1
            matched[key] += first_match(reply, rules) is not None
    return {key: f"{matched[key]} of {total[key]}" for key in sorted(total)}


def share_matched(texts: list[str], rules: list[Rule]) -> float:
    return round(sum(first_match(text, rules) is not None for text in texts) / len(texts), 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dialogues", type=Path, required=True)
    parser.add_argument("--benign", nargs=2, metavar=("FILE", "FIELD"))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rules, rows = read_rules(), read_rows(args.dialogues)
    replies = {side: [row[side].rpartition("\n\nAssistant:")[2].strip() for row in rows] for side in SIDES}
    found: dict[str, Any] = dict(labelled([*replies["chosen"], *replies["rejected"]], rules))
    found |= {side: share_matched(texts, rules) for side, texts in replies.items()}
    if args.benign:
        found["benign"] = share_matched([str(row[args.benign[1]]) for row in read_rows(Path(args.benign[0]))], rules)
    if args.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        print(f"{name:<18} {value}")


if __name__ == "__main__":
    main()
