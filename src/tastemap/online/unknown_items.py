"""Items of histories in requests that nobody knows: left out of an answer, and named in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tastemap.online.questions import Ask, Found, Question
from tastemap.online.serving import Serving

__all__ = ["naming_unknown"]


def naming_unknown(
    serving: Serving, questions: Sequence[Question], answers: Sequence[Found | Exception]
) -> list[Found | Exception]:
    """Answers, whoever made them and when, that say which items of the histories in their questions
    they were made without: those that the release does not hold and that were not announced."""
    named = list(answers)
    for place, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        if isinstance(question, Ask) and question.history and isinstance(answer, Found):
            rows = serving.pipeline.items.rows(question.history)
            missing = [question.history[each] for each in np.flatnonzero(rows == 0).tolist()]
            unknown = [item for item in dict.fromkeys(missing) if item not in serving.newcomers]
            if unknown:
                named[place] = replace(answer, unknown=tuple(unknown))
    return named
