"""The student's own answers to train problems or their variations, drawn and verified: its mistakes become the
rejected side of pairs.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rdistill.config import Config
from rdistill.infer.card import make_card
from rdistill.infer.concise import Student
from rdistill.ledger import Ledger
from rdistill.progress import bar
from rdistill.records import Problem, Sample, StudentMode, Verdict
from rdistill.side_by_side import side_by_side
from rdistill.teacher.engine import Engine
from rdistill.teacher.faults import fault_warnings, num_failed
from rdistill.teacher.sampler import CachedEngine, judge
from rdistill.tools import make_tools
from rdistill.verifiers.pool import VerifierPool

Draw = tuple[Problem, StudentMode, int]
"""A problem, the mode in which it is asked, and the number of the draw."""


async def draw_answers(
    config: Config, ledger: Ledger, engine: Engine, pool: VerifierPool, problems: Sequence[Problem]
) -> tuple[set[str], dict[str, Any]]:
    """Ask the student `pair.student_samples` times in each mode; samples and verdicts go to the ledger.

    Returns the samples' ids, and {"student_samples", "student_tokens", "requests_failed", "warnings"}.
    Raises: TeacherError if the engine fails; what is on disk is neither asked for nor judged again.
    """
    cached = CachedEngine(engine, ledger, config.teacher.concurrency)
    tools = make_tools([*config.teacher.tools], config.sandbox) if "tool" in config.select.modes else {}
    student = Student(cached, make_card(config), tools, max_tokens=config.evaluate.max_tokens)
    done = Counter[str]()
    judged = {verdict.sample_id for verdict in ledger.rows(Verdict)}
    drawn: set[str] = set()
    count = len(problems) * len(config.select.modes) * config.pair.student_samples
    faults: list[Sample] = []

    async def work(draw: Draw) -> None:
        problem, mode, index = draw
        sample = await student.sample(
            problem, mode, temperature=config.pair.student_temperature, index=index, seed=config.seed
        )
        drawn.add(sample.id)
        if sample.id not in judged:
            await ledger.put(sample, *await judge(problem, sample, pool))
        done.update(samples=1, tokens=sample.usage["completion_tokens"])
        if sample.fault is not None:
            faults.append(sample)
        update(done["samples"], f"{done['tokens']} tokens")

    with bar("student's answers", count, "answers") as update:
        await side_by_side(_draws(config, problems), work, config.teacher.concurrency)
    cached.patience.conclude()
    return drawn, {
        "student_samples": done["samples"],
        "student_tokens": done["tokens"],
        "requests_failed": num_failed(faults),
        "warnings": fault_warnings(faults),
    }


def _draws(config: Config, problems: Sequence[Problem]) -> Iterator[Draw]:
    """Every draw; a problem's stand together, so that its prompt is computed once."""
    for problem in problems:
        for mode in config.select.modes:
            for index in range(config.pair.student_samples):
                yield problem, mode, index
