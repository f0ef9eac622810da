import asyncio

import pytest

from rdistill.errors import TeacherError
from rdistill.side_by_side import side_by_side


def test_every_item_once_and_no_more_at_a_time_than_asked():
    running, most, done = 0, 0, []

    async def work(item):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        done.append(item)

    asyncio.run(side_by_side(range(20), work, 3))
    assert sorted(done) == [*range(20)]
    assert most == 3


def test_items_are_taken_as_workers_become_free():
    taken = []

    def items():
        for item in range(10):
            taken.append(item)
            yield item

    async def work(item):
        await asyncio.sleep(0)
        assert len(taken) <= item + 2

    asyncio.run(side_by_side(items(), work, 2))


def test_the_first_error_ends_the_others_and_is_raised_as_it_is():
    done = []

    async def work(item):
        if item == 1:
            raise TeacherError("the engine is gone")
        await asyncio.sleep(10)
        done.append(item)

    with pytest.raises(TeacherError, match="the engine is gone"):
        asyncio.run(side_by_side(range(5), work, 2))
    assert done == []
