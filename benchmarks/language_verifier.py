"""How often does `language` know the language of translated program messages?

    python benchmarks/language_verifier.py [--messages GLOB] [--sentences 1] [--json]

GLOB finds gettext catalogues, LANGUAGE/LC_MESSAGES/NAME.mo, as Linux systems have them. For each language: how many
of its texts pass as that language, and how many of the others' texts do. Program messages are harder than prose: short,
full of names and loan words.
"""

import argparse
import glob
import json
import random
import re
from gettext import GNUTranslations
from pathlib import Path

from rdistill.verifiers.language import Language, codes_of

from rdistill.records import Status
from rdistill.verifiers.cases import to_pair

NOT_TEXT = re.compile(r"%\(?\w*\)?[-+#\d.]*[a-zA-Z%]|\{\w*\}|<[^>]+>|[&_](?=\w)|--?[\w-]+|%")
WORDLESS = ("zh", "ja", "th")
PER_LANGUAGE = 60


def read_messages(pattern: str) -> dict[str, list[str]]:
    """Messages of six words or more by language, marks of programs taken out."""
    found: dict[str, set[str]] = {}
    for path in map(Path, sorted(glob.glob(pattern))):
        if "@" in str(path):  # a language in another script
            continue
        locale = path.parts[path.parts.index("LC_MESSAGES") - 1]
        try:
            (code,) = codes_of(locale)
        except ValueError:  # a language that is not known
            continue
        with path.open("rb") as file:
            catalogue = vars(GNUTranslations(file))["_catalog"]
        for source, text in catalogue.items():
            if isinstance(source, str) and isinstance(text, str) and source and text != source:
                found.setdefault(code, set()).add(NOT_TEXT.sub("", text))
                found.setdefault("en", set()).add(NOT_TEXT.sub("", source))
    return {code: sorted(t for t in texts if 6 <= words_in(t, code) <= 40) for code, texts in found.items()}


def words_in(text: str, code: str) -> float:
    return len(text) / 3 if code in WORDLESS else len(text.split())


def measure(texts: dict[str, list[str]]) -> dict[str, dict[str, float]]:
    """For each language the shares {"accepted", "refused", "others_accepted"}, and the number of its own texts."""
    rates = {}
    for code in sorted(texts):
        verifier = Language(languages=[code])
        judged = {
            other: [verifier.check(*to_pair({"id": "x", "gold": None, "answer": text})).status for text in of_other]
            for other, of_other in texts.items()
        }
        own, others = judged.pop(code), [status for statuses in judged.values() for status in statuses]
        rates[code] = {
            "n": len(own),
            "accepted": round(own.count(Status.PASS) / len(own), 3),
            "refused": round(own.count(Status.FAIL) / len(own), 3),
            "others_accepted": round(others.count(Status.PASS) / len(others), 4),
        }
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", default="/usr/share/locale/*/LC_MESSAGES/dpkg.mo")
    parser.add_argument("--sentences", type=int, default=1, help="messages joined to one text")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    draw = random.Random(0)
    texts = {}
    for code, messages in read_messages(args.messages).items():
        draw.shuffle(messages)
        messages = messages[: PER_LANGUAGE * args.sentences]
        step = range(0, len(messages) - args.sentences + 1, args.sentences)
        if step:
            texts[code] = [". ".join(messages[i : i + args.sentences]) for i in step]
    rates = measure(texts)
    if args.json:
        print(json.dumps(rates, indent=1))
        return
    for code, row in rates.items():
        print(code, row)
    for key in ("accepted", "refused", "others_accepted"):
        print(f"{key:<16} {sum(row[key] for row in rates.values()) / len(rates):.4f}  (mean of {len(rates)} languages)")


if __name__ == "__main__":
    main()
