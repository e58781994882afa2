"""CFGAN: the masks of the paper, both of its bases, and how strangers are folded in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tastemap as tm
from tastemap.data.queries import Queries
from tastemap.retrieval.cfgan import CFGAN, Game, Players, with_some_unobserved


def test_masks_hold_what_was_observed_and_a_share_of_the_rest() -> None:
    observed = (torch.rand(200, 300, generator=torch.Generator().manual_seed(0)) < 0.1).float()
    random = torch.Generator().manual_seed(1)
    mask = with_some_unobserved(observed, 0.7, random)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert (mask[observed > 0] == 1).all()
    assert mask[observed == 0].mean().item() == pytest.approx(0.7, abs=0.01)
    assert not torch.equal(mask, with_some_unobserved(observed, 0.7, random))
    assert torch.equal(with_some_unobserved(observed, 0.0, random), observed)
    assert (with_some_unobserved(observed, 1.0, random) == 1).all()


def fitted_game(liked_movies: tm.Dataset, **settings: float) -> Game:
    rows = liked_movies.histories.to_csr(len(liked_movies.items))
    torch.manual_seed(0)
    model = CFGAN(batch_size=64, regularization=0.0, learning_rate=0.01, **settings)
    return Game(Players(rows.shape[1], 8, 8), rows, model)


def test_without_masking_the_discriminator_sees_only_what_was_observed(
    liked_movies: tm.Dataset,
) -> None:
    """So the generator's output elsewhere costs nothing but by zero reconstruction."""
    game = fitted_game(liked_movies, masking_ratio=0.0, zero_weight=0.0)
    real = next(game._batches(np.random.default_rng(0)))
    never = real.sum(0) == 0
    bias = game.network.generator[2].bias
    before = bias.detach().clone()
    for step in range(3):
        game._train_generator(real, torch.Generator().manual_seed(step))
    assert torch.equal(bias[never], before[never])
    assert not torch.equal(bias[~never], before[~never])


def test_zero_reconstruction_draws_the_unobserved_to_zero(liked_movies: tm.Dataset) -> None:
    outputs = []
    for weight in (0.0, 1.0):
        game = fitted_game(liked_movies, masking_ratio=0.0, zero_weight=weight, zero_ratio=1.0)
        real = next(game._batches(np.random.default_rng(0)))
        for step in range(60):
            game._train_generator(real, torch.Generator().manual_seed(step))
        with torch.no_grad():
            made = game.network.generator(real)
        outputs.append(made[real == 0].square().mean().item())
    assert outputs[1] < 0.2 * outputs[0]


def test_each_player_moves_alone(liked_movies: tm.Dataset) -> None:
    game = fitted_game(liked_movies)
    real = next(game._batches(np.random.default_rng(0)))
    random = torch.Generator().manual_seed(0)
    parts = {"generator": game.network.generator, "discriminator": game.network.discriminator}
    for moving, step in (
        ("generator", game._train_generator),
        ("discriminator", game._train_discriminator),
    ):
        before = {name: [p.clone() for p in part.parameters()] for name, part in parts.items()}
        step(real, random)
        for name, part in parts.items():
            pairs = zip(part.parameters(), before[name], strict=True)
            assert all(torch.equal(now, then) for now, then in pairs) == (name != moving)


@pytest.mark.parametrize("based_on", ["item", "user"])
def test_scores_are_the_generators_output(liked_movies: tm.Dataset, based_on: str) -> None:
    model = CFGAN(based_on=based_on, hidden=16, discriminator_hidden=8, epochs=1, batch_size=256)
    states = []
    install = CFGAN._set_vectors
    model._set_vectors = lambda state, rows: (  # type: ignore[method-assign]
        states.append(state),
        install(model, state, rows),
    )
    model.fit(liked_movies)
    players = Players(len(liked_movies.users if based_on == "item" else liked_movies.items), 16, 8)
    players.load_state_dict({name: torch.tensor(array) for name, array in states[-1].items()})
    matrix = torch.from_numpy(liked_movies.histories.to_csr(len(liked_movies.items)).toarray())
    with torch.no_grad():
        made = players.generator(matrix.T).T if based_on == "item" else players.generator(matrix)
    scores = model.score(model.data.queries(np.arange(1, 50)))
    np.testing.assert_allclose(scores[:, 1:], made[1:50, 1:], atol=1e-5)


def test_a_stranger_is_answered_as_a_known_user_of_that_history(liked_movies: tm.Dataset) -> None:
    data = liked_movies.filter(min_user_events=100)
    sizes = {"hidden": 32, "discriminator_hidden": 16, "batch_size": 64, "learning_rate": 0.01}
    model = CFGAN(
        based_on="item", **sizes, epochs=10, generator_steps=2, zero_weight=0.03, masking_ratio=0.7
    ).fit(data)
    rows = np.arange(1, len(data.users))
    learned = model.score(model.data.queries(rows))[:, 1:]
    folded = model.score(Queries.of(model.histories.take(rows)))[:, 1:]
    # What all are told alike says nothing of whose scores they are.
    learned, folded = learned - learned.mean(0), folded - folded.mean(0)
    same = [np.corrcoef(a, b)[0, 1] for a, b in zip(learned, folded, strict=True)]
    other = [np.corrcoef(a, b)[0, 1] for a, b in zip(learned, np.roll(folded, 1, 0), strict=True)]
    assert np.mean(same) > np.mean(other) + 0.2
