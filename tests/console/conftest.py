"""A real browser, Debian's Chromium, on a served release."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from served import Served

import tastemap as tm

_SIZES = {"laptop": (1366, 850), "phone": (390, 844)}


@pytest.fixture(scope="session")
def served(movies: tm.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    release = tm.Pipeline([tm.EASE()]).fit(movies).save(folder / "release")
    with Served(release, folder / "state") as served:
        yield served


def open_page(browser: Browser, size: str, scheme: str = "light") -> Iterator[Page]:
    """A page at a size; what its scripts complain about fails the test."""
    width, height = _SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        has_touch=size == "phone",
        is_mobile=size == "phone",
    )
    context.set_default_timeout(20_000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        # A refused request is written there by the browser itself; the page handles it.
        lambda message: (
            message.type in ("error", "warning")
            and "Failed to load resource" not in message.text
            and complaints.append(message.text)
        ),
    )
    outside: list[str] = []
    page.on("request", lambda request: outside.append(request.url))
    yield page
    context.close()
    assert not complaints
    hosts = {url.split("/")[2] for url in outside if url.startswith("http")}
    assert all(host.startswith("127.0.0.1") for host in hosts), hosts


@pytest.fixture
def laptop(browser: Browser) -> Iterator[Page]:
    yield from open_page(browser, "laptop")


@pytest.fixture(params=["laptop", "phone"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    yield from open_page(browser, request.param)


@pytest.fixture(params=["light", "dark"])
def phone(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    yield from open_page(browser, "phone", request.param)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Served]:
    """A release without titles, whose ids try to be markup."""
    import polars as pl

    ids = ["<b>bold</b>", "<img src=x onerror=alert(1)>", "a/b?c#d", "ü😀", "5"]
    frame = pl.DataFrame(
        {
            "user": [f"<i>user</i> {n % 6}" for n in range(30)],
            "item": [ids[(n * n + n // 6) % 5] for n in range(30)],
        }
    )
    data = tm.Dataset.from_frame(frame.unique(), user="user", item="item")
    release = tm.Popularity().fit(data).save(tmp_path / "release")
    with Served(release, tmp_path / "state") as served:
        yield served
