"""What is remembered of masks."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from tastemap.data.masks import Remembered, constant, read_only


def test_what_cannot_change_is_looked_at_once() -> None:
    remembered, made = Remembered[int](3), count()
    mask = constant(np.ones(4, np.bool_))

    def of(mask: np.ndarray | None, *others: str) -> int:
        return remembered.of(mask, made.__next__, *others)

    assert [of(mask), of(mask), of(mask, "a"), of(None), of(mask, "a"), of(mask)] == [
        *(0, 0, 1, 2, 1, 0)
    ]
    assert of(mask.copy()) == 3 and of(mask) == 0  # as before, since the copy can be written to
    assert of(constant(mask.copy())) == 4  # what was not asked for the longest time is forgotten
    assert [of(mask), of(mask, "a"), of(None)] == [0, 1, 5]


def test_what_may_change_is_looked_at_each_time() -> None:
    remembered = Remembered[int](9)
    mask = np.zeros(6, np.bool_)
    for here in (mask, read_only(mask), read_only(mask)[1:]):
        mask[:] = False
        assert remembered.of(here, lambda here=here: int(here.sum())) == 0
        mask[3] = True
        assert remembered.of(here, lambda here=here: int(here.sum())) == 1


def test_a_mask_that_is_gone_is_taken_for_no_other() -> None:
    remembered = Remembered[int](2)
    for n in range(200):  # freed arrays give their place in memory to later ones
        mask = constant(np.arange(100) < n % 100)
        assert remembered.of(mask, lambda mask=mask: int(mask.sum())) == n % 100


def test_nobody_writes_to_what_is_constant() -> None:
    mask = np.zeros(3, np.bool_)
    view = read_only(mask)
    mask[0] = True
    assert view[0]
    for fixed in (view, constant(mask)):
        with pytest.raises(ValueError, match="read-only"):
            fixed[1] = True
