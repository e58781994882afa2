"""What the autoencoders are made of, against plain computations on dense matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array, random_array
from torch import nn
from torch.nn import functional

import tastemap as tm
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.retrieval import mult_vae, rec_vae
from tastemap.retrieval.parts.autoencoders import (
    HistoryAutoencoder,
    SparseLinear,
    SparseRows,
    noisy,
)

SMALL = {"hidden_dim": 12, "latent_dim": 6, "epochs": 2}
MODELS = (tm.MultDAE, tm.MultVAE, tm.RecVAE)


def matrix(n: int = 9, columns: int = 30, seed: int = 0) -> csr_array:
    """Random values in a third of the places; the fourth row is empty."""
    rng = np.random.default_rng(seed)
    dense = random_array((n, columns), density=0.3, rng=rng).toarray().astype(np.float32)
    dense[3] = 0
    return csr_array(dense)


def dense(rows: SparseRows, columns: int = 30) -> torch.Tensor:
    parts = (part.numpy() for part in (rows.values, rows.columns, rows.offsets))
    return torch.from_numpy(csr_array(tuple(parts), shape=(len(rows), columns)).toarray())


def small_data(n_users: int = 40, n_items: int = 25, seed: int = 0) -> tm.Dataset:
    """Random choices; the last item of the vocabulary is never chosen."""
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(n_items - 1, rng.integers(3, 12), replace=False) for _ in range(n_users)]
    users = np.repeat(np.arange(n_users, dtype=np.int32), [len(c) for c in chosen])
    return tm.Dataset.from_events(
        tm.Vocabulary(np.arange(n_users)),
        tm.Vocabulary(np.arange(n_items)),
        users + 1,
        np.concatenate(chosen).astype(np.int32) + 1,
    )


# -- sparse rows --------------------------------------------------------------------------------


def test_rows_are_taken_scaled_and_summed_like_those_of_the_matrix() -> None:
    x = matrix()
    rows = SparseRows.from_csr(x)
    order = torch.tensor([5, 3, 5, 0])
    torch.testing.assert_close(dense(rows.take(order)), torch.from_numpy(x.toarray())[order])
    full = torch.from_numpy(x.toarray())
    torch.testing.assert_close(rows.row_sums(), full.sum(1))
    torch.testing.assert_close(dense(rows.unit_length()), functional.normalize(full))


def test_batches_hold_every_row_once() -> None:
    x = csr_array(np.diag(np.arange(1, 12, dtype=np.float32)))
    batches = list(SparseRows.from_csr(x).batches(4, torch.Generator().manual_seed(0)))
    assert [len(batch) for batch in batches] == [4, 4, 3]
    seen = torch.cat([batch.columns for batch in batches]).tolist()
    assert sorted(seen) == list(range(11)) and seen != list(range(11))


def test_dropout_drops_its_share_and_scales_the_rest() -> None:
    rows = SparseRows.from_csr(csr_array(np.ones((200, 100), np.float32)))
    dropped = rows.drop(0.3, torch.Generator().manual_seed(0))
    # A standard deviation of the share is sqrt(.3 × .7 / 20000) = .0032.
    assert 1 - len(dropped.values) / 20_000 == pytest.approx(0.3, abs=0.015)
    assert dropped.values.unique().tolist() == pytest.approx([1 / 0.7])
    again = dense(dropped, 100)
    assert again.shape == (200, 100) and (again > 0).sum() == len(dropped.values)
    assert rows.drop(0.0, torch.Generator()) is rows


def test_the_first_layer_equals_a_dense_one() -> None:
    torch.manual_seed(0)
    x, layer = matrix(), SparseLinear(30, 8)
    nn.init.normal_(layer.bias)
    full = torch.from_numpy(x.toarray())
    got = layer(SparseRows.from_csr(x))
    expected = full @ layer.weight + layer.bias
    torch.testing.assert_close(got, expected)
    outer = torch.randn_like(got)
    for gradient, right in zip(
        torch.autograd.grad((got * outer).sum(), list(layer.parameters())),
        torch.autograd.grad((expected * outer).sum(), list(layer.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(gradient, right)


# -- the models ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_scores_are_logits_of_the_network_without_noise(model: type[HistoryAutoencoder]) -> None:
    fitted = model(**SMALL).fit(small_data())
    queries = fitted.data.queries(np.array([1, 2, 3]))
    network, x = (
        fitted.network,
        functional.normalize(torch.from_numpy(queries.histories.to_csr(26).toarray())),
    )

    def linear(layer: nn.Module, h: torch.Tensor) -> torch.Tensor:
        weight = layer.weight if isinstance(layer, SparseLinear) else layer.weight.T
        return h @ weight + layer.bias

    with torch.no_grad():
        if isinstance(fitted, tm.RecVAE):
            encoder = network.encoder
            h = [encoder.norms[0](functional.silu(linear(encoder.input, x)))]
            for layer, norm in zip(encoder.layers, encoder.norms[1:], strict=True):
                h.append(norm(functional.silu(linear(layer, h[-1]) + sum(h))))
            hidden = linear(encoder.posterior, h[-1])[:, :6]
        else:
            h1 = torch.tanh(linear(network.input, x))
            if isinstance(fitted, tm.MultVAE):
                z = linear(network.posterior, h1)[:, :6]
            else:
                z = torch.tanh(linear(network.bottleneck, h1))
            hidden = torch.tanh(linear(network.expansion, z))
        expected = linear(network.output, hidden).numpy()
    np.testing.assert_allclose(fitted.score(queries), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        fitted.encode_queries(queries) @ fitted.item_vectors().T, expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("model", MODELS)
def test_items_that_training_has_not_seen_say_nothing(model: type[HistoryAutoencoder]) -> None:
    fitted = model(**SMALL).fit(small_data())
    unseen = int(np.flatnonzero(fitted.popularity[1:] == 0)[0]) + 1
    alone, beside = Histories.from_lists([[2, 5]]), Histories.from_lists([[2, unseen, 5]])
    np.testing.assert_array_equal(fitted.score(Queries.of(alone)), fitted.score(Queries.of(beside)))


@pytest.mark.parametrize("model", MODELS)
def test_training_raises_the_likelihood(model: type[HistoryAutoencoder]) -> None:
    fitted = model(**{**SMALL, "epochs": 200, "learning_rate": 0.01}).fit(small_data())
    losses = [epoch["loss"] for epoch in fitted.training.history]
    assert np.mean(losses[-5:]) < 0.95 * losses[0]


def test_draws_have_the_mean_and_the_variance_asked_for() -> None:
    mean, log_variance = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, math.log(4.0)]])
    draws = noisy(
        mean.expand(20_000, 2), log_variance.expand(20_000, 2), torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(draws.mean(0), mean[0], atol=0.06, rtol=0)
    torch.testing.assert_close(draws.std(0), torch.tensor([1.0, 2.0]), atol=0.05, rtol=0)


def test_kl_is_that_of_torch_distributions() -> None:
    torch.manual_seed(0)
    mean, log_variance = torch.randn(2, 5, 3).unbind()
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    prior = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(posterior, prior).sum(1)
    torch.testing.assert_close(mult_vae.kl_to_standard_normal(mean, log_variance), expected)


def test_beta_grows_to_its_cap_over_a_share_of_the_steps() -> None:
    model = tm.MultVAE(**SMALL, beta=0.3, annealing=0.5, batch_size=10)
    model._data = small_data()
    network = model.start_network(0, "cpu")
    trainer = mult_vae._Trainer(model, model.training_rows("cpu"), annealing_steps=8)
    assert trainer.network is network
    betas = []
    for epoch in range(3):
        trainer.train_epoch(epoch, np.random.default_rng(epoch))
        betas.append(trainer.beta())
    # Four steps an epoch; the first eight grow.
    assert betas == pytest.approx([0.15, 0.3, 0.3])


def test_the_composite_prior_is_a_mixture_of_three_normals() -> None:
    torch.manual_seed(0)
    z, mean, log_variance = torch.randn(3, 4, 2).unbind()
    normal = torch.distributions.Normal
    density = (
        0.15 * normal(0.0, 1.0).log_prob(z).exp()
        + 0.75 * normal(mean, (log_variance / 2).exp()).log_prob(z).exp()
        + 0.10 * normal(0.0, math.exp(5.0)).log_prob(z).exp()
    )
    torch.testing.assert_close(rec_vae.composite_prior(z, mean, log_variance), density.log())


def test_alternating_training_moves_one_side_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tm.RecVAE(**SMALL, encoder_passes=2)
    model._data = small_data()
    network = model.start_network(0, "cpu")
    trainer = rec_vae._Trainer(model, model.training_rows("cpu"))

    def snapshot() -> list[list[torch.Tensor]]:
        sides = (network.encoder, network.output, trainer.old_encoder)
        return [[p.detach().clone() for p in side.parameters()] for side in sides]

    moved = []
    passes = rec_vae.one_pass

    def watched(*args: object) -> float:
        before, loss = snapshot(), passes(*args)
        pairs = zip(before, snapshot(), strict=True)
        moved.append([any((a != b).any() for a, b in zip(*p, strict=True)) for p in pairs])
        return loss

    monkeypatch.setattr(rec_vae, "one_pass", watched)
    trainer.train_epoch(0, np.random.default_rng(0))
    assert moved == [[True, False, False], [True, False, False], [False, True, False]]
    encoder, _, old = snapshot()
    assert all((a == b).all() for a, b in zip(encoder, old, strict=True))
