"""The uniform sampler: what it draws, how often, and what it says about it."""

from __future__ import annotations

import math

import pytest
import torch

from tastemap.sampling.uniform import Negatives, UniformSampler

N_ITEMS = 11


@pytest.fixture
def sampler() -> UniformSampler:
    """User 1 has chosen 2, 3 and (twice) 9, user 2 everything, user 3 an unknown item."""
    users = torch.tensor([1, 1, 1, 1, *[2] * 10, 3])
    items = torch.tensor([2, 3, 9, 9, *range(1, 11), 0])
    return UniformSampler(N_ITEMS, users, items)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_log_q_is_the_probability_of_one_draw(sampler: UniformSampler) -> None:
    users, positives = torch.tensor([1, 3, 7, 7]), torch.tensor([2, 0, 0, 4])
    drawn = sampler.sample(users, positives, 2, generator())
    # User 7 has chosen nothing but what is the positive of the last row.
    expected = [[-math.log(7)] * 2, [-math.log(10)] * 2, [-math.log(10)] * 2, [-math.log(9)] * 2]
    torch.testing.assert_close(drawn.log_q, torch.tensor(expected))


def test_who_has_chosen_everything_has_no_negatives(sampler: UniformSampler) -> None:
    drawn = sampler.sample(torch.tensor([2, 1]), torch.tensor([1, 2]), 4, generator())
    assert not drawn.mask[0].any() and not drawn.ids[0].any() and not drawn.log_q[0].any()
    assert drawn.mask[1].all()
    assert torch.isfinite(drawn.log_q).all()


def test_who_has_chosen_almost_everything_has_the_rest() -> None:
    users, items = torch.ones(98, dtype=torch.long), torch.arange(1, 99)
    sampler = UniformSampler(101, users, items, attempts=400)
    drawn = sampler.sample(torch.tensor([1]), torch.tensor([5]), 50, generator())
    assert set(drawn.ids[0].tolist()) == {99, 100}
    torch.testing.assert_close(drawn.log_q, torch.full((1, 50), -math.log(2)))


def test_one_seed_gives_the_same_negatives(sampler: UniformSampler) -> None:
    users = torch.ones(50, dtype=torch.long)
    first, second, other = (sampler.sample(users, users, 3, generator(s)).ids for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_without_events_and_without_items() -> None:
    nothing, user = torch.tensor([], dtype=torch.long), torch.tensor([1])
    drawn: Negatives = UniformSampler(5, nothing, nothing).sample(user, user, 8, generator())
    assert drawn.mask.all() and (drawn.ids > 1).all()
    assert not UniformSampler(1, nothing, nothing).sample(user, user * 0, 8, generator()).mask.any()
