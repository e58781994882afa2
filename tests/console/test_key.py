"""The page of a service that asks for a key."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from playwright.sync_api import Page, expect
from served import Served

import tastemap as tm
from tastemap.online.access import add_key


def test_a_key_is_asked_for_once(laptop: Page, tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": [n % 5 for n in range(20)], "item": [n % 7 for n in range(20)]})
    data = tm.Dataset.from_frame(frame.unique(), user="user", item="item")
    release = tm.Popularity().fit(data).save(tmp_path / "release")
    keys = tmp_path / "keys.toml"
    reader = add_key(keys, "reader", ["read"])
    with Served(release, tmp_path / "state", keys=keys) as served:
        laptop.goto(served.url)
        dialog = laptop.get_by_role("dialog", name="This service asks for a key")
        expect(dialog).to_contain_text("a key is needed")
        dialog.get_by_label("Key").fill("tm_wrong")
        dialog.get_by_role("button", name="Go on").click()
        expect(dialog).to_contain_text("the key is not known")
        dialog.get_by_label("Key").fill(reader)
        dialog.get_by_label("Key").press("Enter")
        expect(dialog).to_have_count(0)
        cards = laptop.locator(".card:not(.skeleton)")
        expect(cards.first).to_be_visible()
        laptop.reload()
        expect(cards.first).to_be_visible()
        expect(dialog).to_have_count(0)
        assert laptop.evaluate("localStorage.length") == 0
        # What the key may not do is said, and nothing is asked again.
        with laptop.expect_response("**/events") as posted:
            cards.first.get_by_role("button", name="Like").click()
        assert posted.value.status == 403
        expect(laptop.get_by_text("this needs the role write").first).to_be_visible()
        expect(dialog).to_have_count(0)
