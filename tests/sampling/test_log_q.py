"""Every sampler: exp(log_q) is the probability of a draw, by chi-square over many draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tastemap.data.histories import Histories
from tastemap.sampling.chosen import Chosen
from tastemap.sampling.hard import HardSampler
from tastemap.sampling.hierarchy import HierarchySampler, LowerLevelSampler
from tastemap.sampling.impressions import ImpressionSampler
from tastemap.sampling.in_batch import InBatchSampler
from tastemap.sampling.mixture import MixtureSampler
from tastemap.sampling.negatives import NegativeSampler
from tastemap.sampling.popularity import PopularitySampler
from tastemap.sampling.uniform import UniformSampler

N_USERS, N_ITEMS = 6, 15
# Above this a right sampler lies in all but one of a million runs; the seeds are fixed.
SURPRISE = 1e-6


def events(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Some 40 events of 5 users (user 0 has none) with levels 0 to 2; some pairs repeat."""
    rng = np.random.default_rng(seed)
    users = rng.integers(1, N_USERS, 40)
    items = np.minimum(rng.geometric(0.2, 40), N_ITEMS - 1)
    levels = rng.integers(0, 3, 40)
    users, items, levels = (torch.from_numpy(part) for part in (users, items, levels))
    return users, items, levels


def impressions() -> Histories:
    rng = np.random.default_rng(1)
    return Histories.from_lists(
        [[], *[rng.integers(0, N_ITEMS, 8) for _ in range(1, N_USERS - 1)], []]
    )


def scores(users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Fixed scores of pairs, some of them equal."""
    return ((users[:, None] * 7 + items * 5) % 9).float()


def uniform() -> UniformSampler:
    return UniformSampler(N_ITEMS, *events()[:2], attempts=60)


def popularity(exponent: float = 0.75) -> PopularitySampler:
    return PopularitySampler(N_ITEMS, *events()[:2], exponent=exponent, attempts=60)


def hierarchy() -> HierarchySampler:
    return HierarchySampler(uniform(), N_ITEMS, *events(), share=0.4)


def impressed() -> ImpressionSampler:
    return ImpressionSampler(N_ITEMS, *events()[:2], impressions())


SAMPLERS: dict[str, Callable[[], NegativeSampler]] = {
    "uniform": uniform,
    "popularity": popularity,
    "popularity^1": lambda: popularity(1.0),
    "popularity^-0.5": lambda: popularity(-0.5),
    "hard": lambda: HardSampler(uniform(), scores, pool=7, skipped_share=0.2),
    "hard, of a popular pool": lambda: HardSampler(popularity(), scores, pool=4),
    "lower levels": lambda: LowerLevelSampler(N_ITEMS, *events()),
    "hierarchy": hierarchy,
    "impressions": impressed,
    "mixture": lambda: MixtureSampler([uniform(), impressed(), popularity()], [2, 1, 1]),
    "mixture of mixtures": lambda: MixtureSampler([hierarchy(), impressed()], [0.5, 0.5]),
}

everywhere = pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)


def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """Some events, one pair of a user without events, and one whose positive was not chosen."""
    users, items, _ = events()
    more_users, more_items = torch.tensor([0, 3]), torch.tensor([2, 14])
    return torch.cat([users[:14], more_users]), torch.cat([items[:14], more_items])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chi_square(counts: np.ndarray, probabilities: np.ndarray) -> float:
    """The p-value of counts [k] under probabilities [k], with rare cells put together."""
    expected = counts.sum() * probabilities
    assert counts[probabilities == 0].sum() == 0
    rare = expected < 5
    seen = np.append(counts[~rare], counts[rare].sum())
    wanted = np.append(expected[~rare], expected[rare].sum())
    seen, wanted = seen[wanted > 0], wanted[wanted > 0]
    if len(wanted) < 2:
        return 1.0
    return float(stats.chi2.sf(((seen - wanted) ** 2 / wanted).sum(), len(wanted) - 1))


@everywhere
def test_log_q_is_the_probability_of_a_draw(make: Callable[[], NegativeSampler]) -> None:
    sampler, (users, positives) = make(), pairs()
    every = torch.arange(N_ITEMS).expand(len(users), -1)
    draws, n = 1500, 2
    again = users.repeat_interleave(draws), positives.repeat_interleave(draws)
    drawn = sampler.sample(*again, n, generator())
    torch.testing.assert_close(
        drawn.log_q, sampler.log_probability(*again, drawn.ids).masked_fill(~drawn.mask, 0)
    )
    success = sampler.success(users, positives)
    tested = 0
    for column in range(n):
        # A sampler whose draws differ says of column k what draw k does.
        probabilities = torch.stack(
            [
                sampler.log_probability(users, positives, every[:, [i] * n])[:, column]
                for i in range(N_ITEMS)
            ],
            1,
        )
        probabilities = probabilities.double().exp().numpy()
        for row in range(len(users)):
            here = slice(row * draws, (row + 1) * draws)
            mask = drawn.mask[here, column]
            assert bool(mask.all()) == (success[row] > 0) and bool(mask.any()) == (success[row] > 0)
            if success[row] == 0:
                assert probabilities[row].sum() == 0
                continue
            assert probabilities[row].sum() == pytest.approx(1, abs=1e-5)
            counts = np.bincount(drawn.ids[here, column], minlength=N_ITEMS)
            assert chi_square(counts, probabilities[row] / probabilities[row].sum()) > SURPRISE
            tested += 1
    assert tested > 6


def test_log_q_of_negatives_of_the_batch_is_the_probability_over_batches() -> None:
    users, items, _ = events()
    sampler, numbers = InBatchSampler(N_ITEMS, users, items), generator()
    probed, batches, n = users[:1], 3000, 3
    ids = torch.zeros((batches, n), dtype=torch.long)
    for number in range(batches):
        # The pair asked about, in a batch with others at random.
        rows = torch.cat([torch.zeros(1).long(), torch.randint(40, (12,), generator=numbers)])
        ids[number] = sampler.sample(users[rows], items[rows], n, numbers).ids[0]
    every = torch.arange(N_ITEMS)[None]
    probabilities = sampler.log_probability(probed, items[:1], every)[0].double().exp().numpy()
    found = ids[ids > 0]
    assert chi_square(np.bincount(found, minlength=N_ITEMS), probabilities) > SURPRISE
    success = float(sampler.success(probed, items[:1])[0])
    assert 0.1 < success < 0.9
    assert len(found) / ids.numel() == pytest.approx(success, abs=0.03)


def test_negatives_of_the_batch_are_other_rows_each_once() -> None:
    users = torch.arange(1, 6)
    sampler = InBatchSampler(9, users, users + 2)
    drawn = sampler.sample(users, users + 2, 10, generator())
    assert drawn.mask.sum(1).tolist() == [4] * 5
    for row, ids in enumerate(drawn.ids):
        assert sorted(ids[ids > 0].tolist()) == [i for i in range(3, 8) if i != row + 3]
    alone = sampler.sample(users[:1], users[:1] + 2, 3, generator())
    assert alone.ids.shape == (1, 3) and not alone.mask.any()


@everywhere
def test_what_was_chosen_is_never_drawn(make: Callable[[], NegativeSampler]) -> None:
    sampler, (users, positives) = make(), pairs()
    drawn = sampler.sample(users, positives, 3, generator(3))
    assert not drawn.ids[~drawn.mask].any() and not drawn.log_q[~drawn.mask].any()
    assert (drawn.ids != positives[:, None]).all()
    if not isinstance(sampler, (LowerLevelSampler, HierarchySampler, MixtureSampler)):
        hit = Chosen(N_ITEMS, *events()[:2]).contains(users[:, None], drawn.ids)
        assert not hit.any()


@everywhere
def test_one_seed_gives_the_same_negatives(make: Callable[[], NegativeSampler]) -> None:
    first, second, other = (make().sample(*pairs(), 3, generator(s)) for s in (1, 1, 2))
    assert torch.equal(first.ids, second.ids) and torch.equal(first.log_q, second.log_q)
    assert not torch.equal(first.ids, other.ids)


def test_lower_levels_are_lower() -> None:
    users, items = torch.tensor([1, 1, 1, 1, 1]), torch.tensor([2, 3, 4, 5, 3])
    sampler = LowerLevelSampler(9, users, items, torch.tensor([0, 0, 1, 2, 2]))
    drawn = sampler.sample(
        torch.ones(4, dtype=torch.long), torch.tensor([2, 4, 3, 8]), 40, generator()
    )
    # 3 was bought in the end, though first only seen.
    assert [set(ids.tolist()) for ids in drawn.ids] == [{0}, {2}, {2, 4}, {0}]


def test_hard_negatives_are_the_highest_past_what_is_skipped() -> None:
    nothing = torch.tensor([], dtype=torch.long)
    base = UniformSampler(200, nothing, nothing)
    sampler = HardSampler(base, lambda users, items: items.float(), pool=50, skipped_share=0.1)
    ids, mask = sampler.draw(
        torch.ones(300, dtype=torch.long), torch.ones(300, dtype=torch.long), 3, generator()
    )
    assert mask.all() and (ids.diff(dim=1) <= 0).all()
    # Place 5 of 50 uniform draws from 2 … 199: about 1 - 6/51 of the way.
    assert ids[:, 0].double().mean() == pytest.approx(2 + 198 * (1 - 6 / 51), abs=3)
    with pytest.raises(ValueError, match="does not hold 46"):
        sampler.draw(nothing, nothing, 46, generator())
    with pytest.raises(ValueError, match="skipped_share"):
        HardSampler(base, scores, skipped_share=1.0)


def test_weights_of_a_mixture_are_checked() -> None:
    for weights in ([1.0], [1.0, -1.0], [0.0, 0.0]):
        with pytest.raises(ValueError, match="weights"):
            MixtureSampler([uniform(), popularity()], weights)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), max_size=30),
    st.tuples(st.integers(0, 7), st.integers(0, 8)),
)
def test_the_lookup_of_chosen_items(listed: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    users, items = (torch.tensor([pair[k] for pair in listed], dtype=torch.long) for k in (0, 1))
    chosen = Chosen(9, users, items)
    known = sorted({pair for pair in listed if pair[1] > 0})
    user, item = torch.tensor([asked[0]]), torch.tensor([asked[1]])
    assert bool(chosen.contains(user, item)) == (asked in known)
    first, count = (int(part) for part in chosen.segment(user))
    assert chosen.items[first : first + count].tolist() == [i for u, i in known if u == asked[0]]
    sums = chosen.sums(torch.arange(9).double())
    assert sums.tolist() == [sum(i for u, i in known if u == v) for v in range(len(sums))]
