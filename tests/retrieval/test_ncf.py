"""Neural collaborative filtering: the formulas, the pre-training, the negatives, the fold-in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tastemap as tm
from tastemap.data.dataset import Dataset
from tastemap.data.queries import Queries
from tastemap.retrieval.gmf import GMF, GMFNetwork
from tastemap.retrieval.ncf_mlp import NCFMLP, MLPNetwork
from tastemap.retrieval.neumf import NeuMF, NeuMFNetwork
from tastemap.retrieval.parts.ncf import NCFTrainer, NeuralCollaborativeFilter, Similarity
from tastemap.training.run import Run

QUIET = Run(device="cpu", progress=False)


@pytest.fixture
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """Users [4] and items [4, 3] of networks with 6 users and 9 items."""
    rng = torch.Generator().manual_seed(1)
    return torch.randint(6, (4,), generator=rng), torch.randint(9, (4, 3), generator=rng)


def randomized(network: Similarity) -> Similarity:
    """With parameters of a size at which a wrong formula shows."""
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
    return network


def test_gmf_weighs_the_product(pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    users, items = pairs
    network = randomized(GMFNetwork(6, 9, 5))
    p, q = network.users[users], network.items[items]
    h, b = network.output.weight[0], network.output.bias
    expected = torch.einsum("bd,bnd,d->bn", p, q, h) + b
    torch.testing.assert_close(network(users, items), expected)


def test_gmf_with_equal_weights_is_a_dot_product(pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    users, items = pairs
    network = randomized(GMFNetwork(6, 9, 5))
    with torch.no_grad():
        network.output.weight.fill_(1.0)
        network.output.bias.zero_()
    dots = (network.users @ network.items.T)[users[:, None], items]
    torch.testing.assert_close(network(users, items), dots)


def test_mlp_is_a_perceptron_over_both_vectors(pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    users, items = pairs
    network = randomized(MLPNetwork(6, 9, factors=2, layers=3))
    tower = network.tower
    assert network.users.shape == (6, 8)
    assert [layer.weight.shape for layer in tower.upper] == [(4, 8), (2, 4)]
    p = network.users[users][:, None].expand(-1, 3, -1)
    z = torch.cat([p, network.items[items]], dim=-1)
    whole = torch.cat([tower.of_user.weight, tower.of_item.weight], dim=1)
    z = (z @ whole.T + tower.of_user.bias).relu()
    for layer in tower.upper:
        z = (z @ layer.weight.T + layer.bias).relu()
    expected = z @ network.output.weight[0] + network.output.bias
    torch.testing.assert_close(network(users, items), expected)


@pytest.mark.parametrize("n_items", [9, 40])
def test_forward_is_the_same_from_few_and_from_many_items(n_items: int) -> None:
    # More pairs than items, and fewer: the keys of all items are made first, or of those asked for.
    network = randomized(NeuMFNetwork(6, n_items, factors=2, layers=2))
    users, items = torch.tensor([1, 2, 5, 5]), torch.arange(12).view(4, 3) % n_items
    users_keys = network.user_keys(network.users)
    items_keys = network.item_keys(network.items)
    expected = network.logits(users_keys[:, None], items_keys[None])[users[:, None], items]
    torch.testing.assert_close(network(users, items), expected)


def test_neumf_begins_where_pretraining_ended(pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    users, items = pairs
    gmf, mlp = randomized(GMFNetwork(6, 9, 2)), randomized(MLPNetwork(6, 9, 2, 3))
    joined = NeuMFNetwork(6, 9, factors=2, layers=3)
    joined.begin_with(gmf, mlp, alpha=0.25)
    # Equation 13: the logit is the weighed sum of the two that were learned.
    expected = 0.25 * gmf(users, items) + 0.75 * mlp(users, items)
    torch.testing.assert_close(joined(users, items), expected)
    torch.testing.assert_close(joined.users, torch.cat([gmf.users, mlp.users], dim=1))
    torch.testing.assert_close(joined.items, torch.cat([gmf.items, mlp.items], dim=1))
    h = torch.cat([0.25 * gmf.output.weight, 0.75 * mlp.output.weight], dim=1)
    torch.testing.assert_close(joined.output.weight, h)


def test_pretraining_is_that_of_the_two_models(small: Dataset) -> None:
    settings = {
        "factors": 4, "negatives": 4, "learning_rate": 0.01, "batch_size": 256,
        "regularization": 0.0,
    }  # fmt: skip
    # Steps too small to move anything: what is left is where SGD began.
    neumf = NeuMF(**settings, epochs=1, pretraining_epochs=2, sgd_rate=1e-30, layers=2)
    network = neumf.fit(small, run=QUIET).network
    gmf = GMF(**settings, epochs=2).fit(small, run=QUIET).network
    mlp = NCFMLP(**settings, epochs=2, layers=2).fit(small, run=QUIET).network
    torch.testing.assert_close(network.users, torch.cat([gmf.users, mlp.users], dim=1))
    torch.testing.assert_close(network.items, torch.cat([gmf.items, mlp.items], dim=1))
    for name, learned in mlp.tower.state_dict().items():
        torch.testing.assert_close(network.tower.state_dict()[name], learned)
    assert not torch.equal(gmf.users, GMF(**settings, epochs=1).fit(small, run=QUIET).network.users)


def test_sgd_after_pretraining_lowers_the_loss(small: Dataset) -> None:
    model = NeuMF(
        factors=4, learning_rate=0.01, batch_size=256, epochs=6, pretraining_epochs=4, sgd_rate=0.5
    ).fit(small, run=QUIET)
    losses = [epoch["loss"] for epoch in model.training.history]
    assert losses[-1] < losses[0]


@pytest.fixture(scope="module")
def small(liked_movies: Dataset) -> Dataset:
    """The likes of 80 users."""
    return liked_movies.with_events(liked_movies.histories.rows_of_events() <= 80)


class Spy(Similarity):
    """A network that notes which pairs it is asked about."""

    def __init__(self, n_users: int, n_items: int) -> None:
        super().__init__()
        self.users = torch.nn.Parameter(torch.zeros(n_users, 1))
        self.items = torch.nn.Parameter(torch.zeros(n_items, 1))
        self.asked: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        self.asked.append((users, items))
        return self.users[users] + self.items[items, 0]


def test_an_epoch_is_all_events_with_negatives_drawn_anew(small: Dataset) -> None:
    spy = Spy(len(small.users), len(small.items))
    trainer = NCFTrainer(
        spy, small.histories, torch.optim.SGD(spy.parameters(), lr=0.0),
        epochs=1, negatives=5, batch_size=100, regularization=0.0,
    )  # fmt: skip
    h = small.histories
    chosen = set(zip(h.rows_of_events().tolist(), h.items.tolist(), strict=True))
    epochs = []
    for epoch in range(2):
        spy.asked.clear()
        trainer.train_epoch(epoch, np.random.default_rng(epoch))
        users = torch.cat([users for users, _ in spy.asked])
        items = torch.cat([items for _, items in spy.asked])
        assert items.shape == (h.n_events, 6)
        assert set(zip(users.tolist(), items[:, 0].tolist(), strict=True)) == chosen
        owners, negatives = users.repeat_interleave(5), items[:, 1:].flatten()
        assert not set(zip(owners.tolist(), negatives.tolist(), strict=True)) & chosen
        assert items.min() >= 1
        order = torch.argsort(users * len(small.items) + items[:, 0])
        epochs.append(items[order, 1:])
    assert (epochs[0] != epochs[1]).float().mean() > 0.95


def test_regularization_is_the_gradient_of_used_vectors(small: Dataset) -> None:
    network = randomized(GMFNetwork(len(small.users), len(small.items), 3))
    users, items = torch.tensor([1, 1, 4]), torch.tensor([[2, 3], [2, 2], [7, 3]])
    trainer = NCFTrainer(
        network, small.histories, torch.optim.SGD(network.parameters(), lr=0.0),
        epochs=1, negatives=1, batch_size=8, regularization=1.0,
    )  # fmt: skip
    by_hand = (
        network.users[users].square().sum(1)[:, None] + network.items[items].square().sum(2)
    ).mean()
    torch.testing.assert_close(trainer._lengths(users, items), by_hand)


@pytest.fixture(scope="module")
def split(liked_movies: Dataset) -> tm.splits.Split:
    return tm.splits.RandomPerUser(test=0.2, seed=0).split(liked_movies)


@pytest.mark.parametrize(
    "model", [GMF(factors=16, epochs=12), NCFMLP(factors=8, epochs=10)], ids=lambda m: m.name
)
def test_folded_in_a_training_history_ranks_like_its_learned_vector(
    model: NeuralCollaborativeFilter, split: tm.splits.Split
) -> None:
    model.fit(split.train, run=QUIET)
    test = split.test.queries.slice(0, 300)
    truth = split.test.truth.slice(0, 300)
    strangers = Queries.of(test.histories)
    np.testing.assert_array_equal(
        model.query_vectors(test).numpy(), model.network.users.detach()[test.users].numpy()
    )
    learned, folded = model.score(test)[:, 1:], model.score(strangers)[:, 1:]
    correlation = [np.corrcoef(a, b)[0, 1] for a, b in zip(learned, folded, strict=True)]
    assert np.median(correlation) > 0.8

    def ndcg(queries: Queries) -> float:
        top = model.answer(queries, 10).padded(10)
        judged = tm.metrics.judge(top, truth.offsets, truth.items)
        return float(np.nanmean(tm.metrics.ndcg(*judged, k=10)))

    assert ndcg(strangers) > 0.85 * ndcg(test)
