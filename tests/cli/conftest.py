"""Commands as a person runs them, on a small shop with two tastes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from ran import Command, Ran

from tastemap.cli import main


@pytest.fixture
def tastemap(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `tastemap` with these arguments."""
    # Wide, so that no message is wrapped in the middle of what a test looks for.
    monkeypatch.setenv("COLUMNS", "400")

    def run(*arguments: object) -> Ran:
        code = 0
        capsys.readouterr()
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with events.csv (60 users, 30 items, half tea and half coffee) and products.csv."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(7)
    rows = []
    for user in range(60):
        own = np.arange(15) + 15 * (user % 2)
        for item in rng.choice(own, size=10, replace=False):
            kind = rng.choice(["view", "purchase"])
            time = 1_700_000_000 + int(rng.integers(0, 1_000_000))
            rows.append((f"u{user}", f"p{item}", time, kind))
    columns = ["user_id", "item_id", "timestamp", "event"]
    pl.DataFrame(rows, schema=columns, orient="row").write_csv(folder / "events.csv")
    titles = [f"{'tea' if item < 15 else 'coffee'} no. {item}" for item in range(30)]
    products = pl.DataFrame({"item_id": [f"p{item}" for item in range(30)], "title": titles})
    products.write_csv(folder / "products.csv")
    return folder


@pytest.fixture(scope="session")
def store(shop: Path) -> Path:
    """A release store with one release of the shop."""
    out = shop / "store"
    train_arguments = ["train", "--data", shop / "events.csv", "--items", shop / "products.csv"]
    train_arguments += ["--model", "itemknn", "--out", out]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["tastemap", *map(str, train_arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
    assert not stop.value.code
    return out
