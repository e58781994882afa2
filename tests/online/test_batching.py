"""Questions one by one, answered in batches."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from tastemap.online.batching import Batcher


def test_what_waits_is_answered_together_and_each_gets_its_own() -> None:
    sizes: list[int] = []
    threads: set[int] = set()
    first_is_in, may_go_on = threading.Event(), threading.Event()

    def double(questions: list[int]) -> list[int | Exception]:
        sizes.append(len(questions))
        threads.add(threading.get_ident())
        first_is_in.set()
        assert may_go_on.wait(10)
        return [ValueError(f"odd: {q}") if q % 2 else 2 * q for q in questions]

    async def main() -> list[int | BaseException]:
        batcher = Batcher("test", double, limit=50)
        asked = [asyncio.create_task(batcher.ask(0))]
        await asyncio.to_thread(first_is_in.wait, 10)
        asked += [asyncio.create_task(batcher.ask(q)) for q in range(1, 121)]
        gone = asyncio.create_task(batcher.ask(500))
        await asyncio.sleep(0)
        gone.cancel()
        may_go_on.set()
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert await batcher.ask(10) == 20
        batcher.close()
        return results

    results = asyncio.run(main())
    for question, result in enumerate(results):
        if question % 2:
            assert isinstance(result, ValueError)
            assert str(result) == f"odd: {question}"
        else:
            assert result == 2 * question
    assert sizes == [1, 50, 50, 21, 1]  # 120 and the one that went away
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_batches_keep_their_pace_and_a_lone_question_does_not_wait() -> None:
    began: list[float] = []
    sizes: list[int] = []

    def echo(questions: list[int]) -> list[int | Exception]:
        began.append(time.monotonic())
        sizes.append(len(questions))
        return list(questions)

    async def main() -> float:
        batcher: Batcher[int, int] = Batcher("test", echo, limit=50, pace=0.5)
        asked = time.monotonic()
        await batcher.ask(0)
        alone = time.monotonic() - asked
        await asyncio.gather(*(batcher.ask(n) for n in range(20)))
        batcher.close()
        return alone

    assert asyncio.run(main()) < 0.4
    assert sizes == [1, 20]
    assert 0.45 < began[1] - began[0] < 5


def test_a_failing_batch_fails_its_own_askers_only() -> None:
    def divide(questions: list[int]) -> list[float | Exception]:
        return [1 / question for question in questions]

    async def main() -> None:
        batcher = Batcher("test", divide, limit=1)
        results = await asyncio.gather(batcher.ask(0), batcher.ask(2), return_exceptions=True)
        assert isinstance(results[0], ZeroDivisionError)
        assert results[1] == 0.5
        batcher.close()

    asyncio.run(main())


def test_a_closed_batcher_refuses() -> None:
    async def main() -> None:
        batcher: Batcher[int, int] = Batcher("test", lambda questions: list(questions), limit=1)
        batcher.close()
        with pytest.raises(RuntimeError):
            await asyncio.wait_for(batcher.ask(1), 10)

    asyncio.run(main())
