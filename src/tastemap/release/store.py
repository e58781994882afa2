"""A release store: saved models or pipelines side by side, one of them served.

    STORE/20261122T024500Z-ab12cd34/    a checked directory (`tastemap.storage`)
    STORE/CURRENT                       the version served
    STORE/HISTORY                       what was served before
    STORE/REFUSED                       what turned out bad while it was served
    STORE/.tastemap-lock                held by whoever writes

A version is a UTC time, so that names sort by age, and the beginning of its manifest's checksum, so
that a name stands for one content. A release never changes once it has its name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from tastemap.errors import ReleaseError
from tastemap.release.forgetting import Forgetting, UnsearchedError, forget_in
from tastemap.release.lock import exclusive
from tastemap.release.refused import mark_refused, read_refused, rename_refused, unmark_refused
from tastemap.release.restoring import restore
from tastemap.release.served import (
    CURRENT,
    ever_served,
    put_in_place_of,
    read_current,
    serve,
    served_before,
)
from tastemap.release.versions import (
    Release,
    describe,
    names_content,
    new_version,
    same_release,
    split_version,
    version_of,
    versions_in,
)
from tastemap.storage import (
    Stored,
    amend_manifest,
    check_directory,
    is_directory,
    read_directory,
    read_manifest,
)
from tastemap.storage.atomic import hide, is_leftover, move_into_place, staging_directory

__all__ = ["Release", "ReleaseStore", "Saveable"]

LOCK = ".tastemap-lock"

# Inside the class `list` is a method.
Problems = list[str]
Releases = list[Release]
Versions = list[str]
Forgettings = list[Forgetting]


class Saveable(Protocol):
    """What can be published: a fitted model or a pipeline."""

    def save(self, path: Path) -> object:
        """Write a checked directory at `path`, where nothing is yet."""


class ReleaseStore:
    """A directory of releases, safe against damage, kills, and several writers at once.

    Args:
        path: the store; the first `publish` makes it.
        lock_wait_seconds: how long a writer waits for another one to end.
    """

    def __init__(self, path: str | Path, *, lock_wait_seconds: float = 60.0) -> None:
        self.path = Path(path)
        self.lock_wait_seconds = lock_wait_seconds

    @staticmethod
    def is_store(path: str | Path) -> bool:
        """Whether `path` is a release store."""
        return any(os.path.isfile(Path(path) / name) for name in (CURRENT, LOCK))

    def current_version(self) -> str:
        """The version served. It costs the reading of one small file, so it can be asked often.

        Raises:
            ReleaseError: not a store, nothing published, or CURRENT is damaged.
        """
        self._require_store()
        version = read_current(self.path)
        if version is None:
            raise ReleaseError(
                f"{self.path} serves no release yet. Publish one with "
                f"`tastemap train --out {self.path}`"
            )
        return version

    def current_or_none(self) -> str | None:
        """The version served, None where nothing is published or CURRENT is damaged."""
        try:
            return read_current(self.path)
        except ReleaseError:
            return None

    def current(self) -> Release:
        """The release served.

        Raises:
            ReleaseError: not a store, nothing published, or CURRENT is damaged.
        """
        return self._describe(self.current_version())

    def list(self) -> Releases:
        """All releases, the newest first. Manifests are read, other files are not.

        Raises:
            ReleaseError: not a store.
        """
        self._require_store()
        return [self._describe(version) for version in reversed(versions_in(self.path))]

    def get(self, version: str) -> Release:
        """One release by its version.

        Raises:
            ReleaseError: not a store, or it holds no such release.
        """
        self._require_store()
        if version not in versions_in(self.path):
            raise ReleaseError(
                f"{self.path} holds no release {version!r:.60}. "
                f"See `tastemap releases list --release {self.path}`"
            )
        return self._describe(version)

    def check(self, version: str | None = None) -> Problems:
        """Compare every file of a release with its checksum.

        Args:
            version: which; None for the one served.

        Returns:
            What is wrong with it; an empty list where it is whole.

        Raises:
            ReleaseError: not a store.
        """
        self._require_store()
        if version is None:
            try:
                version = self.current_version()
            except ReleaseError as error:
                return [str(error)]
        if split_version(version) is None:
            return [f"{version!r:.60} is not the version of a release"]
        path = self.path / version
        problems = check_directory(path)
        if not problems and not names_content(version, read_manifest(path)):
            problems.append(f"{path} holds another release than its name says")
        return problems

    def publish(
        self,
        saveable: Saveable,
        *,
        metrics: Mapping[str, Any] | None = None,
        notes: str = "",
        about: Mapping[str, Any] | None = None,
        replacing: str | None = None,
    ) -> Release:
        """Save, load again as a test, give it a version, and make it the one served.

        Whatever goes wrong before the last step, the release served before stays.

        Args:
            saveable: a fitted model or a pipeline.
            metrics: numbers to show beside it, by metric name; they go into its manifest.
            notes: a line to show beside it.
            about: further entries of its manifest, such as `event_log_offset`, the last event of
                the service's log that it was made from.
            replacing: a version that must still be the one served; None for whichever is.

        Raises:
            ReleaseError: the path is neither a store nor empty, another writer holds the store for
                too long, another release than `replacing` is served, what was saved cannot be
                loaded, or the disk refuses.
        """
        self._make_store()
        with self._writing(), staging_directory(self.path / "incoming") as incoming:
            if replacing is not None and not same_release(replacing, self.current_version()):
                raise ReleaseError(
                    f"{replacing} was to be replaced, and meanwhile {self.path} serves "
                    f"{self.current_version()}. Compare with that one, and publish then"
                )
            staged = incoming / "release"
            saveable.save(staged)
            own_metrics = read_manifest(staged).contents.get("metrics", {})
            more = {"metrics": {**own_metrics, **(metrics or {})}, "notes": notes, **(about or {})}
            amend_manifest(staged, more)
            restore(read_directory(staged))
            version = new_version(self.path, read_manifest(staged))
            move_into_place(staged, self.path / version, overwrite=False)
            serve(self.path, version)
        return self._describe(version)

    def roll_back(self, to: str | None = None) -> Release:
        """Serve an earlier release again, or any release of the store.

        Args:
            to: its version, also one that was refused; None for the one served before the current
                one that was not.

        Raises:
            ReleaseError: there is none, or it is damaged; the current one stays.
        """
        self._require_store()
        with self._writing():
            release = self.get(self._previous() if to is None else to)
            if problems := self.check(release.version):
                raise ReleaseError(
                    f"release {release.version} is damaged, so it is not served: "
                    f"{'; '.join(problems)}. Name another one with `--to`: "
                    f"{self._whole_others(release.version)}"
                )
            unmark_refused(self.path, release.version)
            if not release.is_current:
                serve(self.path, release.version)
        return self._describe(release.version)

    def ways_back(self) -> Versions:
        """What was served before the current one, is there and was not refused, the nearest one
        first; a damaged one, too."""
        there, refused = versions_in(self.path), read_refused(self.path)
        before = served_before(self.path, self.current_or_none())
        return [version for version in before if version in there and version not in refused]

    def refuse(self, version: str, reason: str) -> Release:
        """Go back from a release that turned out bad while it was served, and remember why, so
        that no roll back leads to it. Where another one is served by now, that one stays.

        Returns:
            The release that is served now.

        Raises:
            ReleaseError: no whole release was served before it; it stays.
        """
        self._require_store()
        with self._writing():
            current = self.current_version()
            if same_release(current, version):
                version = current
                whole = [each for each in self.ways_back() if not self.check(each)]
                if not whole:
                    raise ReleaseError(
                        f"{self.path} holds no whole release that was served before {version}, so "
                        "there is none to go back to. Publish a new one"
                    )
                current = whole[0]
                serve(self.path, current)
            mark_refused(self.path, version, reason)
        return self._describe(current)

    def prune(self, keep: int) -> Versions:
        """Delete all but the newest `keep` releases and the one served.

        Returns:
            The versions deleted, the oldest first.

        Raises:
            ReleaseError: `keep` is below 1, not a store, or CURRENT is damaged.
        """
        if keep < 1:
            raise ReleaseError(f"prune: keep is {keep}, and at least 1 release has to stay")
        self._require_store()
        with self._writing():
            current = self.current_version()
            doomed = [
                version
                for version in versions_in(self.path)[:-keep]
                if version != current and is_directory(self.path / version)
            ]
            for version in doomed:
                # Hidden first: a half deleted release must never stand under its version.
                shutil.rmtree(hide(self.path / version))
        return doomed

    def forget_user(self, user: str) -> Forgettings:
        """Remove a user's id, history and profile from every release; see `forget_in`.

        A release that knew the user is replaced by one of the same moment with another checksum in
        its version, in CURRENT and HISTORY too, so that it is served and rolled back to as before.

        Args:
            user: the id, as text.

        Returns:
            What was removed, for each release that knew the user.

        Raises:
            UnsearchedError: a release is damaged, so that nobody knows whom it holds; the others
                have been dealt with.
            ReleaseError: not a store, or the disk refuses; the others have been dealt with, too.
        """
        self._require_store()
        found: Forgettings = []
        problems: Problems = []
        unsearched: dict[str, str] = {}
        with self._writing():
            for version in versions_in(self.path):
                try:
                    stored = read_directory(self.path / version)
                except ReleaseError as error:
                    unsearched[version] = str(error)
                    continue
                try:
                    found += self._forget_in(version, stored, user)
                except ReleaseError as error:
                    problems.append(f"{error}. Or delete it")
        if problems:
            raise ReleaseError("; ".join([*problems, *unsearched.values()]))
        if unsearched:
            raise UnsearchedError(found, unsearched)
        return found

    def _forget_in(self, version: str, stored: Stored, user: str) -> Forgettings:
        with staging_directory(self.path / "incoming") as incoming:
            staged = incoming / "release"
            done = forget_in(stored, staged, user)
            if done is None:
                return []
            parts = split_version(version)
            new = version_of(read_manifest(staged), parts[0] if parts else None)
            # A kill has left it there where an earlier call got no further than this.
            move_into_place(staged, self.path / new, overwrite=True)
        put_in_place_of(self.path, version, new)
        rename_refused(self.path, version, new)
        shutil.rmtree(hide(self.path / version))
        return [replace(done, release=new)]

    def _require_store(self) -> None:
        if self.is_store(self.path):
            return
        if is_directory(self.path):
            what = "is one saved model or pipeline, not a release store"
        elif self.path.exists():
            what = "is not a release store"
        else:
            what = "does not exist"
        raise ReleaseError(
            f"{self.path} {what}. Publish into a new directory with `tastemap train --out DIR`"
        )

    def _make_store(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not self.is_store(self.path) and any(self.path.iterdir()):
                self._require_store()
        except OSError as error:
            raise ReleaseError(
                f"{self.path} cannot be made a release store ({error.strerror}). "
                "Choose another place"
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the store's lock, and first clear away what a killed writer left."""
        try:
            with exclusive(self.path / LOCK, wait_seconds=self.lock_wait_seconds):
                for entry in filter(is_leftover, self.path.iterdir()):
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
                yield
        except OSError as error:
            raise ReleaseError(
                f"{self.path} could not be written: {error}. The release served is unchanged"
            ) from error

    def _previous(self) -> str:
        for version in self.ways_back():
            return version
        raise ReleaseError(
            f"{self.path} holds no release that was served before the current one. "
            f"Name one with `--to`: {self._whole_others(self.current_or_none())}"
        )

    def _whole_others(self, version: str | None) -> str:
        newest_first = reversed(versions_in(self.path))
        whole = [other for other in newest_first if other != version and not self.check(other)]
        return ", ".join(whole) or "there is no other whole one, so publish a new one"

    def _describe(self, version: str) -> Release:
        is_current = version == self.current_or_none()
        was_published = is_current or version in ever_served(self.path)
        return describe(
            self.path / version,
            is_current=is_current,
            was_published=was_published,
            refused=read_refused(self.path).get(version),
        )
