"""What is measured after the trials: the best settings again, and the curve over the depth."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from tastemap.errors import ParameterError
from tastemap.retrieval.base import Retriever
from tastemap.tuning.journal import Trial
from tastemap.tuning.measuring import Measured
from tastemap.tuning.search import Search
from tastemap.tuning.study import DEFAULTS, Check, settings_of

__all__ = ["After", "depth_field"]

# How models call the length of their vectors.
_DEPTH_FIELDS = ("factors", "embedding_dim", "latent_dim", "latent", "hidden", "hidden_units")
# The curve goes on to twice the length so often, while the longest is the best.
_DOUBLINGS = 2

Settings = Mapping[str, Any]


def depth_field(model: type[Retriever]) -> str | None:
    """The hyper-parameter that is the length of the model's vectors, if it has one."""
    declared = model.hyperparameters()
    return next((name for name in _DEPTH_FIELDS if name in declared), None)


@dataclass(frozen=True)
class After:
    """Fits without early stopping, as long as there is time.

    Attributes:
        model: the class.
        fixed: hyper-parameters that were given.
        defaults: all hyper-parameters, of the class but for those.
        search: what measures and keeps.
        deadline: `time.monotonic()` after which nothing is begun and epochs end, or None.
        jobs: fits at a time.
        seeds: fits of the same settings.
    """

    model: type[Retriever]
    fixed: Settings
    defaults: Settings
    search: Search
    deadline: float | None
    jobs: int
    seeds: int

    def checks(self, best: Trial) -> list[Check]:
        """The best trial and the defaults again; [] where there was no time for the former."""
        epochs = None if best.measured is None else best.measured.epochs
        asked = {"best": settings_of(self.model, self.fixed, best, epochs)}
        every_epoch = settings_of(self.model, self.fixed, best, None)
        if every_epoch != asked["best"]:
            # A step size that falls over the epochs is not at its end where training was stopped.
            asked["best, all epochs"] = every_epoch
        checks = self._with_seeds({**asked, DEFAULTS: dict(self.defaults)})
        return checks if any(check.name != DEFAULTS for check in checks) else []

    def curve(self, field: str, depths: Sequence[int] | None, chosen: Check) -> dict[int, Measured]:
        """Train and validation quality by the length of the vectors.

        Without lengths, those around the chosen one, and on as long as the longest is the best.
        """
        if depths is not None:
            return self._lengths(field, depths, chosen)
        curve = self._lengths(field, self._around(field, chosen), chosen)
        for _ in range(_DOUBLINGS):
            longer = 2 * max(curve, default=0)
            if not curve or self._best(curve) != max(curve) or not self._allows(field, longer):
                break
            curve |= self._lengths(field, [longer], chosen)
        return curve

    def better_depth(self, field: str, curve: Mapping[int, Measured], chosen: Check) -> list[Check]:
        """The best settings with a length of the space that the curve shows to be better, if one
        is."""
        space, sign = self.search.space, self._sign
        if field not in space:
            return []
        within = {depth: measured for depth, measured in curve.items() if depth in space[field]}
        if not within:
            return []
        depth = self._best(within)
        if sign * within[depth].validation <= sign * chosen.value:
            return []
        return self._with_seeds({f"best, {field} {depth}": {**chosen.settings, field: depth}})

    @property
    def _sign(self) -> int:
        return 1 if self.search.higher_is_better else -1

    def _best(self, curve: Mapping[int, Measured]) -> int:
        return max(curve, key=lambda depth: self._sign * curve[depth].validation)

    def _allows(self, field: str, depth: int) -> bool:
        try:
            self.model(**{**self.fixed, field: depth})
        except ParameterError:
            return False
        return True

    def _around(self, field: str, chosen: Check) -> list[int]:
        """Powers of two from a sixteenth to twice the length found, and that itself."""
        found = int(chosen.settings[field])
        nearest = round(np.log2(max(found, 1)))
        tried = {2**power for power in range(max(nearest - 4, 0), nearest + 2)} - {2**nearest}
        return sorted(depth for depth in tried | {found} if self._allows(field, depth))

    def _lengths(self, field: str, depths: Sequence[int], chosen: Check) -> dict[int, Measured]:
        plan = [(f"{field} {depth}", {**chosen.settings, field: depth}) for depth in depths]
        found = self._each(f"by {field}", plan, on_train=True)
        return {depth: m for depth, m in zip(depths, found, strict=True) if m is not None}

    def _with_seeds(self, asked: Mapping[str, Settings]) -> list[Check]:
        plan = [
            (name, settings, n)
            for name, settings in asked.items()
            for n in range(self.seeds if "seed" in settings else 1)
        ]
        steps = [
            (f"{name}, seed + {n}", {**settings, "seed": settings["seed"] + n})
            if n
            else (name, settings)
            for name, settings, n in plan
        ]
        found = list(zip(plan, self._each("again", steps, on_train=False), strict=True))
        measured = {name: [m for (of, _, _), m in found if of == name and m] for name in asked}
        return [Check(name, asked[name], each) for name, each in measured.items() if each]

    def _each(
        self, what: str, plan: Sequence[tuple[str, Settings]], on_train: bool
    ) -> list[Measured | None]:
        self.search.board.begin(what, len(plan))

        def measure(step: tuple[str, Settings]) -> Measured | None:
            late = self.deadline is not None and time.monotonic() >= self.deadline
            if late or self.search.stop.is_set():
                return None
            return self.search.check(*step, on_train, self.deadline)

        if self.jobs == 1:
            return [measure(step) for step in plan]
        with ThreadPoolExecutor(self.jobs) as threads:
            return list(threads.map(measure, plan))
