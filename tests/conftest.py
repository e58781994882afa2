"""Real data for all tests: MovieLens-100K, fetched once into the user's cache."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from hypothesis import settings

import tastemap as tm

# On a shared machine the time of one example says nothing.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


@pytest.fixture(scope="session")
def movies() -> tm.Dataset:
    """movielens-100k: 943 users, 1,682 items, 100,000 ratings."""
    return tm.datasets.load("movielens-100k")


@pytest.fixture(scope="session")
def liked_movies(movies: tm.Dataset) -> tm.Dataset:
    """Its ratings of 4 and 5, of users with at least five of them: implicit feedback."""
    return movies.filter(min_value=4, min_user_events=5)
