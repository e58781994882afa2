"""Answers that were made in advance at work: who gets them, and where they stand in."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import DataError
from tastemap.online.precomputed import Precomputed, Prepared, corrected
from tastemap.online.precomputed_file import PrecomputedFile
from tastemap.online.precomputed_redis import PrecomputedRedis
from tastemap.online.questions import Ask, Found, Question, Suggestion
from tastemap.online.serving import Serving
from tastemap.pipeline.stages import StageError, Stages

__all__ = ["LINK", "Hybrid", "open_precomputed"]

log = logging.getLogger("tastemap.online")

LINK = "precomputed"
"""What such an answer goes by, and the stage that looks for it."""


def open_precomputed(where: str) -> Precomputed:
    """What answers are looked up in.

    Args:
        where: a file of `tastemap batch`, or the address of a Redis that it wrote to.

    Raises:
        DataError: there is no such file, or it is damaged.
        ParameterError: the address makes no sense.
        MissingExtraError: the client of Redis is not installed.
    """
    return PrecomputedRedis(where) if "://" in where else PrecomputedFile(Path(where))


class Hybrid:
    """Answers made in advance for those of whom nothing new is known, and for bad times.

    A user who asks for no more than their recommendations, of whom the log tells nothing later than
    their answers were made, and whose answers are by the release that is served, gets them as they
    stand. Everybody else is answered live. Where rules are at work nobody gets them, since what
    these allow may have changed.

    Where the ranker, a retriever, or all fails, they stand in for what would be left, be they by
    another release or older than what the user did, which is left out.

    Args:
        precomputed: closed with this.
    """

    def __init__(self, precomputed: Precomputed) -> None:
        self._precomputed = precomputed
        self._problem = ""

    def renew(self) -> None:
        """Takes up what was put in place of what there was; called every few seconds."""
        try:
            now = self._precomputed.renewed()
        except DataError as error:
            if self._problem != str(error):
                log.error("answers made in advance stay those of before: %s", error)
            self._problem = str(error)
            return
        self._problem = ""
        if now is not self._precomputed:
            # What was open is closed when nobody looks at it any more.
            self._precomputed = now
            log.info("answers made in advance were taken up anew")

    def forget(self, user: str, releases: Sequence[str]) -> None:
        """Removes what some releases made for a user, where single users can be removed.

        Raises:
            UnavailableError: it cannot be reached; nothing is known to be removed.
        """
        self._precomputed.forget(user, releases)

    def close(self) -> None:
        """Gives back files and connections."""
        self._precomputed.close()

    def answer(
        self, serving: Serving, questions: Sequence[Question], stages: Stages
    ) -> list[Found | None]:
        """Answers to those for whom what was made in advance still holds, None to the others."""
        none: list[Found | None] = [None] * len(questions)
        if serving.pipeline.rules:
            return none

        def found() -> list[Found | None]:
            asked = self._asked(serving, questions)
            newest = serving.live.offsets([ask.user or "" for _, ask, _ in asked]).tolist()
            held = [
                each
                for each, offset in zip(asked, newest, strict=True)
                if each[2].release == serving.version and offset <= each[2].offset
            ]
            answers = list(none)
            for (place, ask, _), items in _suggested(serving, held, serving.newcomers.available):
                if len(items) == ask.k:
                    answers[place] = Found(items, LINK, serving.version)
            return answers

        try:
            return stages.run(LINK, found)
        except StageError:
            return none

    def stand_in(
        self, serving: Serving, questions: Sequence[Question], stages: Stages
    ) -> list[Found | None]:
        """Answers to those for whom anything was made in advance, without what the user did since
        and what is not to be shown to everybody, and with what is popular where that leaves too
        few; None to the others."""

        def found() -> list[Found | None]:
            answers: list[Found | None] = [None] * len(questions)
            asked = self._asked(serving, questions)
            for (place, ask, _), items in _suggested(serving, asked, serving.shown_to_anybody()):
                there = {one.card.item for one in items}
                more = [one for one in serving.popular(ask).items if one.card.item not in there]
                answers[place] = Found((items + more)[: ask.k], LINK, serving.version)
            return answers

        try:
            return stages.run(LINK, found)
        except StageError:
            return [None] * len(questions)

    def _asked(self, serving: Serving, questions: Sequence[Question]) -> list[_Asked]:
        """Those who ask for no more than their recommendations, and for whom there are any."""
        asks = [
            (place, ask)
            for place, ask in enumerate(questions)
            if isinstance(ask, Ask)
            and ask.user is not None
            and not (ask.history or ask.profile or ask.context or ask.tastes)
            and not serving.live.is_forgotten(ask.user)
        ]
        prepared = self._precomputed.find([ask.user or "" for _, ask in asks], serving.version)
        return [
            (place, ask, each)
            for (place, ask), each in zip(asks, prepared, strict=True)
            if each is not None
        ]


_Asked = tuple[int, Ask, Prepared]
"""The place of a question, and what was made for it in advance."""


def _suggested(
    serving: Serving, asked: Sequence[_Asked], among: NDArray[np.bool_] | None
) -> Iterator[tuple[_Asked, list[Suggestion]]]:
    """What may come of it now, for those who have a history; others are better told what is
    popular now."""
    if not asked:
        return
    known = serving.known([ask for _, ask, _ in asked])
    excluded = known.queries.excluded(exclude_seen=True)
    assert excluded is not None
    found = corrected(
        [prepared for _, _, prepared in asked],
        excluded,
        max(ask.k for _, ask, _ in asked),
        serving.pipeline.items,
        among,
    )
    for row, (each, link) in enumerate(zip(asked, known.links, strict=True)):
        if link == "history" and not known.stand_in[row]:
            yield each, serving.suggestions(found, row, each[1].k)
