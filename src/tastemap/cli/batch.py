"""`tastemap batch`: answers for everybody, made in advance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tastemap.cli.options import Json, K, ReleaseDir
from tastemap.cli.output import errors, note, print_json
from tastemap.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tastemap.data.vocabulary import Vocabulary
    from tastemap.retrieval.recommender import Recommender

__all__ = ["batch"]


def batch(
    release: ReleaseDir,
    out: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="The .parquet file to write, or a Redis, such as redis://127.0.0.1:6379/0; its "
            "password in TASTEMAP_REDIS_PASSWORD.",
        ),
    ],
    k: K = 100,
    users: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Only for the users of this table (.csv, .tsv, .jsonl or .parquet).",
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The service's state folder: look at the events recorded since the release too.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Make answers for everybody in advance, for a service that looks them up.

    The file has the columns user, item, rank (from 1), score and source, sorted by user and rank.
    It is written tile by tile, and stands at its place when it is whole. In Redis each user's
    answers are a key, with the release's version, which goes after seven days. A service that
    answers from it (`tastemap serve --precomputed`) leaves out what was shown or taken meanwhile,
    so ask for more items than will be shown at once.

    Examples:

    - `tastemap batch --release demo --out tonight.parquet`
    - `tastemap batch --release demo --out redis://127.0.0.1:6379/0`
    - `tastemap batch --release demo --state demo-state --users active.csv -k 50 --out some.parquet`
    """
    from rich.progress import Progress

    from tastemap.online.event_log import EventReader
    from tastemap.online.precomputed import precompute
    from tastemap.online.precomputed_file import writing_file
    from tastemap.online.precomputed_redis import writing_redis
    from tastemap.online.retraining.as_served import AsServed
    from tastemap.online.retraining.gathering import gather, offset_of
    from tastemap.release import load_release

    to_redis = "://" in out
    if not to_redis and not out.endswith(".parquet"):
        raise typer.BadParameter(
            f"{Path(out).name} should end in .parquet, or be the address of a Redis",
            param_hint="--out",
        )
    loaded = load_release(release)
    pipeline, offset = loaded.pipeline(), offset_of(loaded.path)
    asked: Recommender = pipeline
    if state is not None:
        gathered = gather(pipeline.data, EventReader(state), offset)
        asked, offset = AsServed(pipeline, gathered), gathered.position.offset
    rows = None if users is None else _rows(users, asked.users)
    n = len(asked.users) - 1 if rows is None else len(rows)
    if to_redis:
        writing = writing_redis(out, release=loaded.version, offset=offset)
    else:
        writing = writing_file(Path(out), asked, k=k, release=loaded.version, offset=offset)
    with writing as write, Progress(console=errors(), transient=True) as progress:
        task = progress.add_task("Answering", total=n)
        written = precompute(
            asked,
            write,
            k=k,
            users=rows,
            progress=lambda done: progress.update(task, completed=done),
        )
    if json:
        about = {"release": loaded.version, "event_log_offset": offset}
        print_json({**about, "out": "Redis" if to_redis else out, "users": n, "rows": written})
    else:
        # An address may hold a password.
        where = "Redis" if to_redis else out
        print(f"{written:,} answers for {n:,} users are in {where}")


def _rows(table: Path, known: Vocabulary) -> NDArray[np.int32]:
    """Rows of the users that a table names; unknown ones are told of and left out."""
    import numpy as np

    from tastemap.data.files import read_table
    from tastemap.data.names import recognise

    if not table.exists():
        raise DataError("there is no such file", source=table)
    frame = read_table(table)
    name = recognise("user", frame.columns)
    if name is None:
        raise DataError(
            f"there is no column of users among {', '.join(frame.columns)}",
            source=table,
            remedy="Call it 'user'",
        )
    rows = known.rows(frame[name].drop_nulls().to_list())
    if unknown := int((rows == 0).sum()):
        note(f"{unknown:,} of {len(rows):,} users are not known to the release and are left out")
    return np.unique(rows[rows > 0])
