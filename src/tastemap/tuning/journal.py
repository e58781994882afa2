"""What a search has found so far, in a file that outlives it."""

from __future__ import annotations

import fcntl
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tastemap.errors import MissingExtraError, ParameterError
from tastemap.tuning.measuring import Measured

if TYPE_CHECKING:
    import optuna

__all__ = ["Journal", "Trial", "locked"]

_FILE, _LOCK = "journal.log", ".lock"
_SEARCH, _CHECKS = "search", "checks"

State = Literal["measured", "pruned", "failed", "interrupted"]


@dataclass(frozen=True)
class Trial:
    """One point of a search.

    Attributes:
        number: from 0, in order of their beginning.
        state: "measured"; "pruned", ended early since it did not promise much; "failed", it could
            not be trained; or "interrupted" together with the search.
        settings: the model's hyper-parameters that were searched over.
        measured: what was found, or None where it did not come to that.
        course: the metric that the model goes by, after each epoch.
        problem: why it failed, or "".
    """

    number: int
    state: State
    settings: dict[str, Any]
    measured: Measured | None
    course: list[float]
    problem: str


class Journal:
    """The trials of a search and the measurements made after it, in memory or in a folder.

    Only one process opens a folder at a time. What is in it is Optuna's journal file, two studies
    named "search" and "checks".

    Args:
        folder: made if need be; None for memory.
        about: what the search is about; a folder with another search is refused.
        higher_is_better: of the metric.
        anew: begin again, whatever the folder holds.

    Raises:
        MissingExtraError: Optuna is not installed.
        ParameterError: the folder holds another search, or is being searched into.
    """

    def __init__(
        self, folder: Path | None, about: Mapping[str, Any], higher_is_better: bool, anew: bool
    ) -> None:
        tools = _optuna()
        storage = None
        if folder is not None:
            file = folder / _FILE
            if anew:
                file.unlink(missing_ok=True)
            backend = tools.storages.journal.JournalFileBackend(str(file))
            storage = tools.storages.JournalStorage(backend)

        def study(name: str) -> optuna.Study:
            made: optuna.Study = tools.create_study(
                storage=storage,
                study_name=name,
                direction="maximize" if higher_is_better else "minimize",
                load_if_exists=True,
            )
            return made

        self.search, self._checks = study(_SEARCH), study(_CHECKS)
        # Through JSON, as it will come back.
        described = json.loads(json.dumps(about))
        _refuse_another(self.search.user_attrs.get("about"), described, folder)
        self.search.set_user_attr("about", described)
        for trial in self.search.get_trials(states=[tools.trial.TrialState.RUNNING]):
            # Of a process that was killed: nobody else can be at work here.
            self.search.tell(trial.number, state=tools.trial.TrialState.FAIL)

    def trials(self) -> list[Trial]:
        """All trials that have begun and ended."""
        return [_read(trial) for trial in self.search.trials if trial.state.is_finished()]

    def check(self, settings: Mapping[str, Any], on_train: bool) -> Measured | None:
        """What was measured of these settings after the search, if it was."""
        for trial in reversed(self._checks.get_trials(deepcopy=False)):
            found = Measured(**trial.user_attrs["measured"])
            if trial.user_attrs["settings"] == dict(settings) and (
                found.training is not None or not on_train
            ):
                return found
        return None

    def add_check(self, settings: Mapping[str, Any], measured: Measured) -> None:
        """Keeps what was measured of these settings."""
        attributes = {"settings": dict(settings), "measured": asdict(measured)}
        made = _optuna().trial.create_trial(value=measured.validation, user_attrs=attributes)
        self._checks.add_trial(made)


@contextmanager
def locked(folder: Path | None) -> Iterator[None]:
    """Keeps other searches out of a folder, which is made if need be.

    Raises:
        ParameterError: another one is at work there.
    """
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    # The kernel drops the lock when its holder ends, however it ends.
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ParameterError(f"{folder}: another search is at work in this folder") from None
        yield


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise MissingExtraError("the search needs Optuna: pip install 'tastemap[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # The journal file and multivariate TPE were called experimental in some versions.
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def _refuse_another(
    known: Mapping[str, Any] | None, asked: Mapping[str, Any], folder: Path | None
) -> None:
    differing = [name for name in asked if known is not None and known.get(name) != asked[name]]
    if differing and known is not None:
        name = differing[0]
        raise ParameterError(
            f"{folder} holds another search: its {name} is {known.get(name)!r}, not "
            f"{asked[name]!r}. Name another folder, or begin anew in this one (--anew)"
        )


def _read(trial: optuna.trial.FrozenTrial) -> Trial:
    said = trial.user_attrs
    state: State = "interrupted"
    if "problem" in said:
        state = "failed"
    elif "measured" in said:
        state = "measured"
    elif trial.state.name == "PRUNED":
        state = "pruned"
    return Trial(
        trial.number,
        state,
        dict(said.get("settings", {})),
        Measured(**said["measured"]) if "measured" in said else None,
        [value for _, value in sorted(trial.intermediate_values.items())],
        said.get("problem", ""),
    )
