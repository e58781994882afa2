"""Streaming frequencies: they converge, follow a change, and are those of the published loop."""

from __future__ import annotations

import numpy as np
import torch

from tastemap.sampling.streaming import StreamingFrequency


def stream(p: np.ndarray, steps: int, seed: int) -> list[torch.Tensor]:
    """Batches that hold item i + 1 with probability p_i."""
    drawn = np.random.default_rng(seed).random((steps, len(p))) < p
    return [torch.from_numpy(np.flatnonzero(row) + 1) for row in drawn]


def test_it_is_the_published_loop() -> None:
    frequencies = StreamingFrequency(1 << 16, hashes=1, rate=0.1, first_gap=5.0)
    items = torch.arange(1, 9)
    (place,) = frequencies._places(items)
    # Items of different slots, so that a slot is an item.
    slot = dict(zip(items.tolist(), place.tolist(), strict=True))
    assert len(set(slot.values())) == 8
    a, b = dict.fromkeys(items.tolist(), 0), dict.fromkeys(items.tolist(), 5.0)
    for step, batch in enumerate(stream(np.linspace(0.1, 0.9, 8), 300, seed=1), start=1):
        frequencies.update(batch)
        for item in batch.tolist():
            b[item] = 0.9 * b[item] + 0.1 * (step - a[item])
            a[item] = step
    expected = 1 / torch.tensor([b[item] for item in items.tolist()])
    torch.testing.assert_close(frequencies.probability(items), expected.clamp(max=1))


# The gap between two batches with an item of probability p has mean 1/p and variance (1 - p) / p²;
# an average with weights α (1 - α)^k of such gaps has α / (2 - α) of that.
def deviation_of_gap(p: np.ndarray, rate: float) -> np.ndarray:
    return np.sqrt((1 - p) / p**2 * rate / (2 - rate))


def surprise(frequencies: StreamingFrequency, p: np.ndarray) -> np.ndarray:
    items = torch.arange(1, len(p) + 1)
    gaps = 1 / frequencies.probability(items).numpy()
    return (gaps - 1 / p) / deviation_of_gap(p, frequencies.rate)


def test_it_converges_to_the_true_probabilities() -> None:
    p = np.geomspace(0.02, 0.5, 40)
    frequencies = StreamingFrequency(1 << 12, rate=0.02, first_gap=3.0)
    for batch in stream(p, 8000, seed=0):
        frequencies.update(batch)
    z = surprise(frequencies, p)
    assert np.abs(z).max() < 5
    # Not biased to one side: the mean of 40 has a deviation of about 0.16.
    assert abs(z.mean()) < 0.8


def test_it_follows_a_change() -> None:
    before, after = np.full(30, 0.05), np.full(30, 0.4)
    before[15:], after[15:] = 0.4, 0.05
    frequencies = StreamingFrequency(1 << 12, rate=0.05)
    for p, seed in ((before, 2), (after, 3)):
        for batch in stream(p, 5000, seed):
            frequencies.update(batch)
        assert np.abs(surprise(frequencies, p)).max() < 5


def test_more_hashes_keep_items_apart() -> None:
    """With few slots single hashes overestimate many frequencies; of several the least is taken."""
    p = np.full(60, 0.05)
    over = []
    for hashes in (1, 4):
        frequencies = StreamingFrequency(64, hashes=hashes, rate=0.02, first_gap=20.0)
        for batch in stream(p, 4000, seed=4):
            frequencies.update(batch)
        found = frequencies.probability(torch.arange(1, 61)).numpy()
        over.append((found > 0.08).sum())
    assert over[0] > 8
    assert over[1] < over[0] / 2


def test_repeats_and_slots_count_once_a_step() -> None:
    frequencies, once = (StreamingFrequency(1, hashes=1, rate=0.5, first_gap=4.0) for _ in range(2))
    frequencies.update(torch.tensor([1, 2, 2, 3]))
    once.update(torch.tensor([9]))
    assert frequencies.probability(torch.tensor([1])) == once.probability(torch.tensor([1]))
    # B = (4 + 1) / 2.
    assert once.probability(torch.tensor([5])).item() == np.float32(0.4)
