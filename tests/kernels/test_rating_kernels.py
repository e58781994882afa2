"""The compiled loops of the models of ratings against plain Python that follows the equations."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.kernels import mf
from tastemap.kernels.funk_svd import funk_add, funk_epoch, funk_fold_in
from tastemap.kernels.mf_fold_in import mse_fold_in
from tastemap.kernels.nmf import nmf_half_step, nmf_half_step_torch
from tastemap.kernels.ridge_torch import mse_fold_in_torch
from tastemap.kernels.svdpp import implicit_sums, svdpp_epoch
from tastemap.kernels.time_svdpp import (
    Days,
    Events,
    Items,
    Rates,
    Users,
    time_svdpp_epoch,
    time_svdpp_fold_in,
)

N_USERS, N_ITEMS, K, BINS = 25, 20, 5, 3
RATE, DECAY, BIAS_DECAY = np.float32(0.05), np.float32(0.02), np.float32(0.01)


@pytest.fixture
def histories() -> Histories:
    """Users from row 1 with a few distinct items each, and ratings from 1 to 5."""
    rng = np.random.default_rng(3)
    lists = [[]] + [rng.permutation(N_ITEMS - 1)[: rng.integers(1, 9)] + 1 for _ in range(24)]
    return Histories.from_lists(lists, values=[rng.integers(1, 6, len(row)) for row in lists])


def normal(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.normal(size=shape).astype(np.float32)


def close(got: Any, expected: Any, name: str = "") -> None:
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=2e-4, err_msg=name)


# -- SVD++ ----------------------------------------------------------------------------------------


def svdpp_tables(seed: int = 1) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {
        "P": normal(rng, N_USERS, K), "Q": normal(rng, N_ITEMS, K), "Y": normal(rng, N_ITEMS, K),
        "b": normal(rng, N_USERS), "c": normal(rng, N_ITEMS),
    }  # fmt: skip


def run_svdpp(h: Histories, block: int) -> tuple[dict[str, NDArray[np.float32]], float]:
    t, order = svdpp_tables(), np.random.default_rng(2).permutation(np.arange(1, N_USERS))
    values = h.values - np.float32(3)
    loss = svdpp_epoch(
        order, block, h.n_events, h.offsets, h.items, values, *t.values(), RATE, DECAY, BIAS_DECAY
    )
    return t, loss


def test_svdpp_with_blocks_of_one_user_takes_koren_s_steps(histories: Histories) -> None:
    got, loss = run_svdpp(histories, 1)
    P, Q, Y, b, c = (t.astype(np.float64) for t in svdpp_tables().values())
    total = 0.0
    for u in np.random.default_rng(2).permutation(np.arange(1, N_USERS)):
        items, first = histories.items_of(u), histories.offsets[u]
        norm = len(items) ** -0.5
        for event, i in enumerate(items):
            taste = P[u] + norm * Y[items].sum(axis=0)
            e = histories.values[first + event] - 3 - b[u] - c[i] - Q[i] @ taste
            total += e**2
            b[u] += RATE * (e - BIAS_DECAY * b[u])
            c[i] += RATE * (e - BIAS_DECAY * c[i])
            # All y_j of the user in every step: what the kernel spares.
            Y[items] += RATE * (e * norm * Q[i] - DECAY * Y[items])
            P[u], Q[i] = (
                P[u] + RATE * (e * Q[i] - DECAY * P[u]),
                Q[i] + RATE * (e * taste - DECAY * Q[i]),
            )
    assert loss == pytest.approx(total, rel=1e-4)
    for name, table in zip("PQYbc", (P, Q, Y, b, c), strict=True):
        close(got[name], table, name)


def test_users_of_a_svdpp_block_start_from_the_same_items(histories: Histories) -> None:
    # One block of all users: what a user learns cannot depend on the order of users.
    got, _ = run_svdpp(histories, N_USERS)
    for u in (1, 7, 24):
        h = histories.slice(u, u + 1)
        alone = svdpp_tables()
        mine = {n: t[u : u + 1].copy() if n in "Pb" else t for n, t in alone.items()}
        svdpp_epoch(
            np.zeros(1, np.int64), 1, 10, h.offsets, h.items, h.values - np.float32(3),
            *mine.values(), RATE, DECAY, BIAS_DECAY,
        )  # fmt: skip
        close(got["P"][u], mine["P"][0])
        close(got["b"][u], mine["b"][0])


def test_implicit_sums_are_scaled_by_the_root_of_the_count(histories: Histories) -> None:
    Y = svdpp_tables()["Y"]
    sums = implicit_sums(histories.offsets, histories.items, Y)
    for u in range(1, N_USERS):
        items = histories.items_of(u)
        close(sums[u], Y[items].sum(axis=0) / np.sqrt(len(items)))
    assert not sums[0].any()


# -- timeSVD++ ------------------------------------------------------------------------------------


def time_events(h: Histories) -> Events:
    rng = np.random.default_rng(9)
    days = np.unique(h.rows_of_events() * 2 + rng.integers(0, 2, h.n_events), return_inverse=True)[
        1
    ]
    return Events(
        h.offsets, h.items, h.values - np.float32(3), normal(rng, h.n_events),
        days.astype(np.int64), rng.integers(0, BINS, h.n_events),
    )  # fmt: skip


def time_tables(n_days: int) -> tuple[Users, Days, Items]:
    rng = np.random.default_rng(1)
    n, m = N_USERS, N_ITEMS
    users = Users(normal(rng, n, K), normal(rng, n, K), *(normal(rng, n) for _ in range(3)))
    days = Days(normal(rng, n_days, K), normal(rng, n_days), normal(rng, n_days))
    items = Items(normal(rng, m, K), normal(rng, m, K), normal(rng, m), normal(rng, m, BINS))
    return users, days, items


RATES = Rates(*(np.float32(x) for x in (0.02, 0.03, 0.01, 0.2, 0.1)))


def plain_time_pass(
    u: int, e: Events, users: Users, days: Days, items: Items, rates: Rates, learn_items: bool
) -> float:
    """Every parameter goes down the gradient of (error² + penalties) / 2, rating by rating."""
    p, p_drift, b, b_drift, s = users
    p_t, b_t, s_t = days
    q, y, c, c_t = items
    rate, decay, bias_decay, time_decay, time_bias_decay = (float(x) for x in rates)
    events = range(e.offsets[u], e.offsets[u + 1])
    rated = e.items[e.offsets[u] : e.offsets[u + 1]]
    norm, total = len(rated) ** -0.5, 0.0
    for event in events:
        i, day, place, dev = e.items[event], e.days[event], e.bins[event], e.drifts[event]
        taste = p[u] + p_drift[u] * dev + p_t[day] + norm * y[rated].sum(axis=0)
        item, scale = c[i] + c_t[i, place], s[u] + s_t[day]
        error = e.values[event] - (b[u] + b_drift[u] * dev + b_t[day] + item * scale + q[i] @ taste)
        total += error**2
        qi = q[i].copy()
        if learn_items:
            q[i] += rate * (error * taste - decay * qi)
            y[rated] += rate * (error * norm * qi - decay * y[rated])
            c[i] += rate * (error * scale - bias_decay * c[i])
            c_t[i, place] += rate * (error * scale - time_bias_decay * c_t[i, place])
        p[u] += rate * (error * qi - decay * p[u])
        p_drift[u] += rate * (error * dev * qi - time_decay * p_drift[u])
        p_t[day] += rate * (error * qi - time_decay * p_t[day])
        b[u] += rate * (error - bias_decay * b[u])
        b_drift[u] += rate * (error * dev - time_bias_decay * b_drift[u])
        b_t[day] += rate * (error - time_bias_decay * b_t[day])
        s[u] += rate * (error * item - time_bias_decay * (s[u] - 1))
        s_t[day] += rate * (error * item - time_bias_decay * s_t[day])
    return total


def in_double(tables: Any) -> Any:
    return type(tables)(*(t.astype(np.float64) for t in tables))


def test_time_svdpp_epoch_follows_the_gradients(histories: Histories) -> None:
    events = time_events(histories)
    got = time_tables(int(events.days.max()) + 1)
    users, days, items = (in_double(t) for t in got)
    order = np.random.default_rng(2).permutation(np.arange(1, N_USERS))
    loss = time_svdpp_epoch(order, 1, histories.n_events, events, *got, RATES)
    total = sum(plain_time_pass(u, events, users, days, items, RATES, True) for u in order)
    assert loss == pytest.approx(total, rel=1e-4)
    for tables, expected in zip(got, (users, days, items), strict=True):
        for name in tables._fields:
            close(getattr(tables, name), getattr(expected, name), name)


def test_time_svdpp_fold_in_is_the_user_s_part(histories: Histories) -> None:
    events = time_events(histories)
    got = time_tables(int(events.days.max()) + 1)
    users, days, items = (in_double(t) for t in got)
    time_svdpp_fold_in(events, *got, RATES, 3)
    for epoch in range(3):
        rates = RATES._replace(rate=RATES.rate * (1 - epoch / 3))
        for u in range(1, N_USERS):
            plain_time_pass(u, events, users, days, items, rates, False)
    for tables, expected in zip(got, (users, days, items), strict=True):
        for name in tables._fields:
            close(getattr(tables, name), getattr(expected, name), name)


# -- Funk's SVD -----------------------------------------------------------------------------------


def test_funk_epoch_follows_the_equations(histories: Histories) -> None:
    h, rng = histories, np.random.default_rng(4)
    s = mf.stratify(h.rows_of_events(), h.items, h.values, N_USERS, N_ITEMS, rng)
    sums = rng.uniform(1, 5, h.n_events).astype(np.float32)
    p, q, rest = normal(rng, N_USERS), normal(rng, N_ITEMS), np.float32(0.3)
    x, y = p.astype(np.float64), q.astype(np.float64)
    order = rng.permutation(mf.STRATA)
    total, T = 0.0, mf.STRATA
    blocks = [row * T + (row + order[step]) % T for step in range(T) for row in range(T)]
    for event in (e for block in blocks for e in range(s.offsets[block], s.offsets[block + 1])):
        u, i = s.users[event], s.items[event]
        rated = np.clip(np.clip(sums[event] + x[u] * y[i], 1, 5) + 0.3, 1, 5)
        e = s.values[event] - rated
        total += e**2
        x[u], y[i] = (
            x[u] + RATE * (e * y[i] - DECAY * x[u]),
            y[i] + RATE * (e * x[u] - DECAY * y[i]),
        )
    low, high = np.float32(1), np.float32(5)
    loss = funk_epoch(
        s.users, s.items, s.values, sums, s.offsets, order, p, q, rest, low, high, RATE, DECAY
    )
    assert loss == pytest.approx(total, rel=1e-4)
    close(p, x)
    close(q, y)


def test_funk_adds_and_folds_in_factor_by_factor(histories: Histories) -> None:
    h, rng = histories, np.random.default_rng(4)
    Q, base = normal(rng, N_ITEMS, K), rng.uniform(1, 5, h.n_events).astype(np.float32)
    low, high = np.float32(1), np.float32(5)
    P = funk_fold_in(h.offsets, h.items, h.values, base, Q, low, high, np.float32(0.1))
    rows = h.rows_of_events()
    sums = base.astype(np.float64)
    for f in range(K):
        for u in range(1, N_USERS):
            mine = rows == u
            q, left = Q[h.items[mine], f], (h.values - sums)[mine]
            close(P[u, f], q @ left / (q @ q + 0.1 * mine.sum()))
        sums = np.clip(sums + P[rows, f] * Q[h.items, f], 1, 5)
    added = base.copy()
    funk_add(added, rows, h.items, P, Q, low, high)
    close(added, sums)
    assert not P[0].any()


# -- non-negative factors -------------------------------------------------------------------------


def nmf_loss(h: Histories, P: Any, Q: Any, penalty: float) -> float:
    rows = h.rows_of_events()
    error = h.values - (P[rows] * Q[h.items]).sum(axis=1)
    return float((error**2).sum() + penalty * (P[rows] ** 2).sum())


def test_nmf_half_step_follows_the_formula_and_never_goes_up(histories: Histories) -> None:
    h, rng = histories, np.random.default_rng(4)
    P, Q = (rng.random((n, K)).astype(np.float32) for n in (N_USERS, N_ITEMS))
    P[3, 2] = Q[5, 1] = 0
    before, expected = nmf_loss(h, P, Q, 0.1), P.astype(np.float64)
    for u in range(1, N_USERS):
        y, r = Q[h.items_of(u)], h.values[h.offsets[u] : h.offsets[u + 1]]
        x = expected[u]
        expected[u] = x * (r @ y) / ((y @ x) @ y + 0.1 * len(r) * x + 1e-9)
    on_torch = torch.from_numpy(P.copy())
    nmf_half_step(h.offsets, h.items, h.values, P, Q, np.float32(0.1))
    close(P, expected)
    assert (P >= 0).all()
    assert P[3, 2] == 0
    rows, columns = (torch.from_numpy(x.astype(np.int64)) for x in (h.rows_of_events(), h.items))
    values = torch.from_numpy(h.values)
    nmf_half_step_torch(rows, columns, values, on_torch, torch.from_numpy(Q), 0.1, 7)
    close(on_torch.numpy(), expected)
    for _ in range(20):
        after = nmf_loss(h, P, Q, 0.1)
        assert after <= before * (1 + 1e-6)
        before = after
        nmf_half_step(h.offsets, h.items, h.values, P, Q, np.float32(0.1))


# -- all ------------------------------------------------------------------------------------------


def test_ridge_on_torch_is_that_of_the_kernel(histories: Histories) -> None:
    h, t = histories, svdpp_tables()
    task = h.offsets, h.items, h.values - np.float32(3), t["Q"], t["c"], 0.04, 0.01
    close(mse_fold_in_torch(*task, "cpu"), mse_fold_in(*task))


def test_the_number_of_threads_changes_nothing(histories: Histories) -> None:
    events = time_events(histories)
    order = np.arange(1, N_USERS)

    def learned() -> list[NDArray[np.float32]]:
        tables = time_tables(int(events.days.max()) + 1)
        time_svdpp_epoch(order, 8, histories.n_events, events, *tables, RATES)
        svdpp, _ = run_svdpp(histories, 8)
        return [*(array for part in tables for array in part), *svdpp.values()]

    threads = numba.get_num_threads()
    several = learned()
    try:
        numba.set_num_threads(1)
        alone = learned()
    finally:
        numba.set_num_threads(threads)
    for first, second in zip(several, alone, strict=True):
        np.testing.assert_array_equal(first, second)
