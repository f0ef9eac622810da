"""Problems and samples in one line."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from rdistill.config import VerifierSpec
from rdistill.records import Problem, Sample, Verdict
from rdistill.verifiers.cases import to_pair
from rdistill.verifiers.pool import VerifierPool


@pytest.fixture
def make() -> Callable[..., tuple[Problem, Sample]]:
    """make(gold, answer, **fields) -> (problem, sample)."""

    def build(gold: Any, answer: str, **fields: Any) -> tuple[Problem, Sample]:
        return to_pair({"id": f"{gold}|{answer}", "gold": gold, "answer": answer, **fields})

    return build


@pytest.fixture
def judge_all() -> Callable[..., list[list[Verdict]]]:
    """judge_all(specs, pairs, **pool options) -> verdicts of each pair, one after the other."""

    def run(specs: list[VerifierSpec], pairs: list[tuple[Problem, Sample]], **options: Any) -> list[list[Verdict]]:
        async def work() -> list[list[Verdict]]:
            async with VerifierPool(specs, **{"workers": 1, **options}) as pool:
                return [await pool.check(*pair) for pair in pairs]

        return asyncio.run(work())

    return run
