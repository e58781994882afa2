"""`tm.load` of models, pipelines and stores, and what it says of broken ones."""

import subprocess
import sys

import pytest

import tastemap as tm
from tastemap.errors import ReleaseError
from tastemap.release import load_release
from tastemap.retrieval.saved import dataset_parts
from tastemap.storage import write_directory


def test_a_saved_model_has_a_version_too(tmp_path, model):
    model.save(tmp_path / "m")
    loaded = load_release(tmp_path / "m")
    assert loaded.object.recommend(users=[5]).equals(model.recommend(users=[5]))
    assert loaded.version == load_release(tmp_path / "m").version
    assert loaded.path == tmp_path / "m"
    with pytest.raises(ReleaseError, match="is not a release store"):
        tm.load(tmp_path / "m", version=loaded.version)


def test_any_release_of_a_store_can_be_loaded(store, dataset, model):
    old = store.publish(model)
    new = store.publish(tm.ItemKNN().fit(dataset))
    assert load_release(store.path).version == new.version
    assert isinstance(tm.load(store.path), tm.ItemKNN)
    assert isinstance(tm.load(str(store.path), version=old.version), tm.Popularity)
    assert isinstance(tm.load(old.path), tm.Popularity)
    with pytest.raises(ReleaseError, match="holds no release"):
        tm.load(store.path, version="../x")


def test_a_damaged_current_release_names_the_way_back(store, model):
    good, bad = store.publish(model), store.publish(model)
    file = bad.path / "users.parquet"
    file.write_bytes(file.read_bytes()[:10])
    with pytest.raises(ReleaseError) as caught:
        tm.load(store.path)
    message = str(caught.value)
    assert "users.parquet is truncated (10 of" in message
    assert f"`tastemap releases rollback --release {store.path}`" in message
    assert store.roll_back().version == good.version
    assert load_release(store.path).version == good.version


def test_a_current_release_that_is_gone_names_the_way_back(store, model):
    good, gone = store.publish(model), store.publish(model)
    gone.path.rename(store.path / "elsewhere")
    with pytest.raises(ReleaseError, match=r"holds no release .*releases rollback --release"):
        tm.load(store.path)
    assert store.roll_back().version == good.version


@pytest.mark.parametrize(
    "text", ["", "\n", "../../etc", "x" * 1000, "\x00\xff", "99999999T999999Z-00000000"]
)
def test_a_damaged_current_file_names_the_way_back(store, model, text):
    store.publish(model)
    last = store.publish(model)
    (store.path / "CURRENT").write_text(text)
    with pytest.raises(ReleaseError, match=r"CURRENT names no release.*releases rollback"):
        tm.load(store.path)
    assert store.check()
    assert store.roll_back().version == last.version
    assert load_release(store.path).version == last.version


def test_a_store_that_serves_nothing_says_so(store, model):
    store.publish(model)
    (store.path / "CURRENT").unlink()
    with pytest.raises(ReleaseError, match="serves no release yet"):
        tm.load(store.path)


def test_nothing_and_something_else_are_refused(tmp_path):
    with pytest.raises(ReleaseError, match="there is nothing at"):
        tm.load(tmp_path / "nothing")
    with pytest.raises(ReleaseError, match=r"holds no manifest\.toml"):
        tm.load(tmp_path)


def test_an_unknown_kind_is_refused(tmp_path):
    write_directory(tmp_path / "m", kind="atlas", manifest={}, tensors={}, tables={})
    with pytest.raises(ReleaseError, match="holds a 'atlas'"):
        tm.load(tmp_path / "m")


@pytest.mark.parametrize("kind", ["model", "pipeline", "index"])
@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"model": "als"},
        {"components": [{}]},
        {"components": 3},
        {"index": "ivf"},
        {"index": []},
    ],
)
def test_a_manifest_without_its_parts_is_refused(tmp_path, kind, manifest):
    write_directory(tmp_path / "m", kind=kind, manifest=manifest, tensors={}, tables={})
    with pytest.raises(ReleaseError):
        tm.load(tmp_path / "m")


def test_a_hyperparameter_out_of_range_is_refused(tmp_path, dataset):
    about, tensors, tables = dataset_parts(dataset)
    write_directory(
        tmp_path / "m",
        kind="model",
        manifest={"data": about, "model": "popularity", "hyperparameters": {"window_days": -1.0}},
        tensors={**tensors, "model": {}},
        tables=tables,
    )
    with pytest.raises(ReleaseError, match="window_days"):
        tm.load(tmp_path / "m")


def test_listing_and_checking_load_no_model(store, model):
    store.publish(model)
    script = (
        "import sys, tastemap as tm; "
        f"store = tm.ReleaseStore({str(store.path)!r}); store.list(); store.check(); "
        "assert not {'torch', 'numba', 'tastemap.retrieval.base'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
