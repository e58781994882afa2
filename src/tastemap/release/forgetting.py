"""A user's removal from saved models and pipelines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tastemap.errors import ReleaseError
from tastemap.storage import Stored, rewrite_directory

__all__ = ["Forgetting", "UnsearchedError", "forget_in"]


class UnsearchedError(ReleaseError):
    """Damaged releases could not be searched for a user; what was removed from all others stays so.

    Attributes:
        found: what was removed, for each release that knew the user.
        unsearched: by release what is wrong with it.
    """

    def __init__(self, found: list[Forgetting], unsearched: dict[str, str]) -> None:
        self.found, self.unsearched = found, unsearched
        super().__init__("; ".join(f"{why}. Or delete it" for why in unsearched.values()))


@dataclass(frozen=True)
class Forgetting:
    """What was removed of a user from one release.

    Attributes:
        release: the version, or the directory, that stands now in the place of the one before.
        events: events of the user that it held.
        profile: whether its user table had a row of the user.
    """

    release: str
    events: int
    profile: bool


def forget_in(stored: Stored, path: Path, user: str) -> Forgetting | None:
    """Writes a saved model or pipeline to `path` without a user, or does nothing where it does not
    know the user.

    The id, the history and the profile go; the row stays as an anonymous tombstone, so that all
    other rows keep their meaning. What models have learned stays as it is, a vector of that row
    too: it names nobody, and nobody can ask for it any more.

    Raises:
        ReleaseError: the directory is damaged, or the disk refuses.
    """
    # Imported here so that listing and checking releases does not load the models.
    from tastemap.data.tombstones import without_users
    from tastemap.data.vocabulary import Vocabulary
    from tastemap.retrieval.saved import dataset_parts, load_dataset

    if "users" not in stored.table_names:
        return None
    row = Vocabulary(stored.tables("users")["user"]).rows([user])
    if row[0] == 0:
        return None
    data = load_dataset(stored)
    left = without_users(data, row)
    about, tensors, tables = dataset_parts(left)
    rewrite_directory(
        stored, path, manifest={"data": about}, tensors=tensors, tables=tables, overwrite=True
    )
    profile = (
        data.user_table is not None
        and left.user_table is not None
        and left.user_table.height < data.user_table.height
    )
    return Forgetting(str(path), data.n_events - left.n_events, profile)
