from __future__ import annotations

import pytest
from shop import shop

import tastemap as tm


@pytest.fixture(scope="session")
def data() -> tm.Dataset:
    return shop()
