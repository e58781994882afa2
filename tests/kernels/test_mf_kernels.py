"""The compiled epochs against plain Python that follows the equations event by event."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.kernels import mf
from tastemap.kernels.mf_fold_in import mse_fold_in

N_USERS, N_ITEMS, FACTORS = 30, 20, 5
RATE, DECAY, BIAS_DECAY = np.float32(0.05), np.float32(0.02), np.float32(0.01)


@pytest.fixture
def histories() -> Histories:
    """Users from row 1 with a few distinct items each, and values around 0."""
    rng = np.random.default_rng(3)
    lists = [[]] + [rng.permutation(N_ITEMS - 1)[: rng.integers(1, 9)] + 1 for _ in range(29)]
    values = [rng.normal(size=len(row)) for row in lists]
    return Histories.from_lists(lists, values=values)


def tables(seed: int = 1) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "P": (N_USERS, FACTORS), "Q": (N_ITEMS, FACTORS), "b": (N_USERS,), "c": (N_ITEMS,)
    }  # fmt: skip
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def strata_of(h: Histories, seed: int = 0) -> mf.Strata:
    rng = np.random.default_rng(seed)
    return mf.stratify(h.rows_of_events(), h.items, h.values, N_USERS, N_ITEMS, rng)


def events_in_order(s: mf.Strata, order: NDArray[np.int64]) -> list[int]:
    """The events as one thread meets them."""
    T = len(order)
    blocks = [row * T + (row + order[step]) % T for step in range(T) for row in range(T)]
    return [e for block in blocks for e in range(s.offsets[block], s.offsets[block + 1])]


def hash_of(seed: int, event: int, attempt: int) -> int:
    """splitmix64's finalizer with Python's own integers."""
    mask = (1 << 64) - 1
    z = (seed + (event * mf.ATTEMPTS + attempt) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def negative_of(seed: int, event: int, pool: NDArray[Any], chosen: set[int]) -> int:
    for attempt in range(mf.ATTEMPTS):
        j = int(pool[((hash_of(seed, event, attempt) >> 32) * len(pool)) >> 32])
        if j not in chosen:
            return j
    return 0


def test_strata_hold_every_event_once_and_blocks_stand_apart(histories: Histories) -> None:
    s, T = strata_of(histories), mf.STRATA
    events = sorted(zip(s.users.tolist(), s.items.tolist(), s.values.tolist(), strict=True))
    h = histories
    rows = h.rows_of_events().tolist()
    assert events == sorted(zip(rows, h.items.tolist(), h.values.tolist(), strict=True))
    block = np.repeat(np.arange(T * T), np.diff(s.offsets))
    for stratum, column in ((block // T, s.users), (block % T, s.items)):
        pairs = set(zip(column.tolist(), stratum.tolist(), strict=True))
        assert len(pairs) == len(np.unique(column))
    assert sorted(s.pool.tolist()) == list(range(1, N_ITEMS))
    in_pool = {i: t for t in range(T) for i in s.pool[s.pool_offsets[t] : s.pool_offsets[t + 1]]}
    assert all(in_pool[i] == t for i, t in zip(s.items, block % T, strict=True))


def test_strata_have_about_equally_many_events() -> None:
    rng = np.random.default_rng(0)
    users = rng.integers(1, 2000, 50_000).astype(np.int32)
    items = rng.integers(1, 1000, 50_000).astype(np.int32)
    s = mf.stratify(users, items, np.zeros(50_000, np.float32), 2000, 1000, rng)
    per_user_stratum = np.diff(s.offsets).reshape(mf.STRATA, mf.STRATA).sum(axis=1)
    assert per_user_stratum.max() < 1.2 * per_user_stratum.mean()


def test_mse_epoch_follows_the_equations(histories: Histories) -> None:
    s, order = strata_of(histories), np.random.default_rng(5).permutation(mf.STRATA)
    got, expected = tables(), {name: t.astype(np.float64) for name, t in tables().items()}
    P, Q, b, c = expected.values()
    total = 0.0
    for event in events_in_order(s, order):
        u, i = s.users[event], s.items[event]
        error = s.values[event] - b[u] - c[i] - P[u] @ Q[i]
        total += error**2
        b[u], c[i] = (x + RATE * (error - BIAS_DECAY * x) for x in (b[u], c[i]))
        P[u], Q[i] = (
            P[u] + RATE * (error * Q[i] - DECAY * P[u]),
            Q[i] + RATE * (error * P[u] - DECAY * Q[i]),
        )
    loss = mf.mse_epoch(
        s.users, s.items, s.values, s.offsets, order, *got.values(), RATE, DECAY, BIAS_DECAY
    )
    assert loss == pytest.approx(total, rel=1e-4)
    for name, table in expected.items():
        np.testing.assert_allclose(got[name], table, rtol=1e-3, atol=1e-4, err_msg=name)


def test_draws_follow_the_hash() -> None:
    pool, chosen, seed = np.arange(1, 20, dtype=np.int32), np.array([2, 3, 9], np.int32), 2**63 + 7
    for event in range(500):
        expected = negative_of(seed, event, pool, {2, 3, 9})
        assert mf.draw(np.uint64(seed), event, pool, chosen) == expected


def test_negatives_are_never_chosen_and_all_others_come_up() -> None:
    pool, chosen = np.arange(1, 11, dtype=np.int32), np.array([2, 3, 9], np.int32)
    drawn = [mf.draw(np.uint64(5), e, pool, chosen) for e in range(7000)]
    counts = np.bincount(drawn, minlength=11)
    assert (counts[[2, 3, 9]] == 0).all()
    others = np.setdiff1d(pool, chosen)
    # Each comes up 1000 times but for about ±30; 0, where no draw succeeded, hardly ever.
    assert np.abs(counts[others] - 1000).max() < 150
    assert counts[0] < 10
    assert mf.draw(np.uint64(5), 0, pool, pool) == 0


def test_the_number_of_threads_changes_nothing(histories: Histories) -> None:
    def run() -> dict[str, NDArray[np.float32]]:
        s, got, order = strata_of(histories), tables(), np.arange(mf.STRATA)
        mf.mse_epoch(
            s.users, s.items, s.values, s.offsets, order, *got.values(), RATE, DECAY, BIAS_DECAY
        )
        return got

    threads, several = numba.get_num_threads(), run()
    try:
        numba.set_num_threads(1)
        alone = run()
    finally:
        numba.set_num_threads(threads)
    for name in several:
        np.testing.assert_array_equal(several[name], alone[name], err_msg=name)


def test_a_huge_rate_shows_as_not_finite(histories: Histories) -> None:
    s, t = strata_of(histories), tables()
    huge = np.float32(1e30)
    for _ in range(3):
        loss = mf.mse_epoch(
            s.users, s.items, s.values, s.offsets, np.arange(mf.STRATA), *t.values(), huge, DECAY,
            BIAS_DECAY,
        )  # fmt: skip
    assert not np.isfinite(loss)


def test_mse_fold_in_solves_the_ridge_problem(histories: Histories) -> None:
    t, h = tables(), histories
    got = mse_fold_in(h.offsets, h.items, h.values, t["Q"], t["c"], 0.04, 0.01)
    assert got.shape == (N_USERS, FACTORS + 1)
    for row in range(N_USERS):
        items = h.items_of(row)
        x = np.column_stack([t["Q"][items], np.ones(len(items))]).astype(np.float64)
        y = h.values[h.offsets[row] : h.offsets[row + 1]] - t["c"][items]
        penalties = len(items) * np.diag([0.04] * FACTORS + [0.01])
        expected = np.linalg.pinv(x.T @ x + penalties) @ x.T @ y
        np.testing.assert_allclose(got[row], expected, rtol=1e-3, atol=1e-4)


def test_fold_in_passes_over_the_unknown_and_the_rest_of_the_batch() -> None:
    t = tables()

    def fold_in(lists: list[list[int]]) -> Any:
        h = Histories.from_lists(lists)
        return mse_fold_in(h.offsets, h.items, h.values, t["Q"], t["c"], 0.04, 0.01)

    alone = fold_in([[3, 9, 4]])
    among = fold_in([[5], [0, 3, 9, 0, 4], [], [0], list(range(1, N_ITEMS))])
    np.testing.assert_array_equal(among[1], alone[0])
    assert not among[[2, 3]].any()
