"""Packed sequences: nothing depends on how they are batched, and nothing on the future."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tastemap.nn.attention import BidirectionalSelfAttention, CausalSelfAttention, SelfAttention
from tastemap.nn.blocks import GatedBlock, PostNormBlock, PreNormBlock
from tastemap.nn.feed_forward import FeedForward, GatedFeedForward
from tastemap.nn.packing import Packing
from tastemap.nn.positions import LearnedPositions, RotaryPositions

DIM, HEADS, HEAD_DIM, PLACES = 8, 2, 6, 40
LENGTHS = st.lists(st.integers(1, PLACES), min_size=1, max_size=30).map(
    lambda lengths: sorted(lengths, reverse=True)
)


def block(
    kind: type[nn.Module],
    feed_forward: type[nn.Module],
    rotary: bool,
    attends: type[SelfAttention] = CausalSelfAttention,
) -> nn.Module:
    torch.manual_seed(3)
    turned = RotaryPositions(PLACES, HEAD_DIM) if rotary else None
    attention = attends(DIM, HEADS, HEAD_DIM, turned)
    return kind(DIM, attention, feed_forward(DIM, 2 * DIM, 0.0), 0.0)


BLOCKS = [
    block(PreNormBlock, FeedForward, rotary=False),
    block(PostNormBlock, FeedForward, rotary=False),
    block(GatedBlock, GatedFeedForward, rotary=True),
]
BOTH_WAYS = block(PostNormBlock, FeedForward, rotary=True, attends=BidirectionalSelfAttention)


@given(LENGTHS)
def test_padding_and_packing_are_inverse(lengths: list[int]) -> None:
    packing = Packing.of(np.array(lengths))
    x = torch.randn(sum(lengths), 3).requires_grad_()
    rows = packing.pad(x)
    torch.testing.assert_close(packing.pack(rows), x)
    assert sum(len(part) for part in rows) == len(packing) == len(lengths)
    alone = [row for part in rows for row in part]
    for row, sequence in zip(alone, x.split(lengths), strict=True):
        torch.testing.assert_close(row[: len(sequence)], sequence)
        assert not row[len(sequence) :].any()
    outer = torch.randn_like(x)
    (gradient,) = torch.autograd.grad(packing.pack(rows), x, outer)
    torch.testing.assert_close(gradient, outer)


@given(LENGTHS)
def test_a_packing_says_where_all_stands(lengths: list[int]) -> None:
    packing = Packing.of(np.array(lengths))
    assert packing.places.tolist() == [place for n in lengths for place in range(n)]
    assert packing.sequences.tolist() == [i for i, n in enumerate(lengths) for _ in range(n)]
    assert packing.later.tolist() == [place for n in lengths for place in reversed(range(n))]
    assert packing.last.tolist() == (np.cumsum(lengths) - 1).tolist()
    assert len(packing.buckets) <= 8


@pytest.mark.parametrize("lengths", [[2, 3], [2, 0], [-1]])
def test_lengths_that_are_none_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="longest first"):
        Packing.of(np.array(lengths))


@pytest.mark.parametrize("layer", [*BLOCKS, BOTH_WAYS], ids=lambda layer: type(layer).__name__)
@given(lengths=LENGTHS)
def test_packed_sequences_are_encoded_as_one_by_one(layer: nn.Module, lengths: list[int]) -> None:
    x = torch.randn(sum(lengths), DIM, generator=torch.Generator().manual_seed(1))
    x.requires_grad_()
    together = layer(x, Packing.of(np.array(lengths)))
    alone = torch.cat([layer(part, Packing.of(np.array([len(part)]))) for part in x.split(lengths)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    outer = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        torch.autograd.grad(together, x, outer)[0],
        torch.autograd.grad(alone, x, outer)[0],
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("layer", BLOCKS, ids=lambda layer: type(layer).__name__)
@given(lengths=LENGTHS, data=st.data())
def test_a_later_event_changes_no_earlier_position(
    layer: nn.Module, lengths: list[int], data: st.DataObject
) -> None:
    packing = Packing.of(np.array(lengths))
    x = torch.randn(sum(lengths), DIM)
    event = data.draw(st.integers(0, len(x) - 1))
    changed = x.clone()
    changed[event] += 1.0
    moved = (layer(changed, packing) - layer(x, packing)).abs().amax(1) > 1e-6
    later = packing.places >= packing.places[event]
    assert moved[event]
    assert not moved[~(later & (packing.sequences == packing.sequences[event]))].any()


@given(lengths=LENGTHS, data=st.data())
def test_both_ways_an_event_changes_its_own_sequence_alone(
    lengths: list[int], data: st.DataObject
) -> None:
    packing = Packing.of(np.array(lengths))
    x = torch.randn(sum(lengths), DIM, generator=torch.Generator().manual_seed(1))
    event = data.draw(st.integers(0, len(x) - 1))
    changed = x.clone()
    # Not by the same everywhere, which a norm would take away.
    changed[event] += torch.arange(DIM)
    moved = (BOTH_WAYS(changed, packing) - BOTH_WAYS(x, packing)).abs().amax(1) > 1e-6
    assert torch.equal(moved, packing.sequences == packing.sequences[event])


@pytest.mark.parametrize(
    ("attends", "hidden"),
    [
        (CausalSelfAttention, torch.ones(5, 5).triu(1)),
        (BidirectionalSelfAttention, torch.zeros(5, 5)),
    ],
)
def test_attention_is_the_formula(attends: type[SelfAttention], hidden: torch.Tensor) -> None:
    torch.manual_seed(0)
    layer, x = attends(DIM, HEADS, HEAD_DIM), torch.randn(5, DIM)
    q, k, v = layer.queries_keys_values(x).view(5, 3, HEADS, -1).unbind(1)
    scores = torch.einsum("ihd,jhd->hij", q, k) / HEAD_DIM**0.5
    scores = scores.masked_fill(hidden.bool(), -torch.inf)
    expected = layer.output(torch.einsum("hij,jhd->ihd", scores.softmax(-1), v).flatten(1))
    torch.testing.assert_close(layer(x, Packing.of(np.array([5]))), expected)


def test_turned_products_depend_on_the_distance_alone() -> None:
    rotary = RotaryPositions(50, 6)
    q, k = torch.randn(2, 1, 1, 6).unbind(0)

    def product(i: int, j: int) -> float:
        turned = [rotary(x, torch.tensor([place])) for x, place in ((q, i), (k, j))]
        return float((turned[0] * turned[1]).sum())

    assert product(3, 1) == pytest.approx(product(44, 42), abs=1e-4)
    assert product(0, 0) == pytest.approx(float((q * k).sum()), abs=1e-5)
    assert product(3, 1) != pytest.approx(product(3, 2), abs=1e-3)


def test_learned_positions_are_added_by_place() -> None:
    positions, x = LearnedPositions(4, DIM), torch.zeros(3, DIM)
    found = positions(x, torch.tensor([0, 3, 0]))
    torch.testing.assert_close(found, positions.weight[[0, 3, 0]])


def test_dimensions_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        RotaryPositions(9, 3)
