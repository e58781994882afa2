"""`tastemap recommend` and `tastemap similar`: answers of a release, without a service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tastemap.cli.options import Json, K, ReleaseDir, pairs
from tastemap.cli.output import print_json, print_table
from tastemap.cli.writing import SUFFIXES, write_answers
from tastemap.errors import ReleaseError

if TYPE_CHECKING:
    import polars as pl

    from tastemap.data.dataset import Dataset
    from tastemap.release import Loaded

__all__ = ["loaded_recommender", "recommend", "similar"]

_TITLE_COLUMNS = ("title", "name")


def recommend(
    release: ReleaseDir,
    user: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A user; may be repeated.")
    ] = None,
    history: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="An item that a stranger liked; repeat for each, the oldest first."
        ),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE",
            help="Circumstances in which they ask, as the events' columns say them; repeat for "
            "each.",
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="For every user; needs --out.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --all: a .parquet, .csv or .jsonl file to write."),
    ] = None,
    k: K = 10,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also what is in the history already.")
    ] = False,
    json: Json = False,
) -> None:
    """Recommend items to users, to a stranger with a history, or to everybody.

    A user whom nobody knows is answered too, with what is popular.

    Examples:

    - `tastemap recommend --release demo --user 1 --user 2`
    - `tastemap recommend --release demo --history 50 --history 181 -k 5`
    - `tastemap recommend --release demo --user 1 --context hour=evening`
    - `tastemap recommend --release demo --all --out tonight.parquet`
    """
    if sum((bool(user), bool(history), every)) != 1:
        raise typer.BadParameter("give just one of --user, --history and --all")
    if every != (out is not None):
        raise typer.BadParameter("--all and --out FILE go together")
    if every and context:
        raise typer.BadParameter("--all and --context do not go together")
    if out is not None and out.suffix not in SUFFIXES:
        raise typer.BadParameter(f"{out.name} should end in {' or '.join(SUFFIXES)}")

    loaded = loaded_recommender(release)
    data = loaded.object.data
    if out is not None:
        rows = write_answers(loaded.object, out, k=k, exclude_seen=not include_seen)
        summary = {"release": loaded.version, "out": str(out), "users": data.n_users, "rows": rows}
        if json:
            print_json(summary)
        else:
            print(f"{rows:,} recommendations for {data.n_users:,} users are in {out}")
        return
    seen, now = not include_seen, _circumstances(data, pairs(context, "--context"))
    asked: dict[str, Any] = {"k": k, "exclude_seen": seen, "context": now}
    if history:
        frame = loaded.object.recommend(histories=[history], **asked).drop("user")
    else:
        users = list(dict.fromkeys(user or []))
        frame = loaded.object.recommend(users=users, **asked)
    frame = _with_titles(frame, data, "item")
    if not json:
        _show(frame)
    elif history:
        answers = [{"history": history, "items": _items(frame)}]
        print_json({"release": loaded.version, "answers": answers})
    else:
        print_json({"release": loaded.version, "answers": _grouped(frame, "user", users)})


def similar(
    release: ReleaseDir,
    item: Annotated[list[str], typer.Option(metavar="ID", help="An item; may be repeated.")],
    k: K = 10,
    json: Json = False,
) -> None:
    """Show the items most like an item.

    Example:

    - `tastemap similar --release demo --item 50`
    """
    loaded = loaded_recommender(release)
    asked = list(dict.fromkeys(item))
    frame = loaded.object.similar(asked, k).rename({"item": "like", "similar": "item"})
    frame = _with_titles(frame, loaded.object.data, "item")
    if json:
        answers = [{"item": each.pop("like"), **each} for each in _grouped(frame, "like", asked)]
        print_json({"release": loaded.version, "answers": answers})
    else:
        _show(frame)


def loaded_recommender(release: Path) -> Loaded:
    """What recommends.

    Raises:
        ReleaseError: nothing to load there, or a ranker.
    """
    from tastemap.release import load_release
    from tastemap.retrieval.recommender import Recommender

    loaded = load_release(release)
    if not isinstance(loaded.object, Recommender):
        raise ReleaseError(
            f"{release} holds a {type(loaded.object).__name__}, which orders rows of features and "
            "recommends nothing by itself. Name a model or a pipeline"
        )
    return loaded


def _circumstances(data: Dataset, texts: Mapping[str, str]) -> dict[str, Any] | None:
    """Texts as values of the types of the events' columns; what is of another stays text."""
    import polars as pl

    def typed(name: str, text: str) -> Any:
        if data.context is None or name not in data.context.columns:
            return text
        value = pl.Series([text]).cast(data.context[name].dtype, strict=False).item()
        return text if value is None else value

    return {name: typed(name, text) for name, text in texts.items()} if texts else None


def _with_titles(frame: pl.DataFrame, data: Dataset, column: str) -> pl.DataFrame:
    """The frame with a column "title" behind the ids, where the item table has one."""
    table = data.item_table
    name = next((n for n in _TITLE_COLUMNS if table is not None and n in table.columns), None)
    if table is None or name is None:
        return frame
    titles = table.select(column, title=name)
    before = frame.columns[: frame.columns.index(column) + 1]
    joined = frame.join(titles, on=column, how="left", maintain_order="left")
    return joined.select(*before, "title", *(c for c in frame.columns if c not in before))


def _grouped(frame: pl.DataFrame, column: str, asked: list[str]) -> list[dict[str, Any]]:
    """For each id asked for, the items of its rows."""
    parts = frame.partition_by(column, as_dict=True, include_key=False)
    return [
        {column: each, "items": _items(parts[(each,)]) if (each,) in parts else []}
        for each in asked
    ]


def _items(frame: pl.DataFrame) -> list[dict[str, Any]]:
    # Ids are text to machines, as over HTTP.
    return [{**row, "item": str(row["item"])} for row in frame.iter_rows(named=True)]


def _show(frame: pl.DataFrame) -> None:
    rows = [
        [f"{cell:.4g}" if isinstance(cell, float) else cell for cell in row]
        for row in frame.iter_rows()
    ]
    print_table(frame.columns, rows, numbers=["rank", "score"])
