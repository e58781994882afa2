"""Pipelines that ask their retrievers through an index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tastemap as tm
from tastemap.errors import ReleaseError
from tastemap.index import Index, index_for
from tastemap.index.hnsw import HNSWIndex
from tastemap.index.ivf_pq import IVFPQIndex


@pytest.fixture(scope="module")
def data() -> tm.Dataset:
    return tm.datasets.load("movielens-100k")


@pytest.fixture(scope="module")
def models(data: tm.Dataset) -> list[tm.ALS | tm.EASE]:
    return [tm.ALS(factors=16, iterations=3).fit(data), tm.EASE().fit(data)]


def graph(n: int) -> Index:
    return HNSWIndex(links=24, ef_construction=80, ef_search=400)


def test_a_small_catalogue_has_no_index(models: list) -> None:
    assert tm.Pipeline(models).indices == {}
    assert index_for(1_700).name == "exact"
    assert index_for(1_000_000).name == "ivf"
    assert index_for(50_000_000).name == "ivf_pq"


def test_without_faiss_answers_stay_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tastemap.index.table.find_spec", lambda name: None)
    assert index_for(1_000_000).name == "exact"


def test_an_index_answers_as_the_retriever_does(models: list) -> None:
    als = models[0]
    plain, indexed = tm.Pipeline([als]), tm.Pipeline([als], index=graph)
    recall = indexed.indices["als"].recall
    assert recall is not None and recall.value > 0.97
    users = [*als.users.ids(np.arange(1, 60)), "a stranger"]
    among = als.items.ids(np.arange(1, 900))
    for options in ({}, {"exclude_seen": False}, {"among": among}):
        wanted = plain.recommend(users=users, k=20, **options)
        found = indexed.recommend(users=users, k=20, **options)
        assert wanted["user"].to_list() == found["user"].to_list()
        both = wanted.join(found, on=["user", "item"], suffix="_found")
        assert len(both) / len(wanted) > 0.97
        np.testing.assert_allclose(both["score"], both["score_found"], rtol=1e-4, atol=1e-5)
        assert (both["source"] == both["source_found"]).all()


@pytest.mark.parametrize("make", [graph, lambda n: IVFPQIndex(lists=8, probes=4)])
def test_the_index_is_saved_with_its_recall(models: list, make: object, tmp_path: Path) -> None:
    pipeline = tm.Pipeline(models, index=make)
    store = tm.ReleaseStore(tmp_path / "store")
    store.publish(pipeline)
    again = tm.load(tmp_path / "store")
    assert set(again.indices) == {"als"}  # EASE does not score by vectors
    assert again.indices["als"].recall == pipeline.indices["als"].recall
    users = again.users.ids(np.arange(1, 40))
    assert again.recommend(users=users, k=10).equals(pipeline.recommend(users=users, k=10))


def test_fitting_makes_the_index_anew(data: tm.Dataset) -> None:
    pipeline = tm.Pipeline([tm.ALS(factors=8, iterations=1)], index=graph).fit(data)
    first = pipeline.indices["als"]
    assert len(first) == len(data.items) - 1
    pipeline.fit(data)
    assert pipeline.indices["als"] is not first


def test_a_damaged_index_is_not_served(models: list, tmp_path: Path) -> None:
    path = tm.Pipeline(models, index=graph).save(tmp_path / "pipeline")
    file = path / "index.als.safetensors"
    contents = bytearray(file.read_bytes())
    contents[-9] ^= 1
    file.write_bytes(contents)
    with pytest.raises(ReleaseError, match="damaged"):
        tm.load(path)
