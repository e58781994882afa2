"""Questions that arrive one by one, answered in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Batcher"]

Q = TypeVar("Q")
A = TypeVar("A")


class Batcher(Generic[Q, A]):
    """Hands all questions that wait to one function, on one thread of its own.

    While a batch is worked on, the next one gathers: a lone question waits for nothing, and a
    thousand at once cost little more than one. Since there is one thread, the function need not
    be thread-safe.

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
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._work: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """The answer to one question. To be called from one event loop only."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            if (early := self._next - loop.time()) > 0:
                await asyncio.sleep(early)
            self._next = loop.time() + self._pace
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            questions = [question for question, _ in batch]
            results: list[A | Exception]
            try:
                results = await loop.run_in_executor(self._thread, self._answer, questions)
            except Exception as error:
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue  # whoever asked has gone away
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def close(self) -> None:
        """Waits for the batch at work and ends the thread."""
        self._thread.shutdown()
