"""Losses against their formulas in numpy, against finite differences, and the laws they obey."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tastemap.losses import (
    bce,
    bpr,
    bpr_max,
    gbce,
    huber,
    margin,
    mse,
    sampled_softmax,
    top1_max,
    triplet,
    warp,
    warp_of_trials,
)
from tastemap.losses.gbce import gbce_exponent
from tastemap.losses.warp import rank_weight

B, N, N_ITEMS = 6, 4, 50


def scores(seed: int = 0) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return {
        "positive": torch.from_numpy(rng.normal(size=B)),
        "negative": torch.from_numpy(rng.normal(size=(B, N))),
        "mask": torch.from_numpy(rng.random((B, N)) < 0.6),
        "weights": torch.from_numpy(rng.uniform(0.5, 3, B)),
    }


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def pairwise(term: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[..., float]:
    """The mean of w · term(x_i, x_j) over the pairs that count."""

    def reference(positive: Any, negative: Any, mask: Any, weights: Any) -> float:
        terms = weights[:, None] * term(positive[:, None], negative)
        return float(terms[mask].sum() / mask.sum())

    return reference


def bce_reference(positive: Any, negative: Any, mask: Any, weights: Any) -> float:
    total = (weights * softplus(-positive)).sum() + softplus(negative)[mask].sum()
    return float(total / (len(positive) + mask.sum()))


def gbce_reference(positive: Any, negative: Any, mask: Any, weights: Any) -> float:
    alpha = N / (N_ITEMS - 1)
    beta = alpha * (0.75 * (1 - 1 / alpha) + 1 / alpha)
    return bce_reference(positive, negative, mask, weights * beta)


def warp_of_trials_reference(positive: Any, negative: Any, mask: Any, weights: Any) -> float:
    total = 0.0
    for row in range(len(positive)):
        trials = 0
        for j in range(N):
            if not mask[row, j]:
                continue
            trials += 1
            hinge = 1 - positive[row] + negative[row, j]
            if hinge > 0:
                rank = (N_ITEMS - 1) // trials
                total += weights[row] * sum(1 / k for k in range(1, rank + 1)) * hinge
                break
    return total / len(positive)


def warp_reference(positive: Any, negative: Any, mask: Any, weights: Any) -> float:
    total = 0.0
    for row in range(len(positive)):
        hinges = 1 - positive[row] + negative[row][mask[row]]
        violators = hinges[hinges > 0]
        if len(violators):
            rank = int(np.ceil((N_ITEMS - 1) * len(violators) / mask[row].sum()))
            total += weights[row] * sum(1 / k for k in range(1, rank + 1)) * violators.mean()
    return total / len(positive)


def maximum(
    term: Callable[[Any, np.ndarray, np.ndarray], Any],
) -> Callable[..., float]:
    """The mean of w · term(x_i, x_j, s_j), with s the softmax of the x_j that count."""

    def reference(positive: Any, negative: Any, mask: Any, weights: Any) -> float:
        total = 0.0
        for i, row, counts, weight in zip(positive, negative, mask, weights, strict=True):
            j = row[counts]
            if len(j):
                total += weight * float(term(i, j, np.exp(j) / np.exp(j).sum()))
        return total / len(positive)

    return reference


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def bpr_max_term(i: Any, j: np.ndarray, s: np.ndarray) -> Any:
    return -np.log((s * sigmoid(i - j)).sum()) + 0.3 * (s * j**2).sum()


def top1_max_term(i: Any, j: np.ndarray, s: np.ndarray) -> Any:
    return (s * (sigmoid(j - i) + sigmoid(j**2))).sum()


FORMULAS: dict[str, tuple[Callable[..., torch.Tensor], Callable[..., float], dict[str, Any]]] = {
    "bpr": (bpr, pairwise(lambda i, j: softplus(j - i)), {}),
    "margin": (margin, pairwise(lambda i, j: np.maximum(0.3 - i + j, 0)), {"margin": 0.3}),
    "bce": (bce, bce_reference, {}),
    "gbce": (gbce, gbce_reference, {"n_items": N_ITEMS}),
    "warp_of_trials": (warp_of_trials, warp_of_trials_reference, {"n_items": N_ITEMS}),
    "warp": (warp, warp_reference, {"n_items": N_ITEMS}),
    "bpr_max": (bpr_max, maximum(bpr_max_term), {"regularization": 0.3}),
    "top1_max": (top1_max, maximum(top1_max_term), {}),
}

of_scores = pytest.mark.parametrize(("loss", "reference", "more"), FORMULAS.values(), ids=FORMULAS)


@of_scores
@pytest.mark.parametrize("seed", range(3))
def test_the_formula(
    loss: Callable[..., torch.Tensor], reference: Callable[..., float], more: Any, seed: int
) -> None:
    given_ = scores(seed)
    arrays = {name: tensor.numpy() for name, tensor in given_.items()}
    assert loss(**given_, **more).item() == pytest.approx(reference(**arrays), rel=1e-6)
    # Without a mask all pairs count, and without weights each counts as one.
    plain = loss(given_["positive"], given_["negative"], **more)
    arrays |= {"mask": np.ones((B, N), bool), "weights": np.ones(B)}
    assert plain.item() == pytest.approx(reference(**arrays), rel=1e-6)


@of_scores
def test_what_is_masked_has_no_part(
    loss: Callable[..., torch.Tensor], reference: Callable[..., float], more: Any
) -> None:
    given_ = scores()
    with_inf = {
        **given_, "negative": given_["negative"].masked_fill(~given_["mask"], torch.inf)
    }  # fmt: skip
    for name in ("positive", "negative"):
        with_inf[name] = with_inf[name].requires_grad_()
    value = loss(**with_inf, **more)
    assert value.item() == pytest.approx(loss(**given_, **more).item())
    value.backward()
    assert with_inf["positive"].grad.isfinite().all()
    assert not with_inf["negative"].grad[~given_["mask"]].any()


@of_scores
def test_without_negatives_there_is_a_gradient(
    loss: Callable[..., torch.Tensor], reference: Callable[..., float], more: Any
) -> None:
    positive = torch.tensor([1.0, -2.0], requires_grad=True)
    negative = torch.full((2, 3), torch.inf)
    value = loss(positive, negative, torch.zeros(2, 3, dtype=torch.bool), **more)
    value.backward()
    assert value.isfinite() and positive.grad is not None and positive.grad.isfinite().all()
    if loss not in (bce, gbce):
        assert value.item() == 0 and not positive.grad.any()


@of_scores
def test_gradients_are_those_of_finite_differences(
    loss: Callable[..., torch.Tensor], reference: Callable[..., float], more: Any
) -> None:
    given_ = scores()
    positive, negative = given_["positive"].requires_grad_(), given_["negative"].requires_grad_()

    def of_scores(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
        return loss(positive, negative, given_["mask"], weights=given_["weights"], **more).double()

    # The hinges are smooth between their kinks, which random numbers do not meet.
    assert torch.autograd.gradcheck(of_scores, (positive, negative))


@pytest.mark.parametrize("loss", [bpr, bce])
def test_nothing_overflows(loss: Callable[..., torch.Tensor]) -> None:
    value = loss(torch.tensor([-1e4, 1e4]), torch.tensor([[1e4], [-1e4]]))
    assert value.item() == pytest.approx(1e4 if loss is bpr else 5e3)


def test_ratings() -> None:
    predicted, actual = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.5, 4.0, 1.0])
    weights = torch.tensor([1.0, 2.0, 0.5])
    assert mse(predicted, actual).item() == pytest.approx((0.25 + 4 + 9) / 3)
    assert mse(predicted, actual, weights=weights).item() == pytest.approx((0.25 + 8 + 4.5) / 3)
    assert huber(predicted, actual).item() == pytest.approx((0.25 + 3 + 5) / 3)
    assert huber(predicted, actual, delta=2.5).item() == pytest.approx((0.25 + 4 + 8.75) / 3)
    assert huber(predicted, actual, weights=weights).item() == pytest.approx((0.25 + 6 + 2.5) / 3)


@pytest.mark.parametrize("loss", [mse, huber])
def test_gradients_of_ratings(loss: Callable[..., torch.Tensor]) -> None:
    predicted = 3 * torch.randn(9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(
        lambda p: loss(p, torch.zeros_like(p), weights=torch.arange(9.0)),
        (predicted.requires_grad_(),),
    )


@given(st.floats(0.1, 5), st.floats(-10, 10))
def test_huber_lies_below_the_square_and_touches_it(delta: float, error: float) -> None:
    one, zero = torch.tensor([error], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    got, square = huber(one, zero, delta=delta).item(), error * error
    assert got <= square + 1e-12
    assert got == pytest.approx(square if abs(error) <= delta else delta * (2 * abs(error) - delta))


def test_triplet() -> None:
    rng = np.random.default_rng(0)
    u, p, n = rng.normal(size=(B, 3)), rng.normal(size=(B, 3)), rng.normal(size=(B, N, 3))
    mask, weights = scores()["mask"], scores()["weights"]
    near, far = ((u - p) ** 2).sum(1), ((u[:, None] - n) ** 2).sum(2)
    expected = weights[:, None].numpy() * np.maximum(near[:, None] - far + 0.5, 0)
    vectors = [torch.from_numpy(part).requires_grad_() for part in (u, p, n)]
    got = triplet(*vectors, mask, margin=0.5, weights=weights)
    assert got.item() == pytest.approx((expected * mask.numpy()).sum() / mask.sum().item())
    assert torch.autograd.gradcheck(lambda *v: triplet(*v, mask, weights=weights), vectors)


def test_triplet_is_zero_where_all_is_in_its_place() -> None:
    u = torch.zeros(1, 2)
    far = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    assert triplet(u, u, far, margin=1.0).item() == 0
    assert triplet(u, u, far, margin=1.5).item() == pytest.approx(0.5)


def test_rank_weights_are_harmonic_numbers() -> None:
    ranks = torch.tensor([0, 1, 2, 4])
    torch.testing.assert_close(rank_weight(ranks, 5), torch.tensor([0, 1, 1.5, 25 / 12]))
    assert rank_weight(torch.tensor([0]), 1).tolist() == [0]


def test_warp_with_all_items_knows_the_rank() -> None:
    generator = torch.Generator().manual_seed(0)
    negative = torch.randn(B, N_ITEMS - 1, generator=generator)
    positive = torch.randn(B, generator=generator)
    hinge = 1 - positive[:, None] + negative
    rank = (hinge > 0).sum(1)
    mean = hinge.clamp(min=0).sum(1) / rank.clamp(min=1)
    expected = (rank_weight(rank, N_ITEMS) * mean).mean()
    torch.testing.assert_close(warp(positive, negative, n_items=N_ITEMS), expected)


def test_warp_of_all_draws_is_what_single_trials_are_on_average() -> None:
    # The hinge of the first violator, over orders of drawing, is the mean of the violators'.
    generator = torch.Generator().manual_seed(0)
    positive, negative = torch.tensor([0.2]), torch.randn(1, N, generator=generator)
    violators = (1 - positive + negative)[1 - positive + negative > 0]
    hinges = []
    for _ in range(2000):
        order = torch.randperm(N, generator=generator)
        loss = warp_of_trials(positive, negative[:, order], n_items=N_ITEMS)
        first = int(((1 - positive + negative[0, order]) > 0).int().argmax()) + 1
        rank = torch.tensor([(N_ITEMS - 1) // first])
        hinges.append((loss / rank_weight(rank, N_ITEMS)).item())
    assert np.mean(hinges) == pytest.approx(violators.mean().item(), abs=0.05)


@given(st.integers(1, 49), st.floats(0, 1))
def test_the_exponent_of_gbce(n: int, t: float) -> None:
    # Petrov & Macdonald, section 5.2: from 1 (plain BCE) to the sampling rate.
    beta, rate = gbce_exponent(n, N_ITEMS, t), n / (N_ITEMS - 1)
    assert beta == pytest.approx(1 - t * (1 - rate))


def test_gbce_goes_from_bce_to_the_probability_of_the_softmax() -> None:
    s = scores()
    assert gbce(s["positive"], s["negative"], n_items=N_ITEMS, t=0).item() == pytest.approx(
        bce(s["positive"], s["negative"]).item()
    )
    # With t = 1, σ(x_i) is where the loss of an item of probability p has its minimum: n of the
    # N - 1 others are drawn for each positive, and p σ^β stands against (1 - p) rate (1 - σ).
    p, n = 0.03, 5
    x = torch.tensor(p, dtype=torch.float64).logit().requires_grad_()
    beta, rate = gbce_exponent(n, N_ITEMS, 1.0), n / (N_ITEMS - 1)
    softplus = torch.nn.functional.softplus
    (p * beta * softplus(-x) + (1 - p) * rate * softplus(x)).backward()
    assert x.grad is not None and abs(x.grad.item()) < 1e-12


def test_gbce_says_what_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="of 3 negatives 4"):
        gbce(torch.zeros(1), torch.zeros(1, 4), n_items=4)


# -- sampled softmax --------------------------------------------------------------------------


def catalogue(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores float64 [B, N_ITEMS] of all items, and the chosen ones."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(B, N_ITEMS, dtype=torch.float64, generator=generator)
    return x, torch.randint(N_ITEMS, (B,), generator=generator)


def without(x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    kept = torch.arange(N_ITEMS) != targets[:, None]
    return x[kept].reshape(B, N_ITEMS - 1)


def test_with_all_others_as_negatives_it_is_the_full_softmax() -> None:
    x, targets = catalogue()
    negative = without(x, targets)
    log_q = torch.full_like(negative, -np.log(N_ITEMS - 1))
    own = x.gather(1, targets[:, None])[:, 0]
    full = torch.nn.functional.cross_entropy(x, targets)
    torch.testing.assert_close(sampled_softmax(own, negative, log_q), full)
    weights = scores()["weights"]
    weighted = torch.nn.functional.cross_entropy(x, targets, reduction="none") * weights
    torch.testing.assert_close(
        sampled_softmax(own, negative, log_q, weights=weights), weighted.mean()
    )


@pytest.mark.parametrize("exponent", [0.0, 2.0])
def test_the_estimate_of_the_normalizer_is_unbiased(exponent: float) -> None:
    x, targets = catalogue()
    generator = torch.Generator().manual_seed(1)
    own = x.gather(1, targets[:, None])[:, 0]
    q = torch.rand(N_ITEMS, dtype=torch.float64, generator=generator).clamp(min=0.2) ** exponent
    q = q.expand(B, -1).scatter(1, targets[:, None], 0)
    q = q / q.sum(1, keepdim=True)
    draws = torch.multinomial(q, 40_000, replacement=True, generator=generator)
    drawn, log_q = x.gather(1, draws), q.gather(1, draws).log()
    # In batches of 8: exp(loss) is Ẑ / e^{x_i}, of expectation Z / e^{x_i}.
    estimates = [
        torch.stack([sampled_softmax(own[b : b + 1], drawn[b : b + 1, part], log_q[b : b + 1, part])
                     for b in range(B)]).exp()
        for part in torch.arange(40_000).split(8)[:1500]
    ]  # fmt: skip
    expected = (x.logsumexp(1) - own).exp()
    torch.testing.assert_close(torch.stack(estimates).mean(0), expected, rtol=0.05, atol=0)


def test_accidental_hits_do_not_count() -> None:
    x, _ = catalogue()
    own, negative = x[:, 0], x[:, 1:6]
    log_q = torch.full_like(negative, -1.5)
    mask = torch.tensor([True, False, True, True, False]).expand(B, -1)
    expected = sampled_softmax(own, negative[:, [0, 2, 3]], log_q[:, :3])
    hits = negative.masked_fill(~mask, torch.inf).requires_grad_()
    got = sampled_softmax(own, hits, log_q, mask)
    torch.testing.assert_close(got, expected)
    got.backward()
    assert hits.grad is not None and not hits.grad[~mask].any() and hits.grad.isfinite().all()
    nothing = sampled_softmax(own, negative, log_q, torch.zeros_like(mask))
    assert nothing.item() == 0


def test_the_correction_within_a_batch() -> None:
    # Yi et al. 2019, equation 4: the batch itself is the sample, corrected as a whole.
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(B, B, dtype=torch.float64, generator=generator)
    log_p = torch.rand(B, dtype=torch.float64, generator=generator).log()
    others = ~torch.eye(B, dtype=torch.bool)
    got = sampled_softmax(x.diag(), x, log_p.expand(B, B), others, positive_log_q=log_p)
    expected = torch.nn.functional.cross_entropy(x - log_p, torch.arange(B))
    torch.testing.assert_close(got, expected)


def test_gradients_of_sampled_softmax() -> None:
    s = scores()
    inputs = s["positive"].requires_grad_(), s["negative"].requires_grad_()
    log_q = -torch.rand(B, N, dtype=torch.float64)
    for own in (None, -torch.rand(B, dtype=torch.float64)):
        assert torch.autograd.gradcheck(
            lambda p, n, own=own: sampled_softmax(
                p, n, log_q, s["mask"], positive_log_q=own, weights=s["weights"]
            ),
            inputs,
        )


@given(st.floats(-50, 50), st.integers(0, 5))
def test_a_shift_of_all_scores_changes_nothing(shift: float, seed: int) -> None:
    s = scores(seed)
    log_q = torch.full((B, N), -2.0, dtype=torch.float64)
    moved = s["positive"] + shift, s["negative"] + shift
    for loss in (
        lambda p, n: bpr(p, n, s["mask"]),
        lambda p, n: margin(p, n, s["mask"]),
        lambda p, n: warp(p, n, s["mask"], n_items=N_ITEMS),
        lambda p, n: sampled_softmax(p, n, log_q, s["mask"]),
    ):
        assert loss(*moved).item() == pytest.approx(
            loss(s["positive"], s["negative"]).item(), abs=1e-9
        )
