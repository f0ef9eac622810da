"""Answer the held-out problems with each model and mode, verify, and write RUN/evaluation/scorecard.json."""

import asyncio
import itertools
import json
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from string import ascii_letters, digits
from typing import Any

from rdistill.config import Config, VerifierSpec
from rdistill.errors import DataError
from rdistill.evaluate.scorecard import Row, Speeds, answered, scorecard
from rdistill.infer.card import make_card
from rdistill.infer.concise import Student
from rdistill.ledger import Ledger
from rdistill.models import model_identity
from rdistill.progress import bar
from rdistill.quarantine import quarantined
from rdistill.records import Problem, Sample, Status, StudentMode
from rdistill.run import RunFolder, write_durable
from rdistill.teacher.engine import Engine
from rdistill.teacher.engines import start_student, start_teacher
from rdistill.teacher.faults import fault_warnings
from rdistill.teacher.modes import Teacher
from rdistill.teacher.sampler import CachedEngine, judge
from rdistill.tools import make_tools
from rdistill.verifiers.composition import GROUP_VERIFIERS, applicable, combine, deciding_reason, without_form
from rdistill.verifiers.pool import VerifierPool

Model = tuple[str, str | None]
"""A model and its revision."""
Answer = Callable[[Problem], Awaitable[Sample]]
TEACHER_MODES: dict[str, StudentMode] = {"rationale": "explain", "critique_revise": "explain", "tool_trace": "tool"}
ENDPOINT: Model = ("", None)


async def evaluate_models(run: RunFolder, config: Config, ledger: Ledger) -> dict[str, Any]:
    """All configured models and modes on the same problems, greedy; returns the headline numbers.

    Raises: DataError if the split is empty.
    """
    left = quarantined(run.quarantine)
    usable = (p for p in ledger.rows(Problem, split=config.evaluate.split) if p.id not in left)
    problems = list(itertools.islice(usable, config.evaluate.limit))
    if not problems:
        raise DataError(
            f"split {config.evaluate.split!r} is empty, so nothing can be measured; raise prompts.test_fraction or "
            "give a source with split: test"
        )
    async with VerifierPool.of(config.verify, specs=answer_verifiers(config)) as pool:
        work = Evaluation(run, config, ledger, problems, pool)
        for roles in group_by_weights(run, config):
            await work.measure(roles)
    rows = sorted(work.rows, key=lambda r: (r["model"], r["mode"]))
    card = scorecard(rows, work.speeds) | _faults(run, config, ledger)
    write_durable(run.answers, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
    write_durable(run.scorecard, json.dumps(card, indent=1))
    accuracies = {
        f"{model} {mode}": score["accuracy"] for model, modes in card["models"].items() for mode, score in modes.items()
    }
    levels = Counter(row["sandbox"] for row in rows if row["sandbox"])
    warnings = {"warnings": work.warnings} if work.warnings else {}
    failed = {"requests_failed": len(rows) - len(answered(rows))}
    return accuracies | failed | ({"sandbox": dict(levels)} if levels else {}) | warnings


def answer_verifiers(config: Config) -> list[VerifierSpec]:
    """The required verifiers that can judge an answer by itself; of those for its domain, form decides only alone."""
    return [s for s in config.verify.verifiers if s.required and s.name not in GROUP_VERIFIERS]


def model_of(role: str, run: RunFolder, config: Config) -> Model | None:
    """A role's model; ENDPOINT for a teacher elsewhere; None for a student that was not trained."""
    if role == "teacher":
        return ENDPOINT if config.teacher.engine == "openai" else (config.teacher.model, config.teacher.revision)
    if role == "base":
        return config.student.model, config.student.revision
    return (str(run.model(role)), None) if run.read_result(role).get("steps") else None


def group_by_weights(run: RunFolder, config: Config) -> list[list[str]]:
    """Roles that share an engine (a bundled teacher may be the base itself), in the order of the config."""
    groups: dict[str, list[str]] = {}
    for role in config.evaluate.models:
        if (model := model_of(role, run, config)) is not None:
            groups.setdefault("endpoint" if model == ENDPOINT else model_identity(*model), []).append(role)
    return list(groups.values())


async def start_engine(roles: list[str], run: RunFolder, config: Config) -> Engine:
    """One engine for roles of the same weights."""
    model = model_of(roles[0], run, config)
    assert model is not None, "roles without a model are in no group"
    return await (start_teacher(config) if "teacher" in roles else start_student(*model, config))


@dataclass
class Evaluation:
    """Collects answer rows, and tokens per second, of one model after the other."""

    run: RunFolder
    config: Config
    ledger: Ledger
    problems: list[Problem]
    pool: VerifierPool
    rows: list[Row] = field(default_factory=list)
    speeds: Speeds = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    async def measure(self, roles: list[str]) -> None:
        """Start one engine and measure every role it serves."""
        engine = await start_engine(roles, self.run, self.config)
        try:
            for role in roles:
                cached = CachedEngine(engine, self.ledger, self.config.teacher.concurrency)
                for mode, answer in answerers(role, self.config, cached):
                    await self._measure_mode(role, mode, answer, cached)
                self.warnings += [f"{role}: {warning}" for warning in cached.warnings]
        finally:
            await engine.close()

    async def _measure_mode(self, role: str, mode: StudentMode, answer: Answer, engine: CachedEngine) -> None:
        with bar(f"{role} {mode}", len(self.problems), "problems") as update:
            before, started = engine.fresh, time.monotonic()
            samples = await self._answer_all(answer, update)
            engine.patience.conclude()
            self.warnings += [f"{role} {mode}: {warning}" for warning in fault_warnings(samples)]
            seconds = time.monotonic() - max(started, engine.ready_at)
            found = await self._judge_all(role, mode, samples)
            tokens = sum(r["output_tokens"] for r in found)
            # Completions that were at hand from an earlier attempt say nothing about speed.
            asked = engine.fresh - before
            self.speeds[role, mode] = tokens / seconds if asked >= len(samples) else self._speed_before(role, mode)
            share = sum(r["status"] == Status.PASS for r in found) / max(1, len(answered(found)))
            update(len(found), f"{share:.1%} right, {tokens / len(found):.0f} tokens each")
        self.rows += found

    def _speed_before(self, role: str, mode: str) -> float | None:
        try:
            return json.loads(self.run.scorecard.read_text())["models"][role][mode]["tokens_per_s"]
        except (OSError, ValueError, KeyError):
            return None

    async def _answer_all(self, answer: Answer, update: Callable[[int, str], None]) -> list[Sample]:
        done = 0

        async def one(problem: Problem) -> Sample:
            nonlocal done
            sample = await answer(problem)
            done += 1
            update(done, "")
            return sample

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(p)) for p in self.problems]
        return [t.result() for t in tasks]

    async def _judge_all(self, role: str, mode: str, samples: list[Sample]) -> list[Row]:
        """One row per answer. What cannot be judged counts as not right."""
        said = [before_the_cut(s) for s in samples]
        asked = zip(self.problems, said, strict=True)
        said_of = await asyncio.gather(*(judge(p, s, self.pool) for p, s in asked))
        specs = [without_form(applicable(self.pool.specs, p.domain)) for p in self.problems]
        names = [{spec.name for spec in by} for by in specs]
        verdicts = [[v for v in found if v.verifier in kept] for found, kept in zip(said_of, names, strict=True)]
        statuses = [
            combine(found, by, self.config.verify, problem.domain)
            for found, by, problem in zip(verdicts, specs, self.problems, strict=True)
        ]
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
                "status": status.value,
                "reason": deciding_reason(found, by, status).value,
                "finish_reason": sample.finish_reason,
                "output_tokens": sample.usage["completion_tokens"],
                "seconds": sample.usage["milliseconds"] / 1000,
                "confidence": None if sample.confidence is None else math.exp(sample.confidence),
                "sandbox": sample.sandbox or next((v.sandbox for v in found if v.sandbox), None),
            }
            for problem, sample, found, by, status in zip(
                self.problems, samples, verdicts, specs, statuses, strict=True
            )
        ]


def before_the_cut(sample: Sample) -> Sample:
    """What is judged of a reply that ran into the limit: unlike in training what it says, if that was not cut itself.

    A declared answer that reaches the end may have gone on (12 of 125), and stays truncated; so may the last word.
    """
    if sample.finish_reason != "length":
        return sample if sample.fault else sample.model_copy(update={"finish_reason": "stop"})
    text = sample.text
    if sample.answer is not None and text.rstrip(" .").endswith(sample.answer.rstrip(" .")):
        return sample
    whole = text if sample.answer is not None else text.rstrip(ascii_letters + digits + ".,")
    messages = [*sample.messages[:-1], {**sample.messages[-1], "content": whole}]
    return sample.model_copy(update={"finish_reason": "stop", "messages": messages})


def answerers(role: str, config: Config, engine: CachedEngine) -> list[tuple[StudentMode, Answer]]:
    """Each mode that a role is measured in, with the coroutine that answers a problem in it."""
    tools = make_tools([*config.teacher.tools], config.sandbox) if config.teacher.mode == "tool_trace" else {}
    if role == "teacher":
        return [(TEACHER_MODES[config.teacher.mode], _teacher_answer(config, engine, tools))]
    student = Student(engine, make_card(config), tools, max_tokens=config.evaluate.max_tokens)
    return [(mode, partial(student.sample, mode=mode)) for mode in config.evaluate.modes]


def _teacher_answer(config: Config, engine: CachedEngine, tools: dict) -> Answer:
    greedy = config.teacher.sampling.model_copy(update={"temperature": 0.0})
    teacher = Teacher(
        config.model_copy(update={"teacher": config.teacher.model_copy(update={"sampling": greedy})}),
        engine.chat,
        engine.identity,
        tools,
    )

    async def answer(problem: Problem) -> Sample:
        """The last sample of the chain, at the cost of the whole chain."""
        chain = await teacher.samples(problem, 0)
        usage = {key: sum(s.usage[key] for s in chain) for key in chain[-1].usage}
        return chain[-1].model_copy(update={"usage": usage})

    return answer


def _faults(run: RunFolder, config: Config, ledger: Ledger) -> dict[str, Any]:
    """What must be zero: invalid pairs, and clusters on both sides of a split; re-checked here, not taken on trust."""
    from rdistill.prompts.pool import straddling
    from rdistill.select import pair_faults
    from rdistill.select.sealed import read_sealed
    from rdistill.steps import sample_statuses

    rows = read_sealed(run, run.pairs_data) if run.pairs_data.exists() else []
    return {
        "pairs_invalid": len(pair_faults(rows, ledger, config, sample_statuses(config, ledger))),
        "leakage": straddling(ledger.rows(Problem)),
        "quarantined": len(quarantined(run.quarantine)),
    }
