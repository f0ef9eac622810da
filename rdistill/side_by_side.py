"""Work on many things at once, a bounded number of them at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from rdistill.errors import RdistillError, first_cause

T = TypeVar("T")


async def side_by_side(items: Iterable[T], work: Callable[[T], Awaitable[None]], workers: int) -> None:
    """Do `work` on every item, `workers` of them at a time; items are taken as a worker becomes free.

    Raises: the first RdistillError of any, once the others were cancelled.
    """
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(worker())
    except* RdistillError as errors:
        raise first_cause(errors) from None
