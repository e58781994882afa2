"""Questions that arrive one by one, answered in batches."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

__all__ = ["Batcher"]

Q = TypeVar("Q")
A = TypeVar("A")


class Batcher(Generic[Q, A]):
    """Hands all questions that wait to one function, on one thread of its own.

    While a batch is worked on, the next one gathers: a lone question waits for nothing, and a
    thousand at once cost little more than one. Since there is one thread, the function need not
    be thread-safe.

    A batch goes to the thread by one queue and comes back by one callback of the event loop: an
    executor with its futures would cost as much as a third of a short answer.

    Args:
        answer: gives for each question of a list an answer, or the exception to raise for it.
        limit: questions in a batch at most.
        pace: seconds from the beginning of a batch to that of the next at least, so that where many
            ask, more of them share what a batch costs.
    """

    def __init__(
        self,
        name: str,
        answer: Callable[[list[Q]], list[A | Exception]],
        *,
        limit: int,
        pace: float = 0.0,
    ) -> None:
        self._answer = answer
        self._limit = limit
        self._pace = pace
        self._next = 0.0
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._gathering = False  # whether a batch is at work or about to begin
        self._closed = False
        self._work: queue.SimpleQueue[_Batch[Q, A] | None] = queue.SimpleQueue()
        # A daemon, since the process must be able to end while one hangs.
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    async def ask(self, question: Q) -> A:
        """The answer to one question. To be called from one event loop only.

        Raises:
            RuntimeError: it is closed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A] = loop.create_future()
        self._waiting.append((question, future))
        if not self._gathering:
            self._gathering = True
            self._gather(loop)
        return await future

    def _gather(self, loop: asyncio.AbstractEventLoop) -> None:
        """Has the next batch begin when its time has come, and with all that is asked at once."""
        if self._next > loop.time():
            loop.call_at(self._next, self._begin, loop)
        else:
            loop.call_soon(self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._next = loop.time() + self._pace
        batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
        if self._closed:
            self._end(loop, batch, [RuntimeError("nobody answers any more")] * len(batch))
        else:
            self._work.put((loop, batch))

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            loop, batch = work
            results: list[A | Exception]
            try:
                results = self._answer([question for question, _ in batch])
            except Exception as error:
                results = [error] * len(batch)
            # A loop that is closed has nobody waiting.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._end, loop, batch, results)
            del work, batch, results

    def _end(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[tuple[Q, asyncio.Future[A]]],
        results: list[A | Exception],
    ) -> None:
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue  # whoever asked has gone away
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        self._gathering = bool(self._waiting)
        if self._gathering:
            self._gather(loop)

    def close(self) -> None:
        """Waits for the batch at work and ends the thread."""
        self._closed = True
        self._work.put(None)
        self._thread.join()


_Batch = tuple[asyncio.AbstractEventLoop, list[tuple[Q, asyncio.Future[A]]]]
