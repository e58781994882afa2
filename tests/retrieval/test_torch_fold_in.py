"""Fold-in by torch: what is drawn, where it ends, and that histories do not mix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from tastemap.data.histories import Histories
from tastemap.retrieval.parts.torch_fold_in import Pairs, fold_in, negatives_of

N_ITEMS, DIM = 60, 5


@pytest.fixture(scope="module")
def histories() -> Histories:
    rng = np.random.default_rng(3)
    all_items = np.arange(1, N_ITEMS)
    sizes = (1, 30, 0, 7, len(all_items), len(all_items) - 1)
    rows = [rng.choice(all_items, size, replace=False) for size in sizes]
    rows.append(np.array([9, 9, 9, 4]))
    return Histories.from_lists(rows)


@pytest.fixture(scope="module")
def items() -> torch.Tensor:
    return torch.randn(N_ITEMS, DIM, generator=torch.Generator().manual_seed(5))


def test_negatives_are_never_of_the_history(histories: Histories) -> None:
    drawn = negatives_of(histories, N_ITEMS, steps=50, n=3, seed=11)
    assert drawn.shape == (50, histories.n_events, 3)
    owner = histories.rows_of_events()
    for row in range(len(histories)):
        own = set(histories.items_of(row).tolist())
        found = set(drawn[:, owner == row].ravel().tolist())
        left = set(range(1, N_ITEMS)) - own
        if not own:
            assert not found
        else:
            # Where the whole catalogue is held there is nothing to draw, and 0 says so.
            assert found <= (left or {0})


def test_negatives_are_uniform_over_what_is_left() -> None:
    history = Histories.from_lists([[2, 3, 5, 19]])
    drawn = negatives_of(history, 20, steps=2000, n=5, seed=0)
    counts = np.bincount(drawn.ravel(), minlength=20)
    left = np.setdiff1d(np.arange(1, 20), [2, 3, 5, 19])
    expected = drawn.size / len(left)
    chi_square = ((counts[left] - expected) ** 2 / expected).sum()
    # 14 degrees of freedom: above 36.1 once in a thousand.
    assert chi_square < 36.1
    assert counts[left].sum() == drawn.size


def test_negatives_change_with_seed_step_and_place(histories: Histories) -> None:
    one = negatives_of(histories, N_ITEMS, steps=4, n=2, seed=1)
    other = negatives_of(histories, N_ITEMS, steps=4, n=2, seed=2)
    long = histories.rows_of_events() == 1
    assert (one[:, long] != other[:, long]).mean() > 0.8
    assert (one[0, long] != one[1, long]).mean() > 0.8
    assert (one[0, long][0] != one[0, long][1:]).any()


def test_without_negatives_it_finds_the_minimum(histories: Histories, items: torch.Tensor) -> None:
    scale = torch.tensor([0.5, 1.0, 2.0, 1.0, 0.0])
    start = torch.tensor([0.3, 0.0, -0.2, 0.1, 0.7])

    def losses(vectors: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        assert pairs.negatives.shape == (len(pairs.positives), 0)
        own = (vectors[pairs.rows] * items[pairs.positives]).sum(-1)
        return (1 - own).square() / 2

    found = fold_in(
        histories, losses, start=start, scale=scale, n_items=N_ITEMS, negatives=0, seed=0,
        steps=400, prior=2.0,
    )  # fmt: skip
    free = scale > 0
    for row in range(len(histories)):
        y = items[torch.from_numpy(histories.items_of(row).astype(np.int64))]
        ridge = torch.diag(2.0 / scale[free].square())
        target = 1 - y @ start
        solved = torch.linalg.solve(y[:, free].T @ y[:, free] + ridge, y[:, free].T @ target)
        torch.testing.assert_close(found[row, free], start[free] + solved, atol=2e-3, rtol=1e-3)
        assert found[row, 4] == start[4]
    torch.testing.assert_close(found[2], start)


def _logistic(items: torch.Tensor):  # type: ignore[no-untyped-def]
    def losses(vectors: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        own = vectors[pairs.rows]
        positive = (own * items[pairs.positives]).sum(-1)
        negative = (own[:, None] * items[pairs.negatives]).sum(-1)
        return functional.softplus(-positive) + functional.softplus(negative).sum(-1)

    return losses


def test_histories_do_not_mix(
    histories: Histories, items: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros, ones = torch.zeros(DIM), torch.ones(DIM)

    def fitted(h: Histories) -> torch.Tensor:
        return fold_in(
            h, _logistic(items), start=zeros, scale=ones, n_items=N_ITEMS, negatives=4, seed=0
        )

    together = fitted(histories)
    alone = torch.cat([fitted(histories.slice(row, row + 1)) for row in range(len(histories))])
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=1e-6)
    backwards = fitted(histories.take(np.arange(len(histories))[::-1]))
    torch.testing.assert_close(backwards.flip(0), together, atol=1e-6, rtol=1e-6)
    # Tiles smaller than the longest history change nothing either.
    monkeypatch.setattr("tastemap.retrieval.parts.torch_fold_in._TILE_PAIRS", 20 * 4 * 8)
    torch.testing.assert_close(fitted(histories), together, atol=1e-6, rtol=1e-6)
    assert (together[2] == 0).all() and (together[0] != 0).all()


def test_what_is_projected_stays_in_its_set(histories: Histories, items: torch.Tensor) -> None:
    def into_the_ball(vectors: torch.Tensor) -> torch.Tensor:
        return vectors / vectors.norm(dim=1, keepdim=True).clamp(min=1)

    found = fold_in(
        histories, _logistic(items), start=torch.zeros(DIM), scale=torch.ones(DIM),
        n_items=N_ITEMS, negatives=4, seed=0, project=into_the_ball,
    )  # fmt: skip
    lengths = found.norm(dim=1)
    assert lengths.max() <= 1 + 1e-6
    assert lengths[1] > 0.99


def test_it_works_where_gradients_are_off(histories: Histories, items: torch.Tensor) -> None:
    with torch.no_grad():
        found = fold_in(
            histories, _logistic(items), start=torch.zeros(DIM), scale=torch.ones(DIM),
            n_items=N_ITEMS, negatives=1, seed=0,
        )  # fmt: skip
    assert not found.requires_grad
    assert (found[1] != 0).all()
