import numpy as np
import pyarrow as pa
import pytest

from tastemap.storage import write_directory


@pytest.fixture
def saved(tmp_path):
    """A small checked directory with both sorts of files."""
    path = tmp_path / "saved"
    write_directory(
        path,
        kind="model",
        manifest={"model": "als", "hyperparameters": {"factors": 4}},
        tensors={"als": {"items": np.arange(12, dtype=np.float32).reshape(3, 4)}},
        tables={"items": pa.table({"item": ["50", "181"], "title": ["Star Wars", "Jedi"]})},
    )
    return path
