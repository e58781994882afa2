"""Publishing, listing, checking, rolling back and pruning."""

import os
from datetime import UTC, datetime

import pytest

import tastemap as tm
from tastemap.errors import ReleaseError
from tastemap.release.served import served_before
from tastemap.storage import write_directory


def versions(store):
    return [release.version for release in store.list()]


def damage(release):
    file = release.path / "histories.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def test_publish_makes_the_release_current_and_loads_equal(store, model):
    release = store.publish(model, metrics={"ndcg@10": 0.25}, notes="first try")
    assert store.current() == release == store.get(release.version)
    assert store.current_version() == release.version
    assert (store.path / "CURRENT").read_text() == f"{release.version}\n"
    assert (release.kind, release.models) == ("model", ("popularity",))
    assert (release.metrics, release.notes) == ({"ndcg@10": 0.25}, "first try")
    assert (release.is_current, release.was_published, release.problem) == (True, True, None)
    assert release.bytes == sum(file.stat().st_size for file in release.path.iterdir())
    assert (datetime.now(UTC) - release.created).total_seconds() < 60
    assert store.check() == store.check(release.version) == []
    assert tm.load(store.path).recommend(users=[1, 2]).equals(model.recommend(users=[1, 2]))


def test_a_pipeline_is_published_with_its_models(store, dataset):
    pipeline = tm.Pipeline([tm.ItemKNN(), tm.Popularity(window_days=1.0)]).fit(dataset)
    release = store.publish(pipeline)
    assert (release.kind, release.models) == ("pipeline", ("itemknn", "popularity"))
    again = tm.load(store.path)
    assert again.recommend(users=[1, 2, 99]).equals(pipeline.recommend(users=[1, 2, 99]))
    assert again.retrievers[1].window_days == 1.0


def test_names_sort_by_age_even_within_a_second(store, model):
    published = [store.publish(model).version for _ in range(4)]
    assert published == sorted(set(published))
    assert versions(store) == published[::-1]
    assert [release.is_current for release in store.list()] == [True, False, False, False]


def test_names_sort_by_age_even_when_the_clock_went_back(store, model):
    first = store.publish(model)
    future = f"20990101T000000Z{first.version[-9:]}"
    first.path.rename(store.path / future)
    assert store.publish(model).version.startswith("20990101T000001Z-")


def test_roll_back_and_forward(store, model):
    a, b, c = (store.publish(model).version for _ in range(3))
    assert store.roll_back().version == b
    assert store.roll_back().version == a
    assert store.current_version() == a
    with pytest.raises(ReleaseError, match=rf"no release that was served before.*{c}, {b}"):
        store.roll_back()
    forward = store.roll_back(to=c)
    assert (forward.version, forward.is_current) == (c, True)
    assert store.roll_back().version == a
    assert all(release.was_published for release in store.list())


def test_the_way_back_leaves_out_what_was_rolled_back(store, model):
    a = store.publish(model).version
    bad = store.publish(model).version
    store.roll_back()
    good = store.publish(model).version
    assert bad < good
    assert store.roll_back().version == a


def test_serving_the_current_one_again_changes_nothing(store, model):
    a, b = store.publish(model).version, store.publish(model).version
    assert store.roll_back(to=b).version == b
    assert store.roll_back().version == a


def test_a_current_file_set_by_hand_is_obeyed(store, model):
    a, b, c = (store.publish(model).version for _ in range(3))
    (store.path / "CURRENT").write_text(f"{a}\n")
    assert store.current_version() == a
    (store.path / "CURRENT").write_text(b)
    assert store.roll_back().version == a
    assert c in versions(store)


def test_a_history_line_that_never_came_into_force_changes_nothing(store, model):
    a, b = store.publish(model).version, store.publish(model).version
    history = store.path / "HISTORY"
    torn = f"2026-11-22T02:45:00Z 20261122T024500Z-0123abcd\n2026-11-22T02:45:01Z {a[:9]}"
    history.write_text(history.read_text() + torn)
    assert served_before(store.path, b) == [a]
    assert store.roll_back().version == a


def test_a_damaged_release_is_not_rolled_back_to(store, model):
    whole = store.publish(model)
    damage(store.publish(model))
    current = store.publish(model)
    with pytest.raises(ReleaseError, match=rf"truncated.*`--to`: .*{whole.version}"):
        store.roll_back()
    assert store.current_version() == current.version
    assert store.roll_back(to=whole.version).is_current


def test_check_names_every_problem_and_list_shows_the_damaged(store, model):
    release = store.publish(model)
    damage(release)
    (release.path / "items.parquet").unlink()
    assert len(store.check()) == 2
    manifest = release.path / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("[hyperparameters]", "[hyperparameter]"))
    shown = store.list()[0]
    assert (shown.kind, shown.version, shown.is_current) == ("unknown", release.version, True)
    assert "edited or damaged" in shown.problem
    assert store.check() == [shown.problem]


def test_a_foreign_manifest_can_be_listed(store, model):
    store.publish(model)
    odd = {"model": 3, "components": 4, "metrics": 5, "notes": 6}
    foreign = store.path / "20990101T000000Z-00000000"
    write_directory(foreign, kind="model", manifest=odd, tensors={}, tables={})
    shown = store.list()[0]
    assert (shown.models, shown.metrics, shown.notes, shown.was_published) == ((), {}, "6", False)
    assert "another release than its name says" in store.check(shown.version)[0]


def test_two_releases_whose_names_were_exchanged_are_noticed(store, model):
    a, b = store.publish(model), store.publish(model)
    aside = store.path / "aside"
    a.path.rename(aside)
    b.path.rename(a.path)
    aside.rename(b.path)
    assert "another release than its name says" in store.check()[0]
    with pytest.raises(ReleaseError, match="another release than its name says"):
        tm.load(store.path)


def test_prune_keeps_the_newest_and_the_current_one(store, model):
    published = [store.publish(model).version for _ in range(5)]
    store.roll_back(to=published[1])
    assert store.prune(keep=2) == [published[0], published[2]]
    assert versions(store) == [published[4], published[3], published[1]]
    assert store.prune(keep=2) == []
    assert store.check() == []
    with pytest.raises(ReleaseError, match="at least 1"):
        store.prune(keep=0)


def test_pruned_releases_are_not_rolled_back_to(store, model):
    a, b, c = (store.publish(model).version for _ in range(3))
    store.roll_back(to=a)
    store.roll_back(to=c)
    assert store.prune(keep=1) == [a, b]
    with pytest.raises(ReleaseError, match="publish a new one"):
        store.roll_back()


def test_prune_deletes_only_releases(store, model):
    for _ in range(2):
        store.publish(model)
    mine = store.path / "20200101T000000Z-00000000"
    mine.mkdir()
    (mine / "thesis.tex").write_text("mine")
    linked = store.path / "20200101T000001Z-00000000"
    linked.symlink_to(store.path.parent)
    assert len(store.prune(keep=1)) == 1
    assert (mine / "thesis.tex").read_text() == "mine"
    assert linked.is_symlink()


def test_prune_needs_to_know_the_current_one(store, model):
    published = [store.publish(model).version for _ in range(3)]
    (store.path / "CURRENT").write_text("?")
    with pytest.raises(ReleaseError, match="CURRENT names no release"):
        store.prune(keep=1)
    assert versions(store) == published[::-1]


class SavesHalf:
    """Writes a directory that is then cut short, as a full disk would."""

    def __init__(self, model):
        self.model = model

    def save(self, path):
        self.model.save(path)
        (path / "model.safetensors").write_bytes(b"")


class Interrupted:
    """Ctrl-C in the middle of saving."""

    def save(self, path):
        path.mkdir()
        (path / "half.parquet").write_text("half")
        raise KeyboardInterrupt


def test_a_publish_that_fails_leaves_the_previous_release(store, model, dataset):
    good = store.publish(model)
    before = sorted(os.listdir(store.path))
    unfitted = tm.Popularity()
    for saveable, error in (
        (SavesHalf(model), ReleaseError),
        (Interrupted(), KeyboardInterrupt),
        (unfitted, tm.errors.NotFittedError),
    ):
        with pytest.raises(error):
            store.publish(saveable)
        assert sorted(os.listdir(store.path)) == before
        assert store.current_version() == good.version
    with pytest.raises(ReleaseError, match="a manifest cannot hold"):
        store.publish(model, metrics={"ndcg@10": object()})
    assert sorted(os.listdir(store.path)) == before


def test_what_cannot_be_loaded_again_is_not_published(store, dataset):
    class Private(tm.Popularity):
        name = "private"

    with pytest.raises(ReleaseError, match="no model 'private'"):
        store.publish(Private().fit(dataset))
    assert store.list() == []


def test_the_store_is_not_made_in_somebody_elses_directory(tmp_path, model):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    with pytest.raises(ReleaseError, match="is not a release store"):
        tm.ReleaseStore(tmp_path / "mine").publish(model)
    assert os.listdir(tmp_path / "mine") == ["thesis.tex"]
    model.save(tmp_path / "model")
    with pytest.raises(ReleaseError, match="one saved model or pipeline, not a release store"):
        tm.ReleaseStore(tmp_path / "model").publish(model)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ReleaseError, match="cannot be made a release store"):
        tm.ReleaseStore(tmp_path / "file").publish(model)


def test_an_empty_directory_becomes_a_store(tmp_path, model):
    assert tm.ReleaseStore(tmp_path).publish(model).is_current


@pytest.mark.parametrize("method", ["current", "current_version", "list", "check", "roll_back"])
def test_a_missing_store_is_named(store, method):
    with pytest.raises(ReleaseError, match=r"store does not exist\. Publish"):
        getattr(store, method)()
    assert not store.path.exists()


def test_a_version_that_is_not_there_is_named(store, model):
    store.publish(model)
    for version in ("20200101T000000Z-00000000", "../elsewhere", "", "CURRENT"):
        with pytest.raises(ReleaseError, match=r"holds no release .*tastemap releases list"):
            store.get(version)
        with pytest.raises(ReleaseError, match="holds no release"):
            store.roll_back(to=version)
        assert store.check(version)
