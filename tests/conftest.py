"""What all tests share: MovieLens-100K, fetched once into the cache of the user, and a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from hypothesis import settings

import tastemap as tm

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_SWITCHES = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)

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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; one for all pages, as a process cannot run two of Playwright's loops."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_SWITCHES.split())
        yield browser
        browser.close()
