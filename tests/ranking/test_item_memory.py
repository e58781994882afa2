"""What a ranker remembers of items is what it would make of them anew."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import tastemap as tm
from tastemap.data.candidates import Candidates
from tastemap.features.block import Block
from tastemap.features.item_features import ItemFeatures
from tastemap.ranking.parts.item_memory import ItemMemory
from tests.features.generated import dataset, events

SIZE, ROOM = 12, 7
KINDS = ((1, np.float32), (3, np.int16))


class Asking:
    """Asks for features that are the item's number, and what goes by the state, and counts how many
    rows are made."""

    def __init__(self, memory: ItemMemory) -> None:
        self.memory = memory
        self.made = 0

    def features(
        self, items: list[int], state: tuple[object, ...], worth: float, others: int = 0
    ) -> ItemFeatures:
        """The last `others` items are not current, and worth a thousand more."""
        rows = np.array(items, np.int32)
        current = np.arange(len(rows)) < len(rows) - others
        numbers = (rows + worth + 1000 * ~current).astype(np.float32)[:, None]

        def make(places: NDArray[np.int64]) -> Block:
            return Block((), len(places), numeric=numbers[places])

        return ItemFeatures(rows, SIZE, current, state, make)

    def make(self, block: Block) -> list[NDArray[np.float32]]:
        self.made += len(block.numeric)
        return [block.numeric, np.repeat(block.numeric * 2, 3, 1)]

    def check(self, asked: ItemFeatures) -> int:
        """How many rows were made anew, if all of them are right."""
        before = self.made
        with self.memory.of(asked, self.make) as (places, (one, other)):
            np.testing.assert_array_equal(one[places], asked.block.numeric)
            np.testing.assert_array_equal(other[places, 2], 2 * asked.block.numeric[:, 0])
        return self.made - before


lists = st.lists(st.integers(0, SIZE - 1), unique=True, max_size=SIZE)


@given(st.lists(st.tuples(lists, st.integers(0, 2), st.integers(0, 4)), max_size=30))
def test_whatever_is_asked_in_whichever_state_is_answered_as_if_it_were_made_anew(
    requests: list[tuple[list[int], int, int]],
) -> None:
    states = [object() for _ in range(3)]
    asking = Asking(ItemMemory(KINDS, ROOM))
    for items, state, others in requests:
        asking.check(asking.features(items, (states[state],), 50.0 * state, others))


def test_only_what_is_new_is_made() -> None:
    asking, state = Asking(ItemMemory(KINDS, ROOM)), (object(), object())
    assert asking.check(asking.features([1, 5, 3], state, 0.0)) == 3
    assert asking.check(asking.features([3, 2, 1], state, 0.0)) == 1
    assert asking.check(asking.features([3, 5, 2], state, 0.0)) == 0
    # Who asks at another moment does not find what is known of now, and leaves nothing behind.
    assert asking.check(asking.features([1, 3, 2], state, 0.0, others=1)) == 1
    assert asking.check(asking.features([1, 3, 2], state, 0.0)) == 0
    # There is no room for those, and so all are forgotten.
    assert asking.check(asking.features([1, 6, 7, 8, 9], state, 0.0)) == 5
    assert asking.check(asking.features([6, 1, 2], state, 0.0)) == 1
    assert asking.check(asking.features([6, 1, 2], (state[0], object()), 9.0)) == 3
    assert asking.check(asking.features(list(range(ROOM + 1)), state, 0.0)) == ROOM + 1


def test_who_comes_while_another_is_there_is_not_held_up() -> None:
    asking, state = Asking(ItemMemory(KINDS, ROOM)), (object(),)
    asked = asking.features([4, 2], state, 0.0)
    with asking.memory.of(asked, asking.make):
        assert asking.check(asked) == 2
    assert asking.check(asked) == 0
    apart = Asking(copy.deepcopy(asking.memory))
    assert apart.check(asked) == 2


def test_a_ranker_sees_at_once_what_is_counted_of_items() -> None:
    data = dataset(events(0))
    features = tm.PointInTime().fit(data, ())
    items = np.arange(1, 9, dtype=np.int32)
    proposed = Candidates.without_sources(np.array([0, 8]), items)
    rows = features.of(data.queries(np.array([2])), proposed)
    ranker = tm.DCNv2(dim=4, hidden=8, epochs=30, learning_rate=0.05)
    ranker.fit_batch(rows, np.arange(8) % 3 == 0, run=tm.Run(device="cpu", progress=False))

    def scores() -> NDArray[np.float32]:
        asked = features.apart(data.queries(np.array([3])), proposed)
        found = ranker.score_requests(asked)
        # Of features that nobody remembers.
        anew = replace(asked, items=ItemFeatures.of(asked.items.block))
        np.testing.assert_allclose(found, ranker.score_requests(anew), atol=1e-6)
        return found

    before = scores()
    np.testing.assert_array_equal(scores(), before)
    taken = np.full(500, 5, np.int32)
    features.add(taken, np.full(500, 60 * 86_400.0), np.ones(500, np.float32))
    assert np.abs(scores() - before).max() > 1e-3
