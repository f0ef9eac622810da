"""How many requests a server takes at once: some are answered, as many again wait, more are sent away."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from rdistill.infer.chat_body import Refused

RETRY_AFTER_S = 1


class Admission:
    """At most `max_requests` hold a slot, and at most `max_waiting` more are in the house."""

    def __init__(self, max_requests: int, max_waiting: int) -> None:
        self.slots = asyncio.Semaphore(max_requests)
        self.num_inside, self._max_inside = 0, max_requests + max_waiting

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Be inside. Raises: Refused if the house is full."""
        if self.num_inside >= self._max_inside:
            raise Refused(
                429,
                f"the server has {self.num_inside} requests already; try again in {RETRY_AFTER_S} s",
                code="too_many_requests",
                retry_after=str(RETRY_AFTER_S),
            )
        self.num_inside += 1
        try:
            yield
        finally:
            self.num_inside -= 1
