"""The sandbox and the code verifier: hostile programs, right solutions, wrong ones, and runs a second.

    python benchmarks/sandbox.py --data FOLDER [--seeds 7] [--every 1] [--level strong] [--json]

Claimed, and checked here (exit status 1 if one is missed):
- hostile programs, in another order with each seed: no escape, no cheating solution passes, honest ones do, none
  outlives its run;
- canonical solutions of HumanEval pass, all of them; of MBPP >= 97 %;
- their mutants (return None, off by one, swapped branch, wrong operator) never pass where the tests can tell. They can
  where the same tests, run as plain Python on the same mutant, do not end well;
- >= 20 isolated runs a second on two cores, beside as many of plain `python -I -S`.
FOLDER holds hostile_python/cases.jsonl, humaneval/test.jsonl.gz and mbpp/all.jsonl.gz. `--every 10` takes each tenth
problem, `--level` a weaker sandbox than the default. Nothing hostile runs outside the sandbox, and at `weak` nothing at
all.
"""

import argparse
import ast
import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from measured import finish, read_rows
from mutants import mutants
from rdistill.verifiers.code import Code

from rdistill.records import Status, Verdict
from rdistill.sandbox import LOCAL, Sandbox, run_function
from rdistill.sandbox.box import FIRST_UID, NUM_SLOTS
from rdistill.sandbox.levels import grant
from rdistill.verifiers.cases import to_pair

THREADS, TIMEOUT_S, SURVIVOR_WAIT_S = 2, 3, 20
CANARY, SECRET, PORT = Path("/tmp/rdistill_canary"), "CANARY-7f3a", 47113
ARGUMENTS, SUMS = [[2, 3], [1, 1], [-4, 9], [0, 0]], [5, 2, 5, 0]


class Task(NamedTuple):
    """A problem with its canonical solution and tests in MBPP's or HumanEval's form."""

    name: str
    code: str
    entry_point: str
    tests: str


def in_threads(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))


# Hostile programs


@contextlib.contextmanager
def bait() -> Iterator[list[socket.socket]]:
    """What the corpus tries to read and reach: a file, a variable, listeners."""
    CANARY.mkdir(exist_ok=True)
    (CANARY / "secret.txt").write_text(SECRET)
    os.environ["RDISTILL_CANARY"] = SECRET
    tcp, udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with tcp, udp:
        for listener in (tcp, udp):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", PORT))
            listener.setblocking(False)
        tcp.listen()
        yield [tcp, udp]


def was_reached(listener: socket.socket) -> bool:
    try:
        listener.recv(1) if listener.type == socket.SOCK_DGRAM else listener.accept()
    except BlockingIOError:
        return False
    return True


def run_hostile(case: dict[str, Any]) -> str:
    """What became of one program: held, escaped, cheated, refused (an honest one) or passed (an honest one)."""
    box = Sandbox(timeout_s=TIMEOUT_S)
    if case["mode"] == "solution":
        run = run_function(box, case["code"], "add", ARGUMENTS)
        is_right = run.status == "ok" and [outcome.value for outcome in run.outcomes] == SUMS
        if case["expected"] == "pass":
            return "passed" if is_right else "refused"
        return "cheated" if is_right else "held"
    result = box.run(case["code"])
    if result.status == "sandbox_error":
        return "refused"
    return "escaped" if "ESCAPED" in result.stdout or SECRET in result.stdout + result.stderr else "held"


def judge_hostile(cases: list[dict[str, Any]], num_seeds: int) -> dict[str, Any]:
    """Every case once a seed, two at a time."""
    counts = Counter({name: 0 for name in ("escaped", "cheated", "refused", "passed", "held")})
    with bait() as listeners:
        before = tree_of(CANARY)
        for seed in range(num_seeds):
            order = random.Random(seed).sample(cases, len(cases))
            counts.update(in_threads(run_hostile, order))
        counts["escaped"] += sum(map(was_reached, listeners)) + (tree_of(CANARY) != before)
    return {"n": num_seeds * len(cases), **counts, "survivors": survivors()}


def tree_of(folder: Path) -> list[tuple[str, bytes]]:
    return sorted((str(p), p.read_bytes()) for p in folder.rglob("*") if p.is_file())


def survivors() -> int:
    """How many processes of the sandbox, or other children of ours, are there now and still there 20 s later."""
    left = sandboxed()
    deadline = time.monotonic() + SURVIVOR_WAIT_S
    while left and time.monotonic() < deadline:
        time.sleep(0.5)
        left &= sandboxed()
    return len(left)


def sandboxed() -> set[int]:
    """Ids of processes that run as one of the sandbox's users, or below this process."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            text = status.read_text()
            uid, parent = (int(text.split(f"\n{field}:")[1].split()[0]) for field in ("Uid", "PPid"))
            if FIRST_UID <= uid < FIRST_UID + NUM_SLOTS or parent == os.getpid():
                found.add(int(status.parent.name))
    return found


# Solutions


def humaneval(data: Path) -> list[Task]:
    rows = read_rows(data / "humaneval" / "test.jsonl.gz")
    return [Task(r["task_id"], r["prompt"] + r["canonical_solution"], r["entry_point"], r["test"]) for r in rows]


def mbpp(data: Path) -> list[Task]:
    tasks = []
    for row in read_rows(data / "mbpp" / "all.jsonl.gz"):
        tests = "\n".join([row["test_setup_code"], *row["test_list"]])
        tasks.append(Task(str(row["task_id"]), row["code"], tested_name(row["code"], tests), tests))
    return tasks


def tested_name(code: str, tests: str) -> str:
    """The function of the solution that the tests call."""
    defined = {node.name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)}
    used = [node.id for node in ast.walk(ast.parse(tests)) if isinstance(node, ast.Name) and node.id in defined]
    return used[0] if used else next(iter(defined))


def judge(task: Task, code: str, timeout_s: float = TIMEOUT_S) -> Verdict:
    gold = {"kind": "asserts", "entry_point": task.entry_point, "tests": task.tests}
    return Code(timeout_s=timeout_s).check(
        *to_pair({"id": task.name, "gold": gold, "answer": f"```python\n{code}\n```"})
    )


def tests_hold(task: Task, code: str) -> bool:
    """Whether the tests, as plain Python after an honest solution, end well."""
    call = f"\ncheck({task.entry_point})" if "def check(" in task.tests else ""
    return Sandbox(timeout_s=TIMEOUT_S).run(f"{code}\n\n{task.tests}{call}\n").status == "ok"


def judge_canonical(tasks: list[Task]) -> dict[str, Any]:
    verdicts = in_threads(lambda task: judge(task, task.code, timeout_s=10), tasks)
    refused = {t.name: v.detail for t, v in zip(tasks, verdicts, strict=True) if v.status is not Status.PASS}
    return {"n": len(tasks), "passed": len(tasks) - len(refused), "refused": refused}


def judge_mutants(tasks: list[Task], seed: int = 0) -> dict[str, Any]:
    """Mutants by kind: how many there are, how many the tests can tell, and which of those pass."""
    dice = random.Random(seed)
    made = [(t, kind, code) for t in tasks for kind, code in mutants(t.code, t.entry_point, dice).items()]
    passed = in_threads(lambda m: judge(m[0], m[2]).status is Status.PASS, made)
    hold = in_threads(lambda m: tests_hold(m[0], m[2]), made)
    told = [(t.name, kind, p) for (t, kind, _), p, h in zip(made, passed, hold, strict=True) if not h]
    return {
        "n": dict(Counter(kind for _, kind, _ in made)),
        "tests_can_tell": dict(Counter(kind for _, kind, _ in told)),
        "passed": [f"{name} {kind}" for name, kind, is_passed in told if is_passed],
    }


# Speed


def measure_speed(count: int = 200) -> dict[str, float]:
    """Runs a second, two at a time: isolated ones, and plain interpreters side by side with them."""
    box = Sandbox(timeout_s=10)

    def isolated(number: int) -> None:
        run = run_function(box, "def add(a, b): return a + b", "add", [[number, 1]])
        assert run.status == "ok" and run.outcomes[0].value == number + 1, run

    def plain(number: int) -> None:
        subprocess.run([sys.executable, "-I", "-S", "-c", f"{number} + 1"], check=True)

    seconds = [0.0, 0.0]
    for part in range(4):
        for which, work in enumerate((isolated, plain)):
            start = time.monotonic()
            in_threads(work, range(part * count // 4, (part + 1) * count // 4))
            seconds[which] += time.monotonic() - start
    rates = [count / s for s in seconds]
    return {
        "isolated_per_s": round(rates[0], 1),
        "plain_per_s": round(rates[1], 1),
        "ratio": round(rates[0] / rates[1], 2),
    }


def missed_targets(found: dict[str, Any]) -> list[str]:
    """One line for each claim that does not hold."""
    missed, hostile = [], found["hostile"]
    if any(hostile[bad] for bad in ("escaped", "cheated", "refused", "survivors")) or not hostile["passed"]:
        missed.append("hostile: no escape, no cheat, no survivor, honest ones pass")
    for name, share in (("humaneval", 1), ("mbpp", 0.97)):
        if found[name]["passed"] < share * found[name]["n"]:
            missed.append(f"{name}: canonical solutions pass")
        if found[f"{name}_mutants"]["passed"]:
            missed.append(f"{name}: mutants never pass where the tests can tell")
    if found["speed"]["isolated_per_s"] < 20:
        missed.append("speed: >= 20 isolated runs a second")
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with hostile_python/, humaneval/ and mbpp/")
    parser.add_argument("--seeds", type=int, default=7, help="orders of the hostile programs")
    parser.add_argument("--every", type=int, default=1, help="take each Nth problem")
    parser.add_argument("--level", choices=LOCAL[:-1], default=LOCAL[0], help="level of the sandbox")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    grant(args.level)
    found: dict[str, Any] = {"level": args.level, "speed": measure_speed()}
    for name, read in (("humaneval", humaneval), ("mbpp", mbpp)):
        tasks = read(args.data)[:: args.every]
        found |= {name: judge_canonical(tasks), f"{name}_mutants": judge_mutants(tasks)}
    found["hostile"] = judge_hostile(read_rows(args.data / "hostile_python" / "cases.jsonl"), args.seeds)
    finish(found, missed_targets(found), as_json=args.json)


if __name__ == "__main__":
    main()
