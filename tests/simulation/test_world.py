"""Worlds that are made up: the same by the same seed, and as told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tastemap as tm
from tastemap.errors import ParameterError, ReleaseError
from tastemap.simulation.world import World

# More than one block of users, and users of more than one tile of events.
WORLD = World(users=5000, items=300, events=120_000, seed=3)
FILES = ("events", "items", "users", "item_vectors", "user_vectors")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return WORLD.write(tmp_path_factory.mktemp("worlds") / "world")


def read(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder / f"{name}.parquet")


def test_it_has_the_sizes_that_were_asked_for(made: Path) -> None:
    events = read(made, "events")
    assert events.height == WORLD.events
    assert set(read(made, "users")["user"]) == set(range(1, 5001))
    assert set(read(made, "items")["item"]) == set(range(1, 301))
    assert events["user"].is_in(range(1, 5001)).all()
    assert events["item"].is_in(range(1, 301)).all()
    days = (events["timestamp"].max() - events["timestamp"].min()) / 86_400
    assert 85 < days <= 90
    assert json.loads((made / "world.json").read_text())["events"] == WORLD.events
    assert events.select("user", "timestamp").equals(
        events.select("user", "timestamp").sort("user", "timestamp")
    )


def test_a_seed_gives_the_same_world(made: Path, tmp_path: Path) -> None:
    same, other = WORLD.write(tmp_path / "same"), replace(WORLD, seed=4).write(tmp_path / "other")
    for name in FILES:
        assert read(same, name).equals(read(made, name))
        assert not read(other, name).equals(read(made, name))


def test_popularity_is_a_power_law(tmp_path: Path) -> None:
    # Without taste the items that are offered most are taken most.
    flat = World(users=500, items=1000, events=200_000, strength=0, exponent=1.0)
    counts = read(flat.write(tmp_path / "world"), "events")["item"].value_counts(sort=True)
    seen = counts["count"].to_numpy()[:100]
    slope = np.polyfit(np.log(np.arange(1, 101)), np.log(seen), 1)[0]
    assert slope == pytest.approx(-1, abs=0.05)


def test_what_suits_a_taste_is_taken_more_often(made: Path) -> None:
    events = read(made, "events")
    tastes = np.stack(read(made, "user_vectors")["vector"].to_numpy())
    vectors = np.stack(read(made, "item_vectors")["vector"].to_numpy())
    user, item = events["user"].to_numpy() - 1, events["item"].to_numpy() - 1
    taken = (tastes[user] * vectors[item]).sum(1)
    # The same items by other users.
    chance = (tastes[user] * vectors[np.random.default_rng(0).permutation(item)]).sum(1)
    assert taken.mean() > chance.mean() + 0.1
    liked = (events["kind"] != "view").to_numpy()
    assert 0.02 < liked.mean() < 0.5
    assert taken[liked].mean() > taken[~liked].mean()


def test_tastes_move(tmp_path: Path) -> None:
    def fit_late_less_early(drift: float) -> float:
        made = World(users=300, items=200, events=60_000, drift=drift).write(tmp_path / str(drift))
        events = read(made, "events")
        tastes = np.stack(read(made, "user_vectors")["vector"].to_numpy())
        vectors = np.stack(read(made, "item_vectors")["vector"].to_numpy())
        pairs = events["user"].to_numpy() - 1, events["item"].to_numpy() - 1
        fit = (tastes[pairs[0]] * vectors[pairs[1]]).sum(1)
        late = events["timestamp"].to_numpy() > events["timestamp"].median()
        return float(fit[late].mean() - fit[~late].mean())

    assert abs(fit_late_less_early(0.0)) < 0.02
    assert fit_late_less_early(1.0) < -0.05


def test_a_model_learns_the_tastes(made: Path) -> None:
    data = tm.Dataset.from_files(made / "events.parquet")
    split = tm.splits.RandomPerUser(test=0.2).split(data)
    run = tm.Run(device="cpu", progress=False)
    models = [tm.Popularity(), tm.EASE()]
    found = [
        tm.evaluate(m.fit(split.train, run=run), split, ["ndcg@10"])["ndcg@10"] for m in models
    ]
    assert found[1] > 1.2 * found[0]


def test_what_stands_there_is_kept(made: Path) -> None:
    with pytest.raises(ReleaseError, match="exists already"):
        WORLD.write(made)
    assert read(made, "events").height == WORLD.events


@pytest.mark.parametrize("wrong", [{"users": 0}, {"drift": 2.0}, {"session": 0.5}, {"seed": -1}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        replace(WORLD, **wrong)
