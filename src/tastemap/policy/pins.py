"""Items that stand at a place of their own."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tastemap.data.dataset import Dataset
from tastemap.policy.lists import row_of_item
from tastemap.policy.rule import Rule

__all__ = ["Pin"]


class Pin(Rule):
    """An item stands at a place of the answer, whatever its score.

    Only where the other rules allow it and the query has not seen or hidden it. Where two rules pin
    to one place, the first has it and the second the next place; a place behind the end of a short
    answer is its last. Pins count towards caps, and one that a cap leaves no room for is left out.
    """

    kind: ClassVar[str] = "pin"

    item: str | int = Field(description="an item's id")
    place: int = Field(1, ge=1, le=10_000, description="a place of the answer, from 1 to 10,000")

    def on(self, data: Dataset) -> int:
        """The item's row.

        Raises:
            RuleError: there is no such item.
        """
        return row_of_item(data, self.item, "item")
