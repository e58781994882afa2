"""Optimizers of tables: equal to dense ones where they should be, and only touched rows change."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch.optim import Optimizer

from tastemap.errors import ParameterError
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.optimizers import RowwiseAdagrad, sparse_adam, sparse_sgd

ROWS, DIM = 40, 6
Make = Callable[[list[torch.Tensor]], Optimizer]


def tables(count: int = 2) -> list[EmbeddingTable]:
    torch.manual_seed(5)
    made = [EmbeddingTable(ROWS, DIM, sparse=not number) for number in range(count)]
    for table in made[1:]:
        table.load_state_dict(made[0].state_dict())
    return made


def step(table: EmbeddingTable, optimizer: Optimizer, seed: int, rows: torch.Tensor) -> None:
    """A step of least squares on some rows, which repeat."""
    wanted = torch.randn(len(rows), DIM, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    (table(rows) - wanted).square().sum().backward()
    optimizer.step()


def batch(seed: int, n: int = 12) -> torch.Tensor:
    return torch.randint(1, ROWS, (n,), generator=torch.Generator().manual_seed(seed))


MAKERS: dict[str, tuple[Make, Make]] = {
    "sgd": (lambda p: sparse_sgd(p, 0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
    "rowwise": (lambda p: RowwiseAdagrad(p, 0.1), lambda p: RowwiseAdagrad(p, 0.1)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_sparse_steps_equal_dense_ones(name: str) -> None:
    sparse, dense = tables()
    first, second = (
        make([table.weight]) for make, table in zip(MAKERS[name], (sparse, dense), strict=True)
    )
    for seed in range(20):
        step(sparse, first, seed, batch(seed))
        step(dense, second, seed, batch(seed))
    torch.testing.assert_close(sparse.weight, dense.weight)


def test_sparse_adam_equals_dense_adam_while_every_row_is_touched() -> None:
    sparse, dense = tables()
    first, second = sparse_adam([sparse.weight], 0.1), torch.optim.Adam([dense.weight], lr=0.1)
    everything = torch.arange(1, ROWS)
    for seed in range(20):
        step(sparse, first, seed, everything)
        step(dense, second, seed, everything)
    torch.testing.assert_close(sparse.weight, dense.weight)


@pytest.mark.parametrize("make", [sparse_adam, sparse_sgd, RowwiseAdagrad])
def test_only_rows_of_the_batch_change(make: Make) -> None:
    (table,) = tables(1)
    optimizer = make([table.weight])
    for seed in range(3):
        before, rows = table.weight.detach().clone(), batch(seed)
        step(table, optimizer, seed, rows)
        changed = (table.weight.detach() != before).any(1).nonzero()[:, 0]
        assert changed.tolist() == sorted(set(rows.tolist()))


def test_rowwise_adagrad_by_hand() -> None:
    (table,) = tables(1)
    weight, total = table.weight.detach().clone().double(), torch.full((ROWS,), 0.5).double()
    optimizer = RowwiseAdagrad([table.weight], 0.3, epsilon=1e-3, start=0.5)
    for seed in range(5):
        rows = batch(seed)
        wanted = torch.randn(len(rows), DIM, generator=torch.Generator().manual_seed(seed))
        gradient = torch.zeros(ROWS, DIM).double()
        for row, goal in zip(rows.tolist(), wanted, strict=True):
            gradient[row] += 2 * (weight[row] - goal)
        total += gradient.square().mean(1)
        weight -= 0.3 * gradient / (total.sqrt() + 1e-3)[:, None]
        step(table, optimizer, seed, rows)
    torch.testing.assert_close(table.weight.detach().double(), weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "numbers"), [(sparse_adam, 2 * ROWS * DIM), (RowwiseAdagrad, ROWS), (sparse_sgd, 0)]
)
def test_memory_of_the_state(make: Make, numbers: int) -> None:
    (table,) = tables(1)
    optimizer = make([table.weight])
    step(table, optimizer, 0, batch(0))
    held = [v for v in optimizer.state[table.weight].values() if isinstance(v, torch.Tensor)]
    assert sum(tensor.numel() for tensor in held) == numbers


def test_a_gradient_of_no_rows_changes_nothing() -> None:
    (table,) = tables(1)
    before, optimizer = table.weight.detach().clone(), RowwiseAdagrad([table.weight])
    table(torch.empty(0, dtype=torch.long)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(table.weight.detach(), before)


def test_state_survives_saving() -> None:
    first, second = tables()[0], tables()[0]
    optimizers = [RowwiseAdagrad([table.weight], 0.2) for table in (first, second)]
    step(first, optimizers[0], 0, batch(0))
    second.load_state_dict(first.state_dict())
    # torch shares the tensors of a state that is loaded.
    optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    for table, optimizer in zip((first, second), optimizers, strict=True):
        step(table, optimizer, 1, batch(0))
    torch.testing.assert_close(first.weight, second.weight)


def test_bad_arguments_are_named() -> None:
    (table,) = tables(1)
    for bad in ({"learning_rate": 0.0}, {"epsilon": 0.0}, {"start": -1.0}):
        with pytest.raises(ParameterError, match=next(iter(bad))):
            RowwiseAdagrad([table.weight], **bad)
    with pytest.raises(ParameterError, match="tables"):
        RowwiseAdagrad([torch.zeros(3)])
