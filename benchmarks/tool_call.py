"""The tool_call verifier on the Berkeley function calling leaderboard: right calls, changed ones, none wanted.

    python benchmarks/tool_call.py --data FOLDER [--seed 0] [--every 1] [--json]

Claimed, and checked here (exit status 1 if one is missed):
- the ground truth, one accepted value an argument, is accepted 100 % (simple_python, multiple, parallel,
  parallel_multiple), parallel calls in any order, in each form that a reply may write calls in;
- with one argument changed (its value, left out, one too many, another type) it is refused >= 99 %;
- with one call left out, doubled or sent to another name it is refused 100 %;
- on `irrelevance`, where no tool fits, any call is refused 100 %, and none is accepted.
FOLDER holds bfcl/*.jsonl.gz. A change that happens to give another accepted value is not counted. Changed calls are
written in one form after the other. `contradicts_its_tools` names the rows that `check_gold` puts in quarantine: their
ground truth does not fit their own tools.
"""

import argparse
import copy
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measured import finish, read_rows
from rdistill.verifiers.tool_call import ToolCall

from rdistill.records import Status
from rdistill.verifiers.cases import to_pair

SETS = ("simple_python", "multiple", "parallel", "parallel_multiple")
Call = dict[str, Any]


def gold_of(row: dict[str, Any]) -> dict[str, Any]:
    """The row as a gold answer; none of its tools is wanted where it has no ground truth."""
    truth = row.get("ground_truth", [])
    calls = [{"name": name, "accepted": accepted} for call in truth for name, accepted in call.items()]
    return {"tools": row["function"], "calls": calls, "ordered": False}


def plain_value(accepted: Any) -> Any:
    """An accepted value as a model would write it: objects hold lists of accepted values again."""
    if isinstance(accepted, dict):
        return {k: plain_value(first(v) if isinstance(v, list) else v) for k, v in accepted.items() if v != [""]}
    return [plain_value(item) for item in accepted] if isinstance(accepted, list) else accepted


def first(accepted: list[Any]) -> Any:
    """The first accepted value that is one; "" says that the argument may be left out."""
    return next((value for value in accepted if value != ""), "")


def right_calls(row: dict[str, Any], dice: random.Random) -> list[Call]:
    calls = []
    for call in row["ground_truth"]:
        for name, accepted in call.items():
            arguments = {key: plain_value(first(values)) for key, values in accepted.items() if values != [""]}
            calls.append({"name": name, "arguments": arguments})
    dice.shuffle(calls)
    return calls


def as_tags(calls: list[Call]) -> str:
    return "\n".join(f"<tool_call>{json.dumps(call)}</tool_call>" for call in calls)


def as_sentence(calls: list[Call]) -> str:
    return f"I will look that up for you.\n{json.dumps(calls)}"


def as_llama(calls: list[Call]) -> str:
    return json.dumps([{"name": call["name"], "parameters": call["arguments"]} for call in calls])


def as_field(calls: list[Call]) -> str:
    functions = [{"name": call["name"], "arguments": json.dumps(call["arguments"])} for call in calls]
    return json.dumps({"tool_calls": [{"type": "function", "function": function} for function in functions]})


def as_leaderboard(calls: list[Call]) -> str:
    return json.dumps([{call["name"]: call["arguments"]} for call in calls])


def as_python(calls: list[Call]) -> str:
    texts = [f"{c['name']}({', '.join(f'{key}={value!r}' for key, value in c['arguments'].items())})" for c in calls]
    return f"[{', '.join(texts)}]"


FORMS: tuple[Callable[[list[Call]], str], ...] = (
    as_tags, json.dumps, as_sentence, as_llama, as_field, as_leaderboard, as_python,
)  # fmt: skip


def accepts(row: dict[str, Any], calls: list[Call], form: int = 0) -> bool:
    """Whether the verifier passes calls, written in one of the forms; an empty list where there are none."""
    text = FORMS[form % len(FORMS)](calls) if calls else "[]"
    problem, sample = to_pair({"id": row["id"], "gold": gold_of(row), "answer": "x"})
    sample = sample.model_copy(update={"messages": [{"role": "assistant", "content": text}]})
    return ToolCall().check(problem, sample).status is Status.PASS


def is_quarantined(row: dict[str, Any]) -> bool:
    return (
        ToolCall().check_gold(*to_pair({"id": row["id"], "gold": gold_of(row), "answer": "x"})).status
        is not Status.PASS
    )


# One argument changed


def changed(value: Any, dice: random.Random) -> Any:
    """Another value of the same type; null has no other."""
    if value is None:
        return "something else"
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + dice.choice((-1, 1, 10))
    if isinstance(value, str):
        return dice.choice((f"{value} x", value[:-1] or "x", "something else"))
    if isinstance(value, list):
        return [*value, changed(value[-1], dice)] if value else [1]
    return {**value, next(iter(value), "x"): "something else"}


def change_value(call: Call, name: str, dice: random.Random) -> None:
    call["arguments"][name] = changed(call["arguments"][name], dice)


def leave_out(call: Call, name: str, dice: random.Random) -> None:
    del call["arguments"][name]


def add_argument(call: Call, name: str, dice: random.Random) -> None:
    call["arguments"][f"{name}_of_no_tool"] = call["arguments"][name]


def change_type(call: Call, name: str, dice: random.Random) -> None:
    value = call["arguments"][name]
    call["arguments"][name] = [value] if isinstance(value, str) else json.dumps(value)


CHANGES: tuple[Callable[[Call, str, random.Random], None], ...] = (change_value, leave_out, add_argument, change_type)


def judge_changes(
    row: dict[str, Any], calls: list[Call], dice: random.Random, counts: dict[str, Counter], form: int
) -> None:
    """Every change once, in a call and an argument drawn for it."""
    for form_of_it, change in enumerate(CHANGES, form):
        wrong = copy.deepcopy(calls)
        call = dice.choice([c for c in wrong if c["arguments"]] or [None])
        if call is None:
            continue
        change(call, dice.choice(sorted(call["arguments"])), dice)
        if not is_also_right(row, call):
            counts[change.__name__]["refused" if not accepts(row, wrong, form_of_it) else "passed"] += 1


def is_also_right(row: dict[str, Any], call: Call) -> bool:
    """Whether a changed call is one that the ground truth lists: each value among the accepted, none missing."""
    for accepted in (a for each in row["ground_truth"] for name, a in each.items() if name == call["name"]):
        if call["arguments"].keys() <= accepted.keys() and all(
            any(plain_value(value) == call["arguments"].get(key, "") for value in values)
            for key, values in accepted.items()
        ):
            return True
    return False


def wrong_lists(calls: list[Call]) -> dict[str, list[Call]]:
    """Calls too few, too many, to another name."""
    renamed = [{**calls[0], "name": calls[0]["name"] + "_x"}, *calls[1:]]
    return {"call_left_out": calls[1:], "call_doubled": [*calls, calls[0]], "another_name": renamed}


def benchmark(data: Path, seed: int, every: int) -> dict[str, Any]:
    dice, counts, found = random.Random(seed), defaultdict(Counter), {}
    num_checks, seconds, contradicting = 0, 0.0, list[str]()
    for name in SETS:
        rows = read_rows(data / "bfcl" / f"{name}.jsonl.gz")[::every]
        refused = []
        for at, row in enumerate(rows):
            calls = right_calls(row, dice)
            start = time.perf_counter()
            if not all(accepts(row, calls, form) for form in range(len(FORMS))):
                refused.append(row["id"])
            num_checks, seconds = num_checks + len(FORMS), seconds + time.perf_counter() - start
            judge_changes(row, calls, dice, counts, form=at)
            for form, (kind, wrong) in enumerate(wrong_lists(calls).items(), at):
                counts[kind]["passed" if accepts(row, wrong, form) else "refused"] += 1
        contradicting += [row["id"] for row in rows if is_quarantined(row)]
        found[name] = {"n": len(rows), "accepted": len(rows) - len(refused), "refused": refused}
    found["changed"] = {kind: {"n": count.total(), "refused": count["refused"]} for kind, count in counts.items()}
    found["irrelevance"] = judge_irrelevance(read_rows(data / "bfcl" / "irrelevance.jsonl.gz")[::every])
    return {**found, "contradicts_its_tools": contradicting, "checks_per_s": round(num_checks / seconds)}


def judge_irrelevance(rows: list[dict[str, Any]]) -> dict[str, int]:
    """A call of each tool that is offered, in every form, and a reply without any."""
    calls = [(row, [{"name": tool["name"], "arguments": {}}]) for row in rows for tool in row["function"]]
    return {
        "n": len(calls),
        "refused": sum(not any(accepts(row, call, form) for form in range(len(FORMS))) for row, call in calls),
        "no_call_accepted": sum(accepts(row, []) for row in rows),
        "rows": len(rows),
    }


def missed_targets(found: dict[str, Any]) -> list[str]:
    """One line for each claim that does not hold."""
    missed = [f"{name}: ground truth accepted" for name in SETS if found[name]["refused"]]
    for kind, count in found["changed"].items():
        least = 1 if kind in ("call_left_out", "call_doubled", "another_name") else 0.99
        if count["refused"] < least * count["n"]:
            missed.append(f"{kind}: refused >= {least:.0%}")
    none = found["irrelevance"]
    if none["refused"] < none["n"] or none["no_call_accepted"] < none["rows"]:
        missed.append("irrelevance: any call refused, none accepted")
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with bfcl/")
    parser.add_argument("--seed", type=int, default=0, help="which argument is changed, and how")
    parser.add_argument("--every", type=int, default=1, help="take each Nth row")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    found = benchmark(args.data, args.seed, args.every)
    finish(found, missed_targets(found), as_json=args.json)


if __name__ == "__main__":
    main()
