"""How often does `choice` read the option that a free-text reply chose?

    python benchmarks/choice_verifier.py FILE [--json]

FILE has JSON lines {"id", "question", "choices", "palm_output", "palm_label"}, gzipped, as
distilling-step-by-step's CQA data. Each reply is judged against every option; the right one is the one that it ends in.
"""

import argparse
import gzip
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rdistill.verifiers.cases import run_cases


def cases(path: Path) -> Iterator[dict[str, Any]]:
    """One case for each option of each question; the next few-shot example, which the replies run on into, is cut."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if not row["palm_label"]:
                continue
            listed = "\n".join(f"({letter}) {text}" for letter, text in zip("abcde", row["choices"], strict=True))
            for gold in sorted(set(row["choices"])):
                yield {
                    "id": f"{row['id']} {gold}",
                    "question": f"{row['question']}\n{listed}",
                    "gold": gold,
                    "answer": row["palm_output"].split("\n\nQ:")[0],
                    "expected": "pass" if plain(gold) == plain(row["palm_label"]) else "fail",
                }


def plain(text: str) -> str:
    return text.strip(" .,").lower()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(case) + "\n" for case in cases(args.file))
        file.flush()
        found = run_cases("choice", file.name)
    if args.json:
        print(json.dumps(found, indent=1))
        return
    why = found.pop("why")
    print({key: value for key, value in found.items() if key != "wrong"})
    print("\n".join(f"  {row}: {verdict}" for row, verdict in list(why.items())[:20]))


if __name__ == "__main__":
    main()
