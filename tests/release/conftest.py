import numpy as np
import polars as pl
import pytest

import tastemap as tm


@pytest.fixture(scope="session")
def dataset():
    random = np.random.default_rng(3)
    frame = pl.DataFrame(
        {
            "user": random.integers(1, 40, 500),
            "item": random.integers(1, 30, 500),
            "time": np.arange(500.0),
        }
    )
    return tm.Dataset.from_frame(frame, user="user", item="item", time="time")


@pytest.fixture(scope="session")
def model(dataset):
    return tm.Popularity().fit(dataset)


@pytest.fixture
def store(tmp_path):
    return tm.ReleaseStore(tmp_path / "store")
