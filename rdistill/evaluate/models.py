"""Answer the held-out problems with each model and mode, verify, and write RUN/evaluation/scorecard.json."""

import asyncio
import itertools
import json
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

from rdistill.config import Config, VerifierSpec
from rdistill.errors import DataError
from rdistill.evaluate.statistics import expected_calibration_error, paired_comparison, percentiles, wilson_interval
from rdistill.infer.card import make_card
from rdistill.infer.concise import Student
from rdistill.ledger import Ledger
from rdistill.models import model_identity
from rdistill.progress import bar
from rdistill.records import Problem, Sample, Status, StudentMode
from rdistill.run import RunFolder, write_durable
from rdistill.teacher.engine import Engine
from rdistill.teacher.engines import start_teacher, start_vllm
from rdistill.teacher.modes import Teacher, total_usage
from rdistill.teacher.sampler import CachedEngine
from rdistill.tools import make_tools
from rdistill.verifiers.pool import VerifierPool, combine

Row = dict[str, Any]
TEACHER_MODES: dict[str, StudentMode] = {"rationale": "explain", "critique_revise": "explain", "tool_trace": "tool"}


async def evaluate_models(run: RunFolder, config: Config, ledger: Ledger) -> dict[str, Any]:
    """All configured models and modes on the same problems, greedy; returns the headline numbers.

    Raises: DataError if the split is empty.
    """
    problems = list(itertools.islice(ledger.rows(Problem, split=config.evaluate.split), config.evaluate.limit))
    if not problems:
        raise DataError(
            f"split {config.evaluate.split!r} is empty, so nothing can be measured; raise prompts.test_fraction or "
            "give a source with split: test"
        )
    rows: list[Row] = []
    speeds: dict[tuple[str, str], float] = {}
    for roles in group_by_weights(run, config):
        await _evaluate_group(roles, run, config, ledger, problems, rows, speeds)
    rows.sort(key=lambda r: (r["model"], r["mode"]))
    card = scorecard(rows, speeds) | _faults(run, config, ledger)
    write_durable(
        run.scorecard.parent / "answers.jsonl", "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
    )
    write_durable(run.scorecard, json.dumps(card, indent=1))
    return {
        f"{model} {mode}": score["accuracy"] for model, modes in card["models"].items() for mode, score in modes.items()
    }


def group_by_weights(run: RunFolder, config: Config) -> list[list[str]]:
    """Roles that share an engine (a bundled teacher may be the base itself), in the order of the config."""
    groups: dict[str, list[str]] = {}
    for role in config.evaluate.models:
        if (model := model_of(role, run, config)) is not None:
            options = config.teacher.vllm.model_dump_json()
            groups.setdefault(
                f"{config.teacher.base_url}:{options}" if model == "" else model_identity(model), []
            ).append(role)
    return list(groups.values())


def model_of(role: str, run: RunFolder, config: Config) -> str | None:
    """A role's model; "" for an endpoint; None for a student that was not trained."""
    if role == "teacher":
        return "" if config.teacher.engine == "openai" else config.teacher.model
    if role == "base":
        return config.student.model
    return str(run.model(role)) if run.read_result(role).get("steps") else None


async def _evaluate_group(
    roles: list[str],
    run: RunFolder,
    config: Config,
    ledger: Ledger,
    problems: list[Problem],
    rows: list[Row],
    speeds: dict[tuple[str, str], float],
) -> None:
    """Start one engine and measure every role it serves."""
    model = model_of(roles[0], run, config)
    engine = await (
        start_teacher(config) if not model else start_vllm(model, None, config.teacher.vllm, seed=config.seed)
    )
    try:
        for role in roles:
            for mode, answer in _answerers(role, config, engine, ledger):
                with bar(f"{role} {mode}", len(problems), "problems") as update:
                    started = time.monotonic()
                    samples = await _answer_all(problems, answer, update)
                    found = await _judge_all(role, mode, problems, samples, config)
                    tokens = sum(r["output_tokens"] for r in found)
                    speeds[role, mode] = tokens / max(1e-9, time.monotonic() - started)
                    passed = sum(r["status"] == Status.PASS for r in found)
                    update(
                        len(problems), f"{passed / len(problems):.1%} right, {tokens / len(problems):.0f} tokens each"
                    )
                rows += found
    finally:
        await engine.close()


def _answerers(
    role: str, config: Config, engine: Engine, ledger: Ledger
) -> list[tuple[StudentMode, Callable[[Problem], Awaitable[Sample]]]]:
    """Each mode that a role is measured in, with the coroutine that answers a problem in it."""
    cached = CachedEngine(engine, ledger, config.teacher.concurrency)
    tools = make_tools([*config.teacher.tools], config.sandbox) if config.teacher.mode == "tool_trace" else {}
    if role == "teacher":
        return [(TEACHER_MODES[config.teacher.mode], _teacher_answer(config, cached, tools))]
    student = Student(cached, make_card(config), tools, max_tokens=config.evaluate.max_tokens)
    return [(mode, _student_answer(student, mode)) for mode in config.evaluate.modes]


def _teacher_answer(config: Config, engine: CachedEngine, tools: dict) -> Callable[[Problem], Awaitable[Sample]]:
    greedy = config.teacher.sampling.model_copy(update={"temperature": 0.0})
    teacher = Teacher(
        config.model_copy(update={"teacher": config.teacher.model_copy(update={"sampling": greedy})}),
        engine.chat,
        engine.identity,
        tools,
    )

    async def answer(problem: Problem) -> Sample:
        return (await teacher.samples(problem, 0))[-1]

    return answer


def _student_answer(student: Student, mode: StudentMode) -> Callable[[Problem], Awaitable[Sample]]:
    async def answer(problem: Problem) -> Sample:
        from rdistill.teacher.modes import answer_confidence

        replies, turns = await student.reply(problem.messages, mode)
        rationale, final = student.read(turns[-1]["content"], mode)
        return Sample.create(
            problem_id=problem.id,
            mode="tool_trace" if mode == "tool" else "rationale",
            messages=turns,
            rationale=rationale or None,
            answer=final,
            finish_reason=replies[-1].finish_reason,
            usage=total_usage(replies),
            confidence=answer_confidence(replies[-1], student.card.marker),
            sampling={"mode": mode, "temperature": 0},
            engine=student.engine.identity,
        )

    return answer


async def _answer_all(
    problems: list[Problem], answer: Callable[[Problem], Awaitable[Sample]], update: Callable[[int, str], None]
) -> list[Sample]:
    done = 0

    async def one(problem: Problem) -> Sample:
        nonlocal done
        sample = await answer(problem)
        done += 1
        update(done, "")
        return sample

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(p)) for p in problems]
    return [t.result() for t in tasks]


def answer_verifiers(config: Config) -> list[VerifierSpec]:
    """The verifiers that decide whether a held-out answer is right: the config's, without those about form alone."""
    return [s for s in config.verify.verifiers if s.required and s.name not in FORM_VERIFIERS]


FORM_VERIFIERS = ("format", "length")


async def _judge_all(role: str, mode: str, problems: list[Problem], samples: list[Sample], config: Config) -> list[Row]:
    """One row per answer. What is cut short or cannot be judged counts as not right."""
    specs = answer_verifiers(config)
    v = config.verify
    async with VerifierPool(specs, workers=v.workers, timeout_s=v.timeout_s, memory_mb=v.memory_mb) as pool:
        # Unlike in training, an answer that ran into the limit is judged by what it says.
        whole = [s.model_copy(update={"finish_reason": "stop"}) for s in samples]
        verdicts = await asyncio.gather(*(pool.check(p, s) for p, s in zip(problems, whole, strict=True)))
    return [
        {
            "problem_id": problem.id,
            "domain": problem.domain,
            "question": problem.messages[-1]["content"],
            "gold": problem.gold,
            "model": role,
            "mode": mode,
            "text": "\n".join(m["content"] for m in sample.messages),
            "answer": sample.answer,
            "status": combine(found, specs).value,
            "reason": next((f.reason.value for f in found if f.status is not Status.PASS), "OK"),
            "finish_reason": sample.finish_reason,
            "output_tokens": sample.usage["completion_tokens"],
            "seconds": sample.usage["milliseconds"] / 1000,
            "confidence": None if sample.confidence is None else math.exp(sample.confidence),
        }
        for problem, sample, found in zip(problems, samples, verdicts, strict=True)
    ]


def scorecard(rows: list[Row], speeds: dict[tuple[str, str], float]) -> dict[str, Any]:
    """The contract's scorecard from answer rows; latency is under the evaluation's own load."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["mode"]), []).append(row)
    models: dict[str, dict[str, Any]] = {}
    for (model, mode), group in groups.items():
        models.setdefault(model, {})[mode] = score(group, speeds.get((model, mode)))
    return {"models": models, "paired": paired_tests(groups)}


def score(rows: list[Row], tokens_per_s: float | None) -> dict[str, Any]:
    right = [r["status"] == "pass" for r in rows]
    known = [(r["confidence"], ok) for r, ok in zip(rows, right, strict=True) if r["confidence"] is not None]
    low, high = wilson_interval(sum(right), len(rows))
    return {
        "n": len(rows),
        "accuracy": round(sum(right) / len(rows), 4),
        "accuracy_ci": [round(low, 4), round(high, 4)],
        "output_tokens_mean": round(sum(r["output_tokens"] for r in rows) / len(rows), 2),
        "truncated": sum(r["finish_reason"] == "length" for r in rows),
        "unverifiable": sum(r["status"] == "unverifiable" for r in rows),
        "ece": expected_calibration_error([c for c, _ in known], [ok for _, ok in known]),
        "latency_s": percentiles([r["seconds"] for r in rows]),
        "tokens_per_s": None if tokens_per_s is None else round(tokens_per_s, 1),
    }


def paired_tests(groups: dict[tuple[str, str], list[Row]]) -> list[dict[str, Any]]:
    """Every two models that were measured in the same mode, on the same items."""
    order = ["base", "sft", "dpo", "teacher"]
    tests = []
    for (first, mode), (second, other) in itertools.permutations(groups, 2):
        if mode == other and order.index(first) < order.index(second):
            a = {r["problem_id"]: r["status"] == "pass" for r in groups[first, mode]}
            b = {r["problem_id"]: r["status"] == "pass" for r in groups[second, mode]}
            found = paired_comparison([a[i] for i in a], [b[i] for i in a])
            tests.append({"mode": mode, "first": first, "second": second} | found)
    return tests


def _faults(run: RunFolder, config: Config, ledger: Ledger) -> dict[str, Any]:
    """What must be zero: invalid pairs, and clusters on both sides of a split; re-checked here, not taken on trust."""
    from rdistill.select import pair_faults
    from rdistill.select.sealed import read_sealed
    from rdistill.steps import sample_statuses

    rows = read_sealed(run.pairs_data) if run.pairs_data.exists() else []
    sides: dict[str, set[str]] = {}
    for problem in ledger.rows(Problem):
        sides.setdefault(problem.cluster, set()).add(problem.split)
    return {
        "pairs_invalid": len(pair_faults(rows, ledger, config, sample_statuses(config, ledger))),
        "leakage": sum(len(splits) > 1 for splits in sides.values()),
    }
