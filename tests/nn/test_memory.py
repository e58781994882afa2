"""Memories of sequences: against plain loops over events and slots, with their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemap.nn.memory import FeatureMemory, linear_recurrence, read_slots, recent_items
from tastemap.nn.packing import Packing

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=12)
STRENGTH = 1.7


@given(LENGTHS, st.integers(1, 6))
def test_the_last_items_are_kept_first_in_first_out(lengths: list[int], slots: int) -> None:
    packing = Packing.of(np.array(sorted(lengths, reverse=True)))
    items = torch.arange(1, len(packing.sequences) + 1)
    expected = []
    for sequence in items.split(packing.lengths.tolist()):
        memory = [0] * slots
        for item in sequence.tolist():
            memory = [item, *memory[:-1]]
            expected.append(memory)
    assert recent_items(items, packing, slots).tolist() == expected


def plain_read(memory: torch.Tensor, keys: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
    """q · p with p = Σ_k z_k m_k, for slots and keys [K, dim] and an item [dim]."""
    z = torch.exp(STRENGTH * torch.stack([key @ item for key in keys]))
    read = torch.zeros_like(item)
    for weight, slot in zip(z / z.sum(), memory, strict=True):
        read = read + weight * slot
    return read @ item


@pytest.mark.parametrize("own_items", [False, True])
def test_reading_equals_a_plain_loop(own_items: bool) -> None:
    torch.manual_seed(0)
    memory, items = torch.randn(5, 4, 3), torch.randn(*([5] if own_items else []), 6, 3)
    features = FeatureMemory(3, 4, STRENGTH)
    for t in range(5):
        for v in range(6):
            item = items[t, v] if own_items else items[v]
            torch.testing.assert_close(
                read_slots(memory, items, STRENGTH)[t, v], plain_read(memory[t], memory[t], item)
            )
            torch.testing.assert_close(
                features.read(memory, items)[t, v], plain_read(memory[t], features.keys, item)
            )


def plain_writing(features: FeatureMemory, events: torch.Tensor) -> list[torch.Tensor]:
    """The memory after each event of one sequence [m, dim], slot by slot."""
    memory = [torch.zeros_like(events[0]) for _ in features.keys]
    after = []
    for q in events:
        z = torch.exp(STRENGTH * torch.stack([key @ q for key in features.keys]))
        z = z / z.sum()
        erase = 1 / (1 + torch.exp(-(features.erase.weight @ q + features.erase.bias)))
        add = torch.tanh(features.add.weight @ q + features.add.bias)
        memory = [m * (1 - zk * erase) for m, zk in zip(memory, z, strict=True)]
        memory = [m + zk * add for m, zk in zip(memory, z, strict=True)]
        after.append(torch.stack(memory))
    return after


@settings(max_examples=20)
@given(LENGTHS)
def test_writing_equals_a_neural_turing_machine_and_so_do_its_gradients(lengths: list[int]) -> None:
    torch.manual_seed(1)
    features, packing = (
        FeatureMemory(3, 4, STRENGTH),
        Packing.of(np.array(sorted(lengths, reverse=True))),
    )
    events = torch.randn(len(packing.sequences), 3, requires_grad=True)
    fast = features(events, packing)
    parts = events.split(packing.lengths.tolist())
    slow = torch.stack([memory for part in parts for memory in plain_writing(features, part)])
    torch.testing.assert_close(fast, slow)
    inputs = [events, *features.parameters()]
    weights = torch.randn(fast.shape)
    fast_gradients = torch.autograd.grad((fast * weights).sum(), inputs)
    slow_gradients = torch.autograd.grad((slow * weights).sum(), inputs)
    torch.testing.assert_close(fast_gradients, slow_gradients, rtol=1e-4, atol=1e-5)


def test_the_gradients_by_hand_are_right() -> None:
    torch.manual_seed(2)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(linear_recurrence, (numbers(2, 5, 3), numbers(2, 5, 3)))
    assert torch.autograd.gradcheck(linear_recurrence, (numbers(2, 1, 3), numbers(2, 1, 3)))
    assert torch.autograd.gradcheck(
        lambda m, q: read_slots(m, q, STRENGTH), (numbers(3, 4, 2), numbers(5, 2))
    )


def certain(dim: int) -> FeatureMemory:
    """A memory whose slot k is found by the k-th unit vector alone, that erases all and adds
    nearly what comes."""
    features = FeatureMemory(dim, dim, strength=100.0)
    with torch.no_grad():
        features.keys.copy_(torch.eye(dim))
        features.erase.weight.zero_()
        features.erase.bias.fill_(100.0)
        features.add.weight.copy_(torch.eye(dim))
        features.add.bias.zero_()
    return features


def test_an_event_overwrites_its_slot_and_no_other() -> None:
    features, unit = certain(3), torch.eye(3)
    events = torch.stack([unit[0], unit[1], 2 * unit[0]])
    first, second, third = features(events, Packing.of(np.array([3]))).detach()
    torch.testing.assert_close(first[0], torch.tanh(unit[0]))
    torch.testing.assert_close(first[1:], torch.zeros(2, 3))
    torch.testing.assert_close(second[0], first[0])
    torch.testing.assert_close(
        third, torch.stack([torch.tanh(2 * unit[0]), second[1], 0 * unit[2]])
    )


def test_where_nothing_is_erased_all_is_added_up() -> None:
    features, unit = certain(3), torch.eye(3)
    with torch.no_grad():
        features.erase.bias.fill_(-100.0)
    events = torch.stack([unit[0], unit[0], unit[0]])
    last = features(events, Packing.of(np.array([3])))[-1].detach()
    torch.testing.assert_close(last[0], 3 * torch.tanh(unit[0]))
