"""`tastemap.load`: a saved model, a saved pipeline, or the release that a store serves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemap.errors import ReleaseError
from tastemap.release.restoring import restore
from tastemap.release.store import ReleaseStore
from tastemap.release.versions import names_content, version_of
from tastemap.storage import read_directory

if TYPE_CHECKING:
    from tastemap.pipeline.pipeline import Pipeline

__all__ = ["Loaded", "load", "load_release"]


@dataclass(frozen=True)
class Loaded:
    """What was loaded, and its version.

    Attributes:
        object: the model or pipeline.
        version: of the release; a directory outside a store has one as well, made the same way.
        path: the directory it was read from.
    """

    object: Any
    version: str
    path: Path

    def pipeline(self) -> Pipeline:
        """What was loaded as what can be served; a lone model is a pipeline of one.

        Raises:
            ReleaseError: it is a ranker or an index, which recommend nothing by themselves.
        """
        from tastemap.pipeline.pipeline import Pipeline
        from tastemap.retrieval.base import Retriever

        found = Pipeline([self.object]) if isinstance(self.object, Retriever) else self.object
        if not isinstance(found, Pipeline):
            raise ReleaseError(
                f"{self.path} holds a {type(found).__name__}; only models and pipelines can be "
                "served"
            )
        return found


def load(path: str | Path, version: str | None = None) -> Any:
    """Load a saved model or pipeline; every file is checked before it is used.

    Args:
        path: the directory of a saved model or pipeline, or a release store.
        version: which release of a store; None for the one served.

    Raises:
        ReleaseError: nothing to load at `path`, or it is damaged or of a newer format.
    """
    return load_release(path, version).object


def load_release(path: str | Path, version: str | None = None) -> Loaded:
    """As `load`, with the version of what was loaded.

    Raises:
        ReleaseError: nothing to load at `path`, or it is damaged or of a newer format.
    """
    path = Path(path)
    if ReleaseStore.is_store(path):
        store = ReleaseStore(path)
        return _load_current(store) if version is None else _load_version(store, version)
    if version is not None:
        raise ReleaseError(f"{path} is not a release store, so it holds no release {version!r:.60}")
    stored = read_directory(path)
    return Loaded(restore(stored), version_of(stored.record), path)


def _load_version(store: ReleaseStore, version: str) -> Loaded:
    release = store.get(version)
    stored = read_directory(release.path)
    if not names_content(version, stored.record):
        raise ReleaseError(f"{release.path} holds another release than its name says")
    return Loaded(restore(stored), version, release.path)


def _load_current(store: ReleaseStore) -> Loaded:
    version = store.current_version()
    try:
        return _load_version(store, version)
    except ReleaseError as error:
        if store.current_version() != version:
            # Another process published and pruned in between.
            return _load_current(store)
        raise ReleaseError(
            f"the release that {store.path} serves cannot be loaded. {error}. Go back to the one "
            f"before with `tastemap releases rollback --release {store.path}`"
        ) from error
