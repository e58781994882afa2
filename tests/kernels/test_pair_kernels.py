"""Blocks, and the compiled epochs of BPR, WARP and logistic MF, against plain Python and torch."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.kernels import mf
from tastemap.kernels.blocks import (
    STRATA,
    Blocks,
    cut_into_blocks,
    sorted_within_rows,
    user_strata,
)
from tastemap.kernels.bpr import bpr_epoch, bpr_fold_in
from tastemap.kernels.logistic_mf import logistic_step, logistic_step_torch
from tastemap.kernels.warp import warp_epoch, warp_fold_in

N_USERS, N_ITEMS, FACTORS, SEED = 30, 40, 5, 2**63 + 7
RATE, DECAY, BIAS_DECAY = np.float32(0.05), np.float32(0.02), np.float32(0.01)
Tables = dict[str, NDArray[Any]]


@pytest.fixture
def histories() -> Histories:
    """Users from row 1 with a few distinct items each, one of them unknown."""
    rng = np.random.default_rng(3)
    lists = [[]] + [rng.permutation(N_ITEMS - 1)[: rng.integers(1, 9)] + 1 for _ in range(29)]
    lists[4] = np.append(lists[4], 0)
    return Histories.from_lists(lists)


def tables(seed: int = 1) -> Tables:
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "P": (N_USERS, FACTORS), "Q": (N_ITEMS, FACTORS), "c": (N_ITEMS,)
    }  # fmt: skip
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def in_double(found: Tables) -> Tables:
    return {name: table.astype(np.float64) for name, table in found.items()}


def blocks_of(h: Histories, seed: int = 0) -> Blocks:
    counts = np.bincount(h.items, minlength=N_ITEMS)
    bounds = user_strata(h.offsets)
    return cut_into_blocks(h.offsets, h.items, bounds, counts, np.random.default_rng(seed))


ORDER = np.random.default_rng(5).permutation(STRATA)


def events_in_order(b: Blocks) -> list[int]:
    """The events as one thread meets them."""
    blocks = [row * STRATA + (row + ORDER[step]) % STRATA for step in range(STRATA)
              for row in range(STRATA)]  # fmt: skip
    return [e for block in blocks for e in range(b.offsets[block], b.offsets[block + 1])]


def pool_of(b: Blocks, event: int) -> NDArray[np.int32]:
    t = int(np.searchsorted(b.offsets, event, side="right") - 1) % STRATA
    return b.pool[b.pool_offsets[t] : b.pool_offsets[t + 1]]


def drawn(number: int, pool: NDArray[np.int32], own: NDArray[np.int32], seed: int = SEED) -> int:
    return int(mf.draw(np.uint64(seed), number, pool, np.sort(own)))


def test_blocks_hold_every_known_event_once_and_stand_apart(histories: Histories) -> None:
    b, h = blocks_of(histories), histories
    known = h.items > 0
    assert sorted(zip(b.users.tolist(), b.items.tolist(), strict=True)) == sorted(
        zip(h.rows_of_events()[known].tolist(), h.items[known].tolist(), strict=True)
    )
    block = np.repeat(np.arange(STRATA**2), np.diff(b.offsets))
    for stratum, column in ((block // STRATA, b.users), (block % STRATA, b.items)):
        pairs = set(zip(column.tolist(), stratum.tolist(), strict=True))
        assert len(pairs) == len(np.unique(column))
    assert sorted(b.pool.tolist()) == list(range(1, N_ITEMS))
    assert b.pool_offsets[0] == 0 and b.pool_offsets[-1] == N_ITEMS - 1
    assert all(i in pool_of(b, event) for event, i in enumerate(b.items))


def test_blocks_have_about_equally_many_events() -> None:
    rng = np.random.default_rng(0)
    lists = [rng.integers(1, 1000, n) for n in rng.integers(0, 60, 2000)]
    h = Histories.from_lists(lists)
    counts = np.bincount(h.items, minlength=1000)
    b = cut_into_blocks(h.offsets, h.items, user_strata(h.offsets), counts, rng)
    sizes = np.diff(b.offsets)
    assert sizes.max() < 1.4 * sizes.mean() and sizes.min() > 0.6 * sizes.mean()


def test_strata_are_drawn_anew(histories: Histories) -> None:
    first, again, other = (blocks_of(histories, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.pool, again.pool)
    assert (first.pool != other.pool).any()


def test_one_user_and_one_item_can_be_cut() -> None:
    h = Histories.from_lists([[], [1]])
    b = cut_into_blocks(
        h.offsets, h.items, user_strata(h.offsets), np.array([0, 1]), np.random.default_rng(0)
    )
    assert b.users.tolist() == [1] and b.items.tolist() == [1] and b.pool.tolist() == [1]


def test_rows_are_sorted_in_a_copy() -> None:
    h = Histories.from_lists([[3, 1, 2], [], [9, 9, 4]])
    assert sorted_within_rows(h.offsets, h.items).tolist() == [1, 2, 3, 4, 9, 9]
    assert h.items.tolist() == [3, 1, 2, 9, 9, 4]


def run_bpr(h: Histories, candidates: int) -> tuple[Tables, float, int]:
    got, chosen = tables(), sorted_within_rows(h.offsets, h.items)
    loss, count = bpr_epoch(
        *blocks_of(h), ORDER, h.offsets, chosen, *got.values(), RATE, DECAY, BIAS_DECAY,
        candidates, np.uint64(SEED),
    )  # fmt: skip
    return got, loss, count


@pytest.mark.parametrize("candidates", [1, 4])
def test_bpr_epoch_follows_the_equations(histories: Histories, candidates: int) -> None:
    b, expected = blocks_of(histories), in_double(tables())
    P, Q, c = expected.values()
    total, count = 0.0, 0
    for event in events_in_order(b):
        u, i = b.users[event], b.items[event]
        pool, own = pool_of(b, event), histories.items_of(u)
        found = [drawn(event * candidates + n, pool, own) for n in range(candidates)]
        found = [j for j in found if j > 0]
        if not found:
            continue
        j = max(found, key=lambda j: c[j] + P[u] @ Q[j])
        x = c[i] - c[j] + P[u] @ (Q[i] - Q[j])
        g = 1 / (1 + np.exp(x))
        total, count = total + np.log1p(np.exp(-x)), count + 1
        c[i] += RATE * (g - BIAS_DECAY * c[i])
        c[j] += RATE * (-g - BIAS_DECAY * c[j])
        P[u], Q[i], Q[j] = (
            P[u] + RATE * (g * (Q[i] - Q[j]) - DECAY * P[u]),
            Q[i] + RATE * (g * P[u] - DECAY * Q[i]),
            Q[j] + RATE * (-g * P[u] - DECAY * Q[j]),
        )
    got, loss, n = run_bpr(histories, candidates)
    assert n == count > 20
    assert loss == pytest.approx(total, rel=1e-4)
    for name, table in expected.items():
        np.testing.assert_allclose(got[name], table, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("candidates", [1, 3])
def test_bpr_fold_in_follows_the_equations(histories: Histories, candidates: int) -> None:
    t, epochs, seed = tables(), 4, 11
    h = histories.slice(0, 4)
    got = bpr_fold_in(
        h.offsets, h.items, t["Q"], t["c"], RATE, DECAY, candidates, epochs, np.uint64(seed)
    )
    Q, c = t["Q"].astype(np.float64), t["c"]
    pool = np.arange(1, N_ITEMS, dtype=np.int32)
    for row in range(4):
        p, history = np.zeros(FACTORS), h.items_of(row)
        for epoch in range(epochs):
            step = RATE * (1 - epoch / epochs)
            for event, i in enumerate(history):
                number = (epoch * len(history) + event) * candidates
                found = [drawn(number + n, pool, history, seed) for n in range(candidates)]
                j = max(found, key=lambda j: c[j] + p @ Q[j])
                x = c[i] - c[j] + p @ (Q[i] - Q[j])
                p = p + step * (1 / (1 + np.exp(x)) * (Q[i] - Q[j]) - DECAY * p)
        np.testing.assert_allclose(got[row], p, rtol=1e-3, atol=1e-4)


WEIGHTS = np.array([0.0, 3.0, 2.5, 2.0, 1.5, 1.0], np.float32)


def run_warp(h: Histories, adapt: float) -> tuple[Tables, float, int]:
    got, chosen = tables(), sorted_within_rows(h.offsets, h.items)
    sums = {name: np.ones(len(got[name[1:]]), np.float32) for name in ("GP", "GQ", "Gc")}
    loss, count = warp_epoch(
        *blocks_of(h), ORDER, h.offsets, chosen, *got.values(), *sums.values(), WEIGHTS, RATE,
        DECAY, BIAS_DECAY, np.float32(adapt), np.uint64(SEED),
    )  # fmt: skip
    return {**got, **sums}, loss, count


def violator(
    number: int, pool: NDArray[np.int32], own: NDArray[np.int32], scores: NDArray[Any], i: int,
    seed: int = SEED,
) -> tuple[int, int]:  # fmt: skip
    trials = len(WEIGHTS) - 1
    for trial in range(trials):
        j = drawn(number * trials + trial, pool, own, seed)
        if j and scores[j] > scores[i] - 1:
            return j, trial + 1
    return 0, 0


@pytest.mark.parametrize("adapt", [0.0, 1.0])
def test_warp_epoch_follows_the_equations(histories: Histories, adapt: float) -> None:
    b, expected = blocks_of(histories), in_double(tables())
    P, Q, c = expected.values()
    GP, GQ, Gc = np.ones(N_USERS), np.ones(N_ITEMS), np.ones(N_ITEMS)
    total, later = 0.0, 0
    for event in events_in_order(b):
        u, i = b.users[event], b.items[event]
        scores = Q @ P[u] + c
        j, trial = violator(event, pool_of(b, event), histories.items_of(u), scores, i)
        if trial == 0:
            continue
        w = WEIGHTS[trial]
        later += trial > 1
        total += w * (1 - scores[i] + scores[j])
        GP[u] += adapt * w**2 * ((Q[i] - Q[j]) ** 2).mean()
        for item in (i, j):
            GQ[item] += adapt * w**2 * (P[u] ** 2).mean()
            Gc[item] += adapt * w**2
        c[i] += RATE / np.sqrt(Gc[i]) * (w - BIAS_DECAY * c[i])
        c[j] += RATE / np.sqrt(Gc[j]) * (-w - BIAS_DECAY * c[j])
        P[u], Q[i], Q[j] = (
            P[u] + RATE / np.sqrt(GP[u]) * (w * (Q[i] - Q[j]) - DECAY * P[u]),
            Q[i] + RATE / np.sqrt(GQ[i]) * (w * P[u] - DECAY * Q[i]),
            Q[j] + RATE / np.sqrt(GQ[j]) * (-w * P[u] - DECAY * Q[j]),
        )
    got, loss, _ = run_warp(histories, adapt)
    assert later > 5
    assert loss == pytest.approx(total, rel=1e-3)
    for name, table in {**expected, "GP": GP, "GQ": GQ, "Gc": Gc}.items():
        np.testing.assert_allclose(got[name], table, rtol=1e-3, atol=1e-3, err_msg=name)


def test_warp_fold_in_follows_the_equations(histories: Histories) -> None:
    t, epochs, seed = tables(), 3, 11
    h = histories.slice(0, 4)
    got = warp_fold_in(
        h.offsets, h.items, t["Q"], t["c"], WEIGHTS, RATE, DECAY, np.float32(1), epochs,
        np.uint64(seed),
    )  # fmt: skip
    Q, c = t["Q"].astype(np.float64), t["c"]
    pool = np.arange(1, N_ITEMS, dtype=np.int32)
    for row in range(4):
        p, G, history = np.zeros(FACTORS), 1.0, h.items_of(row)
        for epoch in range(epochs):
            for event, i in enumerate(history):
                number = epoch * len(history) + event
                j, trial = violator(number, pool, history, Q @ p + c, i, seed)
                if trial == 0:
                    continue
                w = WEIGHTS[trial]
                G += w**2 * ((Q[i] - Q[j]) ** 2).mean()
                a = RATE * (1 - epoch / epochs) / np.sqrt(G)
                p = p + a * (w * (Q[i] - Q[j]) - DECAY * p)
        np.testing.assert_allclose(got[row], p, rtol=1e-3, atol=1e-4)


def test_fold_in_does_not_look_at_the_rest_of_the_batch() -> None:
    t, seed = tables(), np.uint64(0)

    def fold_in(lists: list[list[int]]) -> list[Any]:
        h = Histories.from_lists(lists)
        return [
            bpr_fold_in(h.offsets, h.items, t["Q"], t["c"], RATE, DECAY, 3, 3, seed),
            warp_fold_in(
                h.offsets, h.items, t["Q"], t["c"], WEIGHTS, RATE, DECAY, np.float32(1), 3, seed
            ),
        ]

    everything = list(range(1, N_ITEMS))
    for alone, among in zip(
        fold_in([[3, 9, 4]]), fold_in([[5], [3, 9, 4], [], everything]), strict=True
    ):
        np.testing.assert_array_equal(among[1], alone[0])
        assert alone.any()
        assert not among[[2, 3]].any()


def logistic_sides(seed: int = 4) -> tuple[Histories, list[NDArray[Any]]]:
    rng = np.random.default_rng(seed)
    h = Histories.from_lists([rng.permutation(15)[:n] for n in rng.integers(0, 6, 9)])
    shapes = ((9, 4), (9,), (15, 4), (15,), (9, 4), (9,))
    X, b, Y, c, GX, Gb = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return h, [X, b, Y, c, GX**2, Gb**2]


def log_posterior(
    h: Histories, w: NDArray[Any], X: torch.Tensor, b: torch.Tensor, Y: Any, c: Any
) -> torch.Tensor:
    """Johnson 2014, equation 4, without the prior."""
    weights = torch.zeros(9, 15, dtype=torch.float64)
    weights[h.rows_of_events(), h.items] = torch.from_numpy(w).double()
    x = X @ torch.from_numpy(Y).double().T + b[:, None] + torch.from_numpy(c).double()
    return (weights * x - (1 + weights) * torch.nn.functional.softplus(x)).sum()


@pytest.mark.parametrize("path", ["kernel", "torch"])
def test_logistic_step_goes_along_the_gradient(path: str) -> None:
    h, (X, b, Y, c, GX, Gb) = logistic_sides()
    w = np.random.default_rng(2).uniform(0.5, 4, h.n_events).astype(np.float32)
    x, bias = (torch.from_numpy(a).double().requires_grad_() for a in (X, b))
    likelihood = log_posterior(h, w, x, bias, Y, c)
    (likelihood - 0.7 / 2 * x.square().sum()).backward()
    assert x.grad is not None and bias.grad is not None
    expected = []
    for value, total, gradient in ((X, GX, x.grad.numpy()), (b, Gb, bias.grad.numpy())):
        total = total + gradient**2
        expected += [value + 0.3 * gradient / np.sqrt(total), total]
    if path == "kernel":
        rates = np.float32(0.3), np.float32(0.7)
        got = logistic_step(h.offsets, h.items, w, X, b, Y, c, GX, Gb, *rates)
    else:
        rows = torch.from_numpy(h.rows_of_events().astype(np.int64))
        columns = torch.from_numpy(h.items.astype(np.int64))
        tensors = [torch.from_numpy(a) for a in (w, X, b, Y, c, GX, Gb)]
        got = logistic_step_torch(rows, columns, *tensors, 0.3, 0.7)
    assert got == pytest.approx(likelihood.item(), rel=1e-5)
    for found, wanted in zip((X, GX, b, Gb), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("model", ["bpr", "warp", "logistic"])
def test_the_number_of_threads_changes_nothing(histories: Histories, model: str) -> None:
    def run() -> list[Any]:
        if model == "bpr":
            return list(run_bpr(histories, 3)[0].values())
        if model == "warp":
            return list(run_warp(histories, 1.0)[0].values())
        h, (X, b, Y, c, GX, Gb) = logistic_sides()
        rates = np.float32(0.3), np.float32(0.7)
        logistic_step(h.offsets, h.items, h.values, X, b, Y, c, GX, Gb, *rates)
        return [X, b, GX, Gb]

    threads, several = numba.get_num_threads(), run()
    try:
        numba.set_num_threads(1)
        alone = run()
    finally:
        numba.set_num_threads(threads)
    for first, second in zip(several, alone, strict=True):
        np.testing.assert_array_equal(first, second)
