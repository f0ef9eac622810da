"""What each stage does, read from top to bottom: the table of contents of a run.

Every function takes (run, config, ledger) and returns what the manifest keeps as the stage's result.
"""

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import chain
from typing import Any

from rdistill.config import Config, VerifierSpec
from rdistill.errors import DataError
from rdistill.ledger import Ledger
from rdistill.progress import bar
from rdistill.records import Example, Pair, Problem, Sample, Status, Verdict
from rdistill.run import RunFolder
from rdistill.verifiers.composition import applicable, check_domains, combine, without_form
from rdistill.verifiers.pool import VerifierPool


def prompts(run: RunFolder, config: Config, ledger: Ledger) -> dict[str, Any]:
    """Read or make the problems and draw their splits, once, before anything else."""
    from rdistill.prompts import build_problems

    problems, counts = build_problems(config)
    ledger.replace(Problem, problems)
    return counts


def generate(run: RunFolder, config: Config, ledger: Ledger) -> dict[str, Any]:
    """Quarantine what has no usable gold; sample the teacher on the other train problems until each has enough."""
    from rdistill.quarantine import quarantined, validate_gold, write_quarantine

    problems = [p for p in ledger.rows(Problem) if p.split != "pair"]
    check_domains(config, problems)
    with bar("gold", len(problems), "problems") as update:
        refusals, gold = validate_gold(config, problems, update)
    write_quarantine(run.quarantine, refusals)
    left = quarantined(run.quarantine)
    train = [p for p in problems if p.split == "train" and p.id not in left]
    forget(ledger, lambda sample: sample.fault is not None)  # asked for again
    counts = asyncio.run(_generate(config, ledger, train))
    return counts | {"gold": gold} | sandbox_levels(ledger.rows(Sample), ledger.rows(Verdict))


def forget(ledger: Ledger, is_stale: Callable[[Sample], bool]) -> None:
    """Drop samples that an earlier attempt left, and their verdicts."""
    gone = {s.id for s in ledger.rows(Sample) if is_stale(s)}
    if gone:
        ledger.replace(Verdict, [v for v in ledger.rows(Verdict) if v.sample_id not in gone])
        ledger.replace(Sample, [s for s in ledger.rows(Sample) if s.id not in gone])


async def _generate(config: Config, ledger: Ledger, problems: list[Problem]) -> dict[str, Any]:
    from rdistill.teacher.engines import serving, start_teacher
    from rdistill.teacher.faults import fault_warnings, num_failed
    from rdistill.teacher.sampler import CachedEngine, Sampler
    from rdistill.tools import make_tools

    tools = make_tools([*config.teacher.tools], config.sandbox) if config.teacher.mode == "tool_trace" else {}
    async with VerifierPool.of(config.verify) as pool, serving(start_teacher(config)) as engine:
        cached = CachedEngine(engine, ledger, config.teacher.concurrency)
        sampler = Sampler(config, cached, ledger, pool, tools)
        asked = [p for p in problems if config.teacher.most_samples(p.pool)]
        with bar("generate", len(asked), "problems") as update:
            tally = await sampler.run(asked, lambda t: update(t.problems, t.summary()))
    return {
        "problems": len(problems),
        "problems_solved": tally.solved,
        "problems_with_pass_and_fail": tally.paired,
        "samples": tally.samples,
        "statuses": tally.statuses,
        "teacher_tokens": tally.tokens,
        "tokens_per_solved_problem": round(tally.tokens / tally.solved, 1) if tally.solved else None,
        "completions_asked": cached.fresh,
        "completions_reused": cached.reused,
        "requests_without_reply": dict(Counter(s.finish_reason for s in tally.faults)),
        "requests_failed": num_failed(tally.faults),
        "warnings": fault_warnings(tally.faults) + cached.warnings,
    }


def sandbox_levels(*rows: Iterable[Sample | Verdict]) -> dict[str, Any]:
    """{"sandbox": {level: rows}} of rows for which model-written code ran; nothing where none did."""
    levels = Counter(row.sandbox for row in chain(*rows) if row.sandbox)
    return {"sandbox": dict(levels)} if levels else {}


def verify(run: RunFolder, config: Config, ledger: Ledger) -> dict[str, Any]:
    """Judge every sample that lacks a verdict, and count what the verifiers said."""
    known = {problem.id for problem in ledger.rows(Problem)}
    forget(ledger, lambda sample: sample.role == "student" or sample.problem_id not in known)  # of an earlier `pair`
    asyncio.run(_judge_missing(config, ledger))
    reasons = Counter(f"{v.verifier}: {v.reason}" for v in ledger.rows(Verdict) if v.status is not Status.PASS)
    statuses = Counter(status.value for status in sample_statuses(config, ledger).values())
    plain = {status.value: statuses[status.value] for status in Status}  # for the stage's line on the terminal
    found = plain | {"statuses": dict(statuses), "reasons": dict(reasons.most_common())}
    return found | sandbox_levels(ledger.rows(Verdict))


async def _judge_missing(config: Config, ledger: Ledger) -> None:
    from rdistill.teacher.sampler import JUDGED_ROLES, judge, judge_together

    judged: dict[str, set[str]] = {}
    for verdict in ledger.rows(Verdict):
        judged.setdefault(verdict.sample_id, set()).add(verdict.verifier)
    problems = {p.id: p for p in ledger.rows(Problem)}

    def is_judged(sample: Sample) -> bool:
        specs = applicable(config.verify.verifiers, problems[sample.problem_id].domain)
        return {spec.name for spec in specs} <= judged.get(sample.id, set())

    waiting = [s for s in ledger.rows(Sample) if s.role in JUDGED_ROLES and not is_judged(s)]
    if not waiting:
        return
    async with VerifierPool.of(config.verify) as pool:
        with bar("verify", len(waiting), "samples") as update:
            for done in range(0, len(waiting), 256):
                batch = waiting[done : done + 256]
                found = await asyncio.gather(*(judge(problems[s.problem_id], s, pool) for s in batch))
                await ledger.put(*(verdict for verdicts in found for verdict in verdicts))
                update(done + len(batch), "")
        for problem_id in dict.fromkeys(s.problem_id for s in waiting):
            samples = list(ledger.rows(Sample, problem_id=problem_id))
            await ledger.put(*await judge_together(problems[problem_id], samples, pool))


def sample_statuses(config: Config, ledger: Ledger) -> dict[str, Status]:
    """Each judged sample's combined status under the config's verifiers."""
    by_sample: dict[str, dict[str, Verdict]] = {}
    for verdict in ledger.rows(Verdict):
        by_sample.setdefault(verdict.sample_id, {})[verdict.verifier] = verdict
    return {
        sample_id: combine([by_sample[sample_id][s.name] for s in specs], specs, config.verify, domain)
        for sample_id, domain, specs in _specs_by_sample(config, ledger, by_sample)
        if all(s.name in by_sample[sample_id] for s in specs)
    }


def _specs_by_sample(
    config: Config, ledger: Ledger, sample_ids: Container[str]
) -> Iterator[tuple[str, str, list[VerifierSpec]]]:
    """Each sample with its domain and its verifiers; an answer that the student was asked for alone has no form."""
    domain_of = {p.id: p.domain for p in ledger.rows(Problem)}
    for sample in ledger.rows(Sample):
        if sample.id in sample_ids:
            domain = domain_of[sample.problem_id]
            specs = applicable(config.verify.verifiers, domain)
            alone = sample.role == "student" and sample.sampling["mode"] == "direct"
            yield sample.id, domain, without_form(specs) if alone else specs


def trainable_statuses(run: RunFolder, config: Config, ledger: Ledger) -> dict[str, Status]:
    """sample_statuses without what an earlier attempt sampled for problems that are quarantined now."""
    from rdistill.quarantine import quarantined

    statuses = sample_statuses(config, ledger)
    for problem_id in quarantined(run.quarantine):
        for sample in ledger.rows(Sample, problem_id=problem_id):
            statuses.pop(sample.id, None)
    return statuses


def select(run: RunFolder, config: Config, ledger: Ledger) -> dict[str, Any]:
    """Choose what the student learns from the verified samples, and seal it."""
    from rdistill.quarantine import quarantined
    from rdistill.select import gold_samples, select_examples, write_sft
    from rdistill.select.reasons import nothing_to_learn

    train = ledger.rows(Problem, split="train")
    golds = gold_samples(train, quarantined(run.quarantine)) if config.select.gold else {}
    ledger.write(golds.values())
    statuses = trainable_statuses(run, config, ledger)
    examples, counts = select_examples(ledger, config, statuses, golds)
    if not examples:
        raise DataError(nothing_to_learn(ledger, config, statuses.values()))
    ledger.replace(Example, examples)
    return counts | write_sft(run.sft_data, examples, ledger)


def pair(run: RunFolder, config: Config, ledger: Ledger) -> dict[str, Any]:
    """Build the preferences, where the config asks for it also from the student's own mistakes, and seal them."""
    from rdistill.select import build_pairs, pair_faults, write_pairs

    kept = _keep_for_pairs(run, config, ledger)
    drawn: set[str] = set()
    own: dict[str, Any] = {}
    if config.asks_student:
        drawn, own = asyncio.run(_ask_student(run, config, ledger, kept or _solved(run, config, ledger)))
    forget(ledger, lambda sample: sample.role == "student" and sample.id not in drawn)  # of an earlier student
    statuses = trainable_statuses(run, config, ledger)
    pairs, rows, counts = build_pairs(ledger, config, statuses)
    if faults := pair_faults(rows, ledger, config, statuses):
        raise DataError(
            f"{len(faults)} of {len(rows)} pairs break their contract, first {faults[0]['id']} ({faults[0]['fault']}); "
            "ledger.sqlite was changed, or this is a fault of rdistill: start again in a new run_dir"
        )
    ledger.replace(Pair, pairs)
    warnings = counts["warnings"] + own.pop("warnings", [])
    return counts | own | {"warnings": warnings} | write_pairs(run.pairs_data, rows)


def _keep_for_pairs(run: RunFolder, config: Config, ledger: Ledger) -> list[Problem]:
    """The problems of split `pair`, with their gold answers where those may be learned; those of an earlier attempt,
    and what was said of them, are dropped unless they are the same.
    """
    from rdistill.prompts.variations import unseen_variations
    from rdistill.quarantine import quarantined
    from rdistill.select import gold_samples

    earlier = list(ledger.rows(Problem, split="pair"))
    others = [p for p in ledger.rows(Problem) if p.split != "pair"]
    left_out = quarantined(run.quarantine)
    count = config.pair.student_variations if config.asks_student else 0
    kept = unseen_variations([p for p in others if p.id not in left_out], count, config) if count else []
    if count and not kept:
        raise DataError(
            f"pair.student_variations={count}, but no train problem has an equation with the numbers of its question; "
            "set it to 0, which asks the student the train problems that the teacher solved"
        )
    if kept != earlier:
        ledger.replace(Problem, [*others, *kept])
        known = {p.id for p in (*others, *kept)}
        forget(ledger, lambda sample: sample.problem_id not in known)
    if config.select.gold:
        ledger.write(gold_samples(kept, ()).values())
    return kept


def _solved(run: RunFolder, config: Config, ledger: Ledger) -> list[Problem]:
    """The train problems that the teacher solved."""
    passed = {sample_id for sample_id, s in trainable_statuses(run, config, ledger).items() if s is Status.PASS}
    solved = {s.problem_id for s in ledger.rows(Sample) if s.id in passed}
    return [p for p in ledger.rows(Problem, split="train") if p.id in solved]


async def _ask_student(
    run: RunFolder, config: Config, ledger: Ledger, problems: list[Problem]
) -> tuple[set[str], dict[str, Any]]:
    """The SFT model's answers to these problems: their ids, and the report."""
    from rdistill.infer.own_answers import draw_answers
    from rdistill.teacher.engines import serving, start_student

    async with (
        VerifierPool.of(config.verify) as pool,
        serving(start_student(str(run.model("sft")), None, config)) as engine,
    ):
        return await draw_answers(config, ledger, engine, pool, problems)


def sft(run: RunFolder, config: Config, ledger: Ledger) -> dict[str, Any]:
    """Stage 1 under DeepSpeed."""
    return _train("sft", run, config)


def dpo(run: RunFolder, config: Config, ledger: Ledger) -> dict[str, Any]:
    """Stage 2 under DeepSpeed; left out where it is switched off or there is no pair."""
    reason = "no pairs" if ledger.count(Pair) == 0 else None if config.dpo.enabled else "dpo.enabled is false"
    if reason is None:
        return _train("dpo", run, config)
    # An earlier attempt's model must not pass for this one's.
    run.result("dpo").unlink(missing_ok=True)
    shutil.rmtree(run.model("dpo"), ignore_errors=True)
    return {"skipped": reason}


def _train(stage: str, run: RunFolder, config: Config) -> dict[str, Any]:
    from rdistill.infer.card import write_card
    from rdistill.train.launch import launch

    run.result(stage).unlink(missing_ok=True)
    launch(stage, run, config)
    write_card(run.model(stage), config)
    return run.read_result(stage)


def evaluate(run: RunFolder, config: Config, ledger: Ledger) -> dict[str, Any]:
    """Measure every model on held-out problems."""
    from rdistill.evaluate import evaluate_models

    return asyncio.run(evaluate_models(run, config, ledger))


def report(run: RunFolder, config: Config, ledger: Ledger) -> dict[str, Any]:
    """Write the page that people read."""
    from rdistill.report import build_report

    return {"path": str(build_report(run, ledger, config).relative_to(run.root))}
