"""IRGAN: the policy gradient, the draws, and what the game does to the players."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tastemap as tm
from tastemap.retrieval.irgan import IRGAN
from tastemap.retrieval.irgan_training import Game, Player, Players, draw, policy_value


def random_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7])
def test_the_policy_gradient_is_unbiased(share: float) -> None:
    """Its mean over many draws is the exact gradient of the expected reward."""
    scores = torch.tensor([[-torch.inf, 1.0, 0.2, -0.5], [-torch.inf, 0.0, -1.0, 0.8]])
    rewards = torch.tensor([[0.0, 0.9, -0.4, 0.3], [0.0, -0.2, 0.7, -0.9]])
    observed = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0]])

    exact = scores.clone().requires_grad_()
    p = torch.softmax(exact, dim=1)
    (p * rewards).sum().backward()

    n = 200_000
    rows = torch.arange(2).repeat_interleave(n)
    with torch.no_grad():
        p = torch.softmax(scores, dim=1)
        q = (1 - share) * p + share * observed / observed.sum(1, keepdim=True)
        items = draw(q, rows, random_of(1))
        weighted = rewards[rows, items] * p[rows, items] / q[rows, items]
    estimate = scores.clone().requires_grad_()
    log_p = torch.log_softmax(estimate, dim=1)
    policy_value(log_p[rows, items], weighted, rows, 2).sum().backward()
    # The standard error of a mean of 200 thousand such terms is below 0.003.
    torch.testing.assert_close(estimate.grad[:, 1:], exact.grad[:, 1:], atol=0.01, rtol=0)


def test_items_are_drawn_as_often_as_they_should() -> None:
    p = torch.tensor([[0.0, 0.1, 0.0, 0.9], [0.0, 0.5, 0.25, 0.25]])
    rows = torch.arange(2).repeat_interleave(40_000)
    items = draw(p, rows, random_of(3))
    for row in range(2):
        shares = torch.bincount(items[rows == row], minlength=4) / 40_000
        torch.testing.assert_close(shares, p[row], atol=0.01, rtol=0)
    assert (p[rows, items] > 0).all()


def test_the_unknown_item_is_never_generated() -> None:
    player = Player(3, 5, 4)
    p = torch.softmax(player.of_all_items(torch.arange(3)), dim=1)
    assert (p[:, 0] == 0).all()
    assert (p[:, 1:] > 0).all()


def test_the_generator_turns_to_what_is_rewarded(liked_movies: tm.Dataset) -> None:
    chosen = liked_movies.histories.to_csr(len(liked_movies.items))
    torch.manual_seed(0)
    players = Players(*chosen.shape, 8)
    with torch.no_grad():
        # A discriminator that holds item 7 to be chosen by all, and no other by anybody.
        for weight in (players.discriminator.users.weight, players.discriminator.items.weight):
            weight.zero_()
        players.discriminator.biases.weight.fill_(-4.0)
        players.discriminator.biases.weight[7] = 4.0
    game = Game(players, chosen, IRGAN(factors=8, learning_rate=0.1, positive_share=0.0))
    users = np.arange(1, 65)

    def share() -> float:
        scores = players.generator.of_all_items(torch.arange(1, 65))
        return torch.softmax(scores, dim=1)[:, 7].mean().item()

    before = share()
    for step in range(30):
        game._train_generator(users, random_of(step))
    assert share() > 20 * before


def test_the_game_starts_from_pre_training(liked_movies: tm.Dataset) -> None:
    model = IRGAN(factors=8, pretraining_epochs=1, epochs=1, learning_rate=1e-9)
    longer = IRGAN(factors=8, pretraining_epochs=1, epochs=2, learning_rate=1e-9)
    first, second = (m.fit(liked_movies).vectors for m in (model, longer))
    np.testing.assert_allclose(first, second, atol=1e-5)
    assert len(longer.training.history) == 2
