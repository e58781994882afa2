"""Pairs of neighbours, draws by popularity, and the steps of item2vec, against plain Python."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.kernels.blocks import STRATA
from tastemap.kernels.item2vec import (
    ItemStrata,
    Pairs,
    alias_tables,
    cut_items,
    draw_by_chance,
    pairs_in_blocks,
    sgns_epoch,
    sigmoid,
)

N_ITEMS, FACTORS, NEGATIVES, SEED = 60, 5, 4, np.uint64(2**63 + 7)
RATE = np.float32(0.1)
ORDER = np.random.default_rng(5).permutation(STRATA)


@pytest.fixture
def histories() -> Histories:
    rng = np.random.default_rng(3)
    return Histories.from_lists([rng.integers(1, N_ITEMS, rng.integers(0, 25)) for _ in range(40)])


def strata(seed: int, weights: NDArray[Any] | None = None) -> ItemStrata:
    weights = np.ones(N_ITEMS) if weights is None else weights
    return cut_items(weights, np.random.default_rng(seed))


def pairs_of(
    h: Histories, window: int = 3, keep: Any = None, shuffled: bool = False, seed: Any = SEED
) -> Pairs:
    keep = np.ones(N_ITEMS) if keep is None else keep
    sequences = np.random.default_rng(1).permutation(len(h))
    return Pairs(
        *pairs_in_blocks(
            sequences, h.offsets, h.items, keep, window, shuffled, strata(1).stratum,
            strata(2).stratum, STRATA, np.uint64(seed),
        )
    )  # fmt: skip


def counted(inputs: Any, outputs: Any) -> dict[tuple[int, int], int]:
    pairs, counts = np.unique(np.column_stack([inputs, outputs]), axis=0, return_counts=True)
    return {(int(i), int(o)): int(n) for (i, o), n in zip(pairs, counts, strict=True)}


def neighbours(lists: list[Any], reach: int) -> dict[tuple[int, int], int]:
    """The pairs of events that lie at most `reach` apart."""
    found = [
        (int(items[n]), int(items[m]))
        for items in lists
        for m in range(len(items))
        for n in range(max(m - reach, 0), min(m + reach + 1, len(items)))
        if n != m
    ]
    return counted(*zip(*found, strict=True))


def test_a_window_of_one_pairs_the_next_ones(histories: Histories) -> None:
    pairs = pairs_of(histories, window=1)
    lists = [histories.items_of(row) for row in range(len(histories))]
    assert counted(pairs.inputs, pairs.outputs) == neighbours(lists, 1)


def test_windows_shrink_at_random() -> None:
    """b is uniform from 1 to the window: pairs d apart come with (window - d + 1) / window."""
    window, n = 4, 20_000
    h = Histories.from_lists([np.arange(1, N_ITEMS)] * (n // (N_ITEMS - 1)))
    pairs = pairs_of(h, window)
    apart = np.bincount(np.abs(pairs.inputs.astype(int) - pairs.outputs))
    assert len(apart) == window + 1
    for d in range(1, window + 1):
        possible = 2 * len(h) * (N_ITEMS - 1 - d)
        assert apart[d] / possible == pytest.approx((window - d + 1) / window, abs=0.02)


def test_pairs_stand_in_their_blocks(histories: Histories) -> None:
    pairs = pairs_of(histories)
    block = np.repeat(np.arange(STRATA**2), np.diff(pairs.offsets))
    np.testing.assert_array_equal(strata(1).stratum[pairs.inputs], block // STRATA)
    np.testing.assert_array_equal(strata(2).stratum[pairs.outputs], block % STRATA)


@pytest.mark.parametrize("shuffled", [False, True])
def test_what_is_left_out_brings_others_together(shuffled: bool) -> None:
    """Every second item always goes; so the others are neighbours."""
    keep = np.where(np.arange(N_ITEMS) % 2 == 0, 0.0, 1.0)
    pairs = pairs_of(Histories.from_lists([np.arange(1, N_ITEMS)]), 1, keep, shuffled)
    assert (pairs.inputs % 2 == 1).all() and (pairs.outputs % 2 == 1).all()
    assert len(pairs.inputs) == 2 * (N_ITEMS // 2 - 1)
    assert (np.abs(pairs.inputs - pairs.outputs) == 2).all() == (not shuffled)


def test_events_are_kept_with_their_probability() -> None:
    keep = np.linspace(0, 1, N_ITEMS)
    n = 4000
    # Two events of an item a history: both are kept with the square of its probability.
    h = Histories.from_lists([[1 + row % (N_ITEMS - 1)] * 2 for row in range(n * (N_ITEMS - 1))])
    pairs = pairs_of(h, 1, keep)
    share = np.bincount(pairs.inputs, minlength=N_ITEMS)[1:] / (2 * n)
    deviation = np.sqrt(keep[1:] ** 2 * (1 - keep[1:] ** 2) / n)
    assert (np.abs(share - keep[1:] ** 2) <= 4.5 * deviation + 1e-12).all()


def test_a_shuffled_history_pairs_everything_alike() -> None:
    n = 6
    h = Histories.from_lists([np.arange(1, n + 1)] * 20_000)
    pairs = pairs_of(h, 2, shuffled=True)
    counts = np.zeros((n + 1, n + 1))
    np.add.at(counts, (pairs.inputs, pairs.outputs), 1)
    off = counts[1:, 1:][~np.eye(n, dtype=bool)]
    assert (np.diag(counts) == 0).all()
    assert off.std() / off.mean() < 0.02


def test_the_seed_decides(histories: Histories) -> None:
    first, again, other = (pairs_of(histories, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.inputs, again.inputs)
    assert counted(*first[:2]) != counted(*other[:2])


def test_strata_hold_every_item_once_and_weigh_alike() -> None:
    weights = np.random.default_rng(0).uniform(0, 2, 5000)
    cut = strata(4, weights)
    assert sorted(cut.pool.tolist()) == list(range(1, 5000))
    of_pool = np.repeat(np.arange(STRATA), np.diff(cut.offsets))
    np.testing.assert_array_equal(cut.stratum[cut.pool], of_pool)
    totals = np.bincount(of_pool, weights[cut.pool])
    assert totals.max() < 1.01 * totals.mean()


@pytest.mark.parametrize("n_items", [2, 3, 60])
def test_items_are_drawn_by_their_weight(n_items: int) -> None:
    weights = np.random.default_rng(0).pareto(1, n_items)
    weights[0], weights[-1] = 0, 0
    cut = cut_items(weights, np.random.default_rng(1))
    chance, other = alias_tables(weights, cut.pool, cut.offsets)
    n = 100_000
    for t in range(STRATA):
        start, stop = cut.offsets[t], cut.offsets[t + 1]
        if start == stop:
            continue
        drawn = _drawn(n, start, stop, cut.pool, chance, other)
        share = np.bincount(drawn, minlength=n_items)[cut.pool[start:stop]] / n
        expected = weights[cut.pool[start:stop]]
        total = expected.sum()
        expected = expected / total if total > 0 else np.full(stop - start, 1 / (stop - start))
        assert (np.abs(share - expected) <= 4.5 * np.sqrt(expected / n)).all()


@numba.njit
def _drawn(n: Any, start: Any, stop: Any, pool: Any, chance: Any, other: Any) -> Any:
    drawn = np.empty(n, np.int32)
    for number in range(n):
        drawn[number] = draw_by_chance(np.uint64(3), number, start, stop, pool, chance, other)
    return drawn


def test_sigmoid_is_exact_enough() -> None:
    x = np.linspace(-30, 30, 20_001).astype(np.float32)
    got = np.array([sigmoid(value) for value in x])
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-x.astype(np.float64))), atol=2.5e-7)
    assert got.min() > 0
    assert np.isnan(sigmoid(np.float32(np.nan)))


def tables() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(1)
    U, V = (rng.normal(size=(N_ITEMS, FACTORS)).astype(np.float32) for _ in range(2))
    return U, V


def run(h: Histories) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    (U, V), cut = tables(), strata(2)
    weights = np.bincount(h.items, minlength=N_ITEMS) ** 0.75
    chance, other = alias_tables(weights, cut.pool, cut.offsets)
    loss = sgns_epoch(
        *pairs_of(h), cut.pool, cut.offsets, chance, other, ORDER, U, V, RATE, NEGATIVES, SEED
    )
    return U, V, loss


def test_an_epoch_follows_the_equations(histories: Histories) -> None:
    pairs, cut = pairs_of(histories), strata(2)
    weights = np.bincount(histories.items, minlength=N_ITEMS) ** 0.75
    chance, other = alias_tables(weights, cut.pool, cut.offsets)
    U, V = (table.astype(np.float64) for table in tables())
    total, left_out = 0.0, 0
    for step in range(STRATA):
        for s in range(STRATA):
            t = (s + ORDER[step]) % STRATA
            start, stop = cut.offsets[t : t + 2]
            first, last = pairs.offsets[s * STRATA + t : s * STRATA + t + 2]
            for start_of_group in range(first, last, 8):
                group = slice(start_of_group, min(start_of_group + 8, last))
                numbers = range(start_of_group * NEGATIVES, (start_of_group + 1) * NEGATIVES)
                drawn = [
                    int(draw_by_chance(SEED, n, start, stop, cut.pool, chance, other))
                    for n in numbers
                ]
                # All pairs of a group step from where all of them stood.
                old_U, old_V = U.copy(), V.copy()
                for i, o in zip(pairs.inputs[group], pairs.outputs[group], strict=True):
                    left_out += drawn.count(o)
                    rows = [o, *(j for j in drawn if j != o)]
                    sign = np.array([1.0] + [-1.0] * (len(rows) - 1))
                    right = 1 / (1 + np.exp(-sign * (old_V[rows] @ old_U[i])))
                    total -= np.log(right).sum()
                    for j, push in zip(rows, RATE * sign * (1 - right), strict=True):
                        U[i] += push * old_V[j]
                        V[j] += push * old_U[i]
    got_U, got_V, loss = run(histories)
    assert left_out > 10
    assert loss == pytest.approx(total, rel=1e-4)
    np.testing.assert_allclose(got_U, U, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(got_V, V, rtol=1e-3, atol=1e-4)


def test_a_diverging_run_shows_as_such(histories: Histories) -> None:
    (U, V), cut = tables(), strata(2)
    V[:] = np.nan
    chance, other = alias_tables(np.ones(N_ITEMS), cut.pool, cut.offsets)
    arguments = (cut.pool, cut.offsets, chance, other, ORDER, U, V, RATE, NEGATIVES, SEED)
    assert np.isnan(sgns_epoch(*pairs_of(histories), *arguments))


def test_the_number_of_threads_changes_nothing(histories: Histories) -> None:
    def everything() -> list[NDArray[Any]]:
        return [*run(histories)[:2], *pairs_of(histories), *pairs_of(histories, shuffled=True)]

    threads, several = numba.get_num_threads(), everything()
    try:
        numba.set_num_threads(1)
        alone = everything()
    finally:
        numba.set_num_threads(threads)
    for first, second in zip(several, alone, strict=True):
        np.testing.assert_array_equal(first, second)
