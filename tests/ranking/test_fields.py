"""Vectors of features: means of lists, tables that sequences share, unknown values."""

from __future__ import annotations

import numpy as np
import torch

from tastemap.features.batch import FeatureBatch, Ragged
from tastemap.features.schema import Categorical, MultiValued, Numeric, Schema, Sequence
from tastemap.nn.numbers import ScaledNumbers
from tastemap.ranking.parts.fields import Fields, field_count
from tastemap.ranking.parts.inputs import Inputs, TableLayout
from tastemap.ranking.wide_deep import Crosses

SCHEMA = Schema(
    (
        Categorical("user", 3),
        Categorical("item", 5),
        MultiValued("genres", 4),
        Sequence("seen", "item"),
        Numeric("age"),
    )
)
BATCH = FeatureBatch(
    SCHEMA,
    np.array([[1, 4], [2, 0], [0, 1]], np.int64),
    np.array([[1.0], [np.nan], [2.0]], np.float32),
    (Ragged.of([[1, 3], [0], []]),),
    (Ragged.of([[4, 4, 1], [2, 0], []]),),
)


def made() -> Fields:
    torch.manual_seed(0)
    return Fields(SCHEMA, 2, ScaledNumbers(1, 2), deviation=1.0)


def test_each_feature_has_rows_of_its_own_in_one_table() -> None:
    layout = TableLayout.of(SCHEMA)
    assert layout.before == {"user": 0, "item": 2, "genres": 6, "seen": 2}
    assert layout.rows == 1 + 2 + 4 + 3


def test_lists_are_means_of_what_is_known_and_sequences_share_a_table() -> None:
    fields = made()
    vectors = fields(Inputs(BATCH, "cpu").batch(torch.arange(3))).detach()
    w = fields.table.weight.detach()
    assert vectors.shape == (3, field_count(SCHEMA), 2)
    zero = torch.zeros(2)
    expected = [
        [w[1], w[6], (w[7] + w[9]) / 2, (2 * w[6] + w[3]) / 3],
        [w[2], zero, zero, w[4]],
        [zero, w[3], zero, zero],
    ]
    for row, of_row in enumerate(expected):
        np.testing.assert_allclose(vectors[row, :4], torch.stack(of_row), atol=1e-6)
    assert torch.equal(vectors[1, 4], fields.numbers.missing[0].detach())


def test_batches_are_the_rows_asked_for() -> None:
    fields, inputs = made(), Inputs(BATCH, "cpu")
    whole = fields(inputs.batch(torch.arange(3)))
    some = fields(inputs.batch(torch.tensor([2, 0, 0])))
    assert torch.equal(some, whole[[2, 0, 0]])


def test_vectors_and_gradients_are_equal_however_they_are_made() -> None:
    compiled, of_torch = made(), made()
    of_torch.table.sparse = True
    batch = Inputs(BATCH, "cpu").batch(torch.tensor([2, 0, 1, 0]))
    pull = torch.randn(4, field_count(SCHEMA), 2)
    found = [fields(batch) for fields in (compiled, of_torch)]
    torch.testing.assert_close(*found)
    for vectors in found:
        (vectors * pull).sum().backward()
    names = [name for name, _ in compiled.named_parameters()]
    assert len(names) == 4
    for name in names:
        gradients = [fields.get_parameter(name).grad for fields in (compiled, of_torch)]
        torch.testing.assert_close(*(each.to_dense() for each in gradients if each is not None))


def test_the_unknown_row_never_learns() -> None:
    fields = made()
    optimizer = torch.optim.Adam(fields.parameters(), lr=0.1)
    for _ in range(3):
        fields(Inputs(BATCH, "cpu").batch(torch.arange(3))).square().sum().backward()
        optimizer.step()
    assert not fields.table.weight[0].detach().any()


def test_pairs_of_values_have_a_weight_and_unknown_ones_none() -> None:
    crosses = Crosses(SCHEMA, rows=1 << 16)
    with torch.no_grad():
        crosses.table.weight[1:] = 1
    rows = torch.tensor([[1, 6], [1, 0], [0, 6], [2, 6]])
    assert crosses(rows).tolist() == [1, 0, 0, 1]
    crosses(rows).sum().backward()
    gradient = crosses.table.weight.grad
    assert gradient is not None
    touched = gradient.coalesce().indices()[0].tolist()
    assert len([row for row in touched if row]) == 2


def test_no_two_pairs_of_few_values_meet() -> None:
    crosses = Crosses(SCHEMA, rows=1 << 16)
    torch.nn.init.normal_(crosses.table.weight)
    pairs = torch.tensor([[user, item] for user in (1, 2) for item in (3, 4, 5, 6)])
    assert len(set(crosses(pairs).tolist())) == 8
