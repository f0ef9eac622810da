"""How many requests are in flight at an endpoint: as many as it takes without calling itself busy."""

import asyncio
import math
import time

CALM_S = 30.0
"""Seconds after which a burst of refusals is over, and more requests are tried quickly."""
REFUSED_SHARE = 4
"""A burst is more refusals than one in so many requests in flight; each weighs as much as so many replies."""


class Flow:
    """Room for `most` requests; half as many after a burst of refusals, then more again with every reply."""

    def __init__(self, most: int) -> None:
        self._most, self._limit, self._used = most, float(most), 0
        self._pressure = 0.0
        self._halved_at = self._answered_at = -math.inf
        self._changed = asyncio.Event()

    @property
    def limit(self) -> int:
        """Requests that may be in flight."""
        return int(self._limit)

    def place(self) -> "Place":
        """Room for one request: `async with flow.place()`."""
        return Place(self)

    def answered(self) -> None:
        """A reply came: one more at once in calm times, else one more by and by, after a reply to each in flight."""
        self._answered_at = now = time.monotonic()
        self._pressure = max(0.0, self._pressure - 1 / REFUSED_SHARE)
        if self._limit < self._most:
            step = 1.0 if now - self._halved_at > CALM_S else 1 / self._limit
            self._limit = min(float(self._most), self._limit + step)
            self.wake()

    def refused(self, sent_at: float) -> None:
        """The server was too busy for a request that was sent at that time."""
        if sent_at < self._halved_at:
            return  # of a burst that is seen to
        self._pressure += 1
        if self._pressure > self._limit / REFUSED_SHARE:
            self._limit, self._pressure, self._halved_at = max(1.0, self._limit / 2), 0.0, time.monotonic()

    def wake(self) -> None:
        """Those that wait look, in the order in which they came, whether there is room."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def enter(self) -> float:
        """Wait for room; returns for how many seconds meanwhile others were still answered."""
        begun = time.monotonic()
        while self._used >= self.limit:
            await self._changed.wait()
        self._used += 1
        return max(0.0, self._answered_at - begun)

    def leave(self) -> None:
        self._used -= 1
        self.wake()

    @property
    def is_over(self) -> bool:
        """More are in flight than may be."""
        return self._used > self.limit


class Place:
    """One request's room. `waited_s`: seconds without it in which others were answered, which count as no delay."""

    def __init__(self, flow: Flow) -> None:
        self._flow, self._is_held = flow, False
        self.waited_s = 0.0

    async def __aenter__(self) -> "Place":
        await self._take()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._give()

    async def step_back(self) -> bool:
        """Wait in line again, if more are in flight than may be; returns whether that was so."""
        if not self._flow.is_over:
            return False
        self._give()
        await self._take()
        return True

    async def _take(self) -> None:
        self.waited_s += await self._flow.enter()
        self._is_held = True

    def _give(self) -> None:
        if self._is_held:
            self._is_held = False
            self._flow.leave()
