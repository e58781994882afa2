"""The routes by which items come and go while a release is served."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends

from tastemap.errors import DataError
from tastemap.online.engine import Engine
from tastemap.online.events import ItemChange
from tastemap.online.newcomers import HeldItemError
from tastemap.online.questions import UnknownItemError
from tastemap.online.refusals import Refusal, require_json, unknown_item
from tastemap.online.routes import PathId
from tastemap.online.schemas.requests import ItemBatch
from tastemap.online.schemas.responses import Announced, Withdrawn

__all__ = ["stocking"]


def stocking(engine: Engine) -> APIRouter:
    """The routes, over the log and whatever release an engine serves."""
    router = APIRouter(tags=["items"])

    @router.post(
        "/items",
        dependencies=[Depends(require_json)],
    )
    def announce(items: Annotated[ItemBatch, Body()]) -> Announced:
        """Announces one new item or a list, durably before the answer.

        From then on all workers take events of it, and within seconds it gets its part of the
        places that are kept for new items, by what its attributes say of it. The next training
        takes up those that have events. Sent again, attributes replace those sent before. An item
        that the release holds is accepted without attributes alone, which brings back what was
        taken away; its attributes change with the release's item table. A list with one bad item
        is refused whole.
        """
        changes = [ItemChange(each.item, each.attributes) for each in items]
        engine.catch_up()
        newcomers = engine.serving.newcomers
        for index, change in enumerate(changes):
            try:
                newcomers.check(change)
            except HeldItemError as error:
                raise Refusal(409, ["body", index, "item"], str(error), "held_item") from None
            except DataError as error:
                of = () if error.column == "item" else ("attributes",)
                place = ("body", index, *of, error.column or "")
                raise Refusal(422, place, error.problem, "bad_attribute") from None
        engine.change_items(changes)
        return Announced(items=len(changes), new=sum(each.item in newcomers for each in changes))

    @router.delete("/items/{item:id}")
    def withdraw(item: PathId) -> Withdrawn:
        """Takes an item away, durably before the answer: it is in no answer of any worker any more,
        nor of any release to come, until it is posted again."""
        engine.catch_up()
        new = item in engine.serving.newcomers
        try:
            engine.serving.card(item)
        except UnknownItemError as error:
            raise unknown_item(error, "path", "item") from None
        engine.change_items([ItemChange(item, None)])
        return Withdrawn(item=item, new=new)

    return router
