"""Answers made in advance: what is written, what is found, and how newer events correct it."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

import tastemap as tm
from tastemap.errors import DataError, ReleaseError
from tastemap.online import precomputed
from tastemap.online.precomputed import corrected, precompute
from tastemap.online.precomputed_file import PrecomputedFile, writing_file
from tastemap.retrieval.recommender import Recommendations
from tastemap.storage.atomic import unfinished_file


def make(pipeline: tm.Pipeline, out: Path, k: int, **options: Any) -> int:
    with writing_file(out, pipeline, k=k, release="r1", offset=9) as write:
        return precompute(pipeline, write, k=k, **options)


def answer(
    answers: PrecomputedFile,
    users: list[str],
    histories: tm.Histories,
    k: int,
    items: tm.Vocabulary,
    among: NDArray[np.bool_] | None = None,
) -> Recommendations:
    return corrected(answers.find(users, "r1"), histories, k, items, among)


@pytest.fixture(scope="module")
def film_pipeline(liked_movies: tm.Dataset) -> tm.Pipeline:
    return tm.Pipeline([tm.ItemKNN()]).fit(liked_movies)


@pytest.fixture(scope="module")
def file(film_pipeline: tm.Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("batch") / "answers.parquet"
    make(film_pipeline, out, 30)
    return out


def test_the_file_is_what_the_pipeline_answers_sorted_by_user_and_rank(
    film_pipeline: tm.Pipeline, file: Path
) -> None:
    frame = pl.read_parquet(file)
    assert frame.columns == ["user", "item", "rank", "score", "source"]
    assert frame.equals(frame.sort("user", "rank"))
    assert frame["user"].n_unique() == film_pipeline.data.n_users
    users = frame["user"].unique().sort().to_list()
    expected = film_pipeline.recommend(users=users, k=30)
    assert frame.drop("score").equals(expected.drop("score"))
    np.testing.assert_allclose(frame["score"], expected["score"], rtol=1e-5)


def test_looking_up_gives_the_same_as_asking(film_pipeline: tm.Pipeline, file: Path) -> None:
    rows = np.array([1, 500, film_pipeline.data.n_users, 77], np.int32)
    queries = film_pipeline.data.queries(rows)
    asked = film_pipeline.answer(queries, 10)
    users = [str(id_) for id_ in film_pipeline.users.ids(rows)]
    found = answer(PrecomputedFile(file), users, queries.histories, 10, film_pipeline.items)
    assert found.padded(10).tolist() == asked.padded(10).tolist()
    assert found.source_series().to_list() == asked.source_series().to_list()


def test_what_a_user_took_since_is_left_out_and_the_next_moves_up(
    film_pipeline: tm.Pipeline, file: Path
) -> None:
    answers = PrecomputedFile(file)
    query = film_pipeline.data.queries(np.array([5], np.int32))
    user = [str(film_pipeline.users.ids([5])[0])]
    before = answer(answers, user, query.histories, 12, film_pipeline.items).items
    later = query.histories.append(tm.Histories.from_lists([before[[0, 3]]], times=[[9e9, 9e9]]))
    after = answer(answers, user, later, 10, film_pipeline.items).items
    assert after.tolist() == np.delete(before, [0, 3]).tolist()
    allowed = np.zeros(len(film_pipeline.items), np.bool_)
    allowed[before[4:6]] = True
    some = answer(answers, user, later, 10, film_pipeline.items, allowed)
    assert some.items.tolist() == before[4:6].tolist()


def test_users_and_items_that_are_not_there(film_pipeline: tm.Pipeline, file: Path) -> None:
    answers = PrecomputedFile(file)
    users = ["", "nobody", "\uffff", "1"]
    few = tm.Vocabulary(film_pipeline.items.ids_array.slice(0, 40))
    found = answer(answers, users, tm.Histories.empty(4), 30, few)
    assert found.counts[:3].tolist() == [0, 0, 0]
    assert 0 < found.counts[3] < 30
    assert found.items.max() <= 40
    assert len(answer(answers, [], tm.Histories.empty(0), 5, film_pipeline.items)) == 0


def test_integer_ids_are_found_by_their_text(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": [10, 10, 9, 9, -3], "item": [7, 8, 7, 9, 8]})
    pipeline = tm.Pipeline([tm.Popularity()]).fit(tm.Dataset.from_frame(frame))
    assert make(pipeline, tmp_path / "out.parquet", 2) == 1 + 1 + 2
    answers = PrecomputedFile(tmp_path / "out.parquet")
    users = ["10", "9", "-3", "010", "x", "9" * 30, "²"]
    found = answer(answers, users, tm.Histories.empty(7), 2, pipeline.items)
    assert found.counts.tolist() == [1, 1, 2, 0, 0, 0, 0]
    assert pipeline.items.ids(found.items)[:2] == [9, 8]


def test_only_the_groups_that_are_asked_for_are_read(
    film_pipeline: tm.Pipeline, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = PrecomputedFile._read
    monkeypatch.setattr(
        PrecomputedFile, "_read", lambda self, number: read.append(number) or real(self, number)
    )
    answers = PrecomputedFile(file)
    users = pq.read_table(file)["user"].unique().to_pylist()
    assert pq.ParquetFile(file).num_row_groups == -(-len(users) // 256) > 2
    for place in (0, 1, 255, len(users) - 1, 0):
        answer(answers, [users[place]], tm.Histories.empty(1), 5, film_pipeline.items)
    assert read == [0, pq.ParquetFile(file).num_row_groups - 1]


def test_what_was_said_of_it_and_whether_it_was_replaced(
    film_pipeline: tm.Pipeline, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    some = np.array([3, 1, 3], np.int32)
    make(film_pipeline, out, 5, users=some)
    old = PrecomputedFile(out)
    assert (old.release, old.offset, old.k) == ("r1", 9, 5)
    assert old.renewed() is old
    make(film_pipeline, out, 6, users=some)
    assert old.renewed().k == 6
    user = [str(film_pipeline.users.ids([3])[0])]
    assert answer(old, user, tm.Histories.empty(1), 10, film_pipeline.items).counts == [5]
    assert len(pq.read_table(out)["user"].unique()) == 2


@pytest.mark.parametrize("harm", ["missing", "truncated", "emptied", "another", "flipped"])
def test_a_damaged_file_is_refused(file: Path, tmp_path: Path, harm: str) -> None:
    bad, whole = tmp_path / "bad.parquet", file.read_bytes()
    if harm == "truncated":
        bad.write_bytes(whole[:-50])
    elif harm == "emptied":
        bad.write_bytes(b"")
    elif harm == "another":
        pl.DataFrame({"user": ["1"], "item": ["2"]}).write_parquet(bad)
    elif harm == "flipped":
        place = 2000
        bad.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
    with pytest.raises(DataError, match="tastemap batch"):
        answer(PrecomputedFile(bad), ["1"], tm.Histories.empty(1), 5, tm.Vocabulary(["1"]))


def test_a_failure_half_way_leaves_the_old_file(
    film_pipeline: tm.Pipeline, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precomputed, "_TILE", 256)
    out = tmp_path / "out.parquet"
    out.write_bytes(file.read_bytes())

    def stop(done: int) -> None:
        if done > 256:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(film_pipeline, out, 30, progress=stop)
    assert out.read_bytes() == file.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.parquet"]


def _killed_while_writing(path: Path) -> None:
    import os
    import signal

    with unfinished_file(path) as opened:
        opened.write(b"x" * 1000)
        opened.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    out = tmp_path / "no" / "answers.parquet"
    with (
        pytest.raises(ReleaseError, match=f"there is no folder {out.parent}"),
        unfinished_file(out),
    ):
        pass


def test_what_a_killed_writer_left_is_written_over_and_two_do_not_mix(tmp_path: Path) -> None:
    out = tmp_path / "out"
    child = multiprocessing.get_context("fork").Process(target=_killed_while_writing, args=(out,))
    child.start()
    child.join()
    assert not out.exists()
    with unfinished_file(out) as opened:
        with pytest.raises(ReleaseError, match="another process is writing"), unfinished_file(out):
            pass
        opened.write(b"new")
    assert out.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
