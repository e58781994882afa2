"""The uniform sampler: what it draws, how often, and what it says about it."""

from __future__ import annotations

import math

import pytest
import torch

from tastemap.sampling.uniform import UniformSampler

N_ITEMS = 11


@pytest.fixture
def sampler() -> UniformSampler:
    """User 1 has chosen 2, 3 and (twice) 9, user 2 everything, user 3 an unknown item."""
    users = torch.tensor([1, 1, 1, 1, *[2] * 10, 3])
    items = torch.tensor([2, 3, 9, 9, *range(1, 11), 0])
    return UniformSampler(N_ITEMS, users, items)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_chosen_items_are_never_drawn_and_the_others_alike(sampler: UniformSampler) -> None:
    drawn = sampler.sample(torch.full((700,), 1), 10, generator())
    assert drawn.mask.all()
    counts = torch.bincount(drawn.ids.flatten(), minlength=N_ITEMS)
    assert counts[[0, 2, 3, 9]].sum() == 0
    others = counts[[1, 4, 5, 6, 7, 8, 10]]
    # Each 1000 times; the standard deviation is about 29.
    assert (others - 1000).abs().max() < 130


def test_log_q_is_the_probability_of_one_draw(sampler: UniformSampler) -> None:
    drawn = sampler.sample(torch.tensor([1, 3, 7]), 2, generator())
    expected = [[-math.log(7)] * 2, [-math.log(10)] * 2, [-math.log(10)] * 2]
    torch.testing.assert_close(drawn.log_q, torch.tensor(expected))


def test_who_has_chosen_everything_has_no_negatives(sampler: UniformSampler) -> None:
    drawn = sampler.sample(torch.tensor([2, 1]), 4, generator())
    assert not drawn.mask[0].any() and not drawn.ids[0].any()
    assert drawn.mask[1].all()
    assert torch.isfinite(drawn.log_q).all()


def test_one_seed_gives_the_same_negatives(sampler: UniformSampler) -> None:
    users = torch.ones(50, dtype=torch.long)
    first, second, other = (sampler.sample(users, 3, generator(s)).ids for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_without_events_and_without_items() -> None:
    nothing = torch.tensor([], dtype=torch.long)
    assert UniformSampler(5, nothing, nothing).sample(torch.tensor([1]), 8, generator()).mask.all()
    assert (
        not UniformSampler(1, nothing, nothing).sample(torch.tensor([1]), 8, generator()).mask.any()
    )
