"""The page, in a real browser, at the size of a laptop and of a phone."""

from __future__ import annotations

import uuid

from playwright.sync_api import Page, expect
from served import Served

CARDS = ".card:not(.skeleton)"


def card_items(page: Page) -> list[str]:
    page.wait_for_selector("#cards:not([aria-busy])")
    return [card.get_attribute("data-item") or "" for card in page.locator(CARDS).all()]


def assert_fits(page: Page) -> None:
    """Nothing sticks out to the side."""
    wide = page.evaluate("document.documentElement.scrollWidth - document.body.clientWidth")
    assert wide <= 0
    assert page.evaluate("visualViewport.width") <= page.viewport_size["width"]  # type: ignore[index]


def test_a_known_user(page: Page, served: Served) -> None:
    page.goto(served.url)
    page.wait_for_selector(CARDS)
    search = page.get_by_role("combobox", name="Find a user")
    search.fill("42")
    # Before the answer comes, the list may hold another user with 42 events.
    page.locator("[role=option][data-key='42']").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recommended for user 42")
    shown = card_items(page)
    answer = served.http.get("/users/42/recommendations?k=24").json()
    assert shown == [item["item"] for item in answer["items"]]
    for place, item in enumerate(answer["items"][:3]):
        card = page.locator(CARDS).nth(place)
        expect(card).to_contain_text(item["reason"])
        expect(card.locator(".source")).to_have_text("EASE")
        expect(card.locator(".facts")).to_contain_text(str(item["year"]))
    history = served.http.get("/users/42/history?limit=300").json()
    liked = [item["item"] for item in history["items"] if item["liked"]]
    rows = page.get_by_role("heading", name="What they liked").locator("..").locator(".row")
    assert [row.get_attribute("data-item") for row in rows.all()] == liked
    assert page.url.endswith("#/user/42")
    assert_fits(page)


def test_a_like_changes_the_recommendations_at_once(page: Page, served: Served) -> None:
    user = f"anna {uuid.uuid4()}"
    page.goto(served.url)
    page.wait_for_selector(CARDS)
    page.get_by_role("combobox").fill(user)
    page.get_by_role("option", name="someone new").click()
    expect(page.locator(CARDS).first.locator(".reason")).to_contain_text("Popular right now")
    before = card_items(page)
    with page.expect_response("**/events") as posted:
        page.locator(CARDS).nth(1).get_by_role("button", name="Like").click()
    assert posted.value.json() == {"accepted": 1, "duplicates": 0}
    expect(page.locator(CARDS).first.locator(".reason")).to_contain_text("Because you liked")
    after = card_items(page)
    assert before[1] not in after
    expect(page.locator("#taste .row")).to_have_attribute("data-item", before[1])
    expect(page.get_by_role("status")).to_contain_text("Liked")
    history = served.http.get(f"/users/{user}/history").json()["items"]
    assert [(item["item"], item["liked"]) for item in history] == [(before[1], True)]


def test_picking_films(page: Page, served: Served) -> None:
    page.goto(served.url)
    page.wait_for_selector(CARDS)
    page.get_by_role("button", name="My picks").click()
    expect(page.locator(CARDS).first.locator(".reason")).to_contain_text("Popular")
    search = page.get_by_role("combobox", name="Find things you like")
    for words in ("star wars", "empire strikes"):
        search.fill(words)
        page.get_by_role("option").first.click()
    expect(page.locator("#taste .list").first.locator(".row")).to_have_count(2)
    expect(page.locator(CARDS).first.locator(".reason")).to_contain_text("Because you liked")
    page.wait_for_selector("#cards:not([aria-busy])")
    expected = served.http.post("/recommendations", json={"history": ["50", "172"], "k": 24})
    assert card_items(page) == [item["item"] for item in expected.json()["items"]]
    assert page.url.endswith("#/picks/50,172")
    page.get_by_role("button", name="Remove Star Wars").click()
    expect(page.locator("#taste .list").first.locator(".row")).to_have_count(1)
    assert_fits(page)


def test_similar_items_on_click(page: Page, served: Served) -> None:
    page.goto(served.url + "/#/picks/50")
    page.locator(CARDS).first.get_by_role("button", name="show similar").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    item = card_items(page)[0]
    rows = dialog.locator(".row:not(.skeleton)")
    expect(rows).to_have_count(12)
    expected = served.http.get(f"/items/{item}/similar?k=12").json()["items"]
    assert [row.get_attribute("data-item") for row in rows.all()] == [
        one["item"] for one in expected
    ]
    title = rows.nth(1).locator(".title").inner_text()
    rows.nth(1).get_by_role("button").click()
    expect(dialog.get_by_role("heading", level=2)).to_have_text(title)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_the_address_brings_everything_back(laptop: Page, served: Served) -> None:
    laptop.goto(served.url + "/#/user/7")
    laptop.wait_for_selector(CARDS)
    first = card_items(laptop)
    laptop.get_by_role("combobox").fill("13")
    # Keys that come before what they move among would end at another one.
    laptop.wait_for_selector("[role=option]")
    laptop.keyboard.press("ArrowDown")
    laptop.keyboard.press("ArrowUp")
    laptop.wait_for_selector("[role=option][aria-selected=true]")
    laptop.keyboard.press("Enter")
    expect(laptop.get_by_role("heading", level=1)).to_have_text("Recommended for user 13")
    laptop.go_back()
    expect(laptop.get_by_role("heading", level=1)).to_have_text("Recommended for user 7")
    assert card_items(laptop) == first
    laptop.reload()
    laptop.wait_for_selector(CARDS)
    assert card_items(laptop) == first


def test_by_keyboard_alone(laptop: Page, served: Served) -> None:
    laptop.goto(served.url + "/#/picks/")
    laptop.wait_for_selector(CARDS)
    seen = []
    for _ in range(60):
        laptop.keyboard.press("Tab")
        seen.append(
            laptop.evaluate(
                "[document.activeElement.tagName, document.activeElement.id,"
                " document.activeElement.getAttribute('aria-label') ?? ''].join(' ')"
            )
        )
        if "Pick " in seen[-1] and laptop.evaluate("!!document.activeElement.closest('.card')"):
            break
    assert any("search" in one for one in seen)
    assert any("mode-user" in one for one in seen)
    laptop.keyboard.press("Enter")
    expect(laptop.locator("#taste .list").first.locator(".row")).to_have_count(1)
    expect(laptop.locator(CARDS).first.locator(".reason")).to_contain_text("Because you liked")
    # The focus stays among the cards, where the picked one was.
    laptop.wait_for_function("document.activeElement.closest('.card') !== null")


def test_more_cards(laptop: Page, served: Served) -> None:
    laptop.goto(served.url + "/#/user/7")
    laptop.wait_for_selector(CARDS)
    first = card_items(laptop)
    laptop.get_by_role("button", name="Show more").click()
    expect(laptop.locator(CARDS)).to_have_count(2 * len(first))
    assert card_items(laptop)[: len(first)] == first


def test_an_error_is_said_and_can_be_tried_again(page: Page, served: Served) -> None:
    page.goto(served.url + "/#/user/7")
    page.wait_for_selector(CARDS)
    page.route("**/recommendations*", lambda route: route.abort())
    page.get_by_role("button", name="My picks").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("does not answer")
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    page.unroute("**/recommendations*")
    alert.get_by_role("button", name="Try again").click()
    page.wait_for_selector(CARDS)
    expect(alert).to_have_count(0)


def test_a_like_that_fails_is_taken_back(laptop: Page, served: Served) -> None:
    laptop.goto(served.url + "/#/user/7")
    laptop.wait_for_selector(CARDS)
    laptop.route("**/events", lambda route: route.abort())
    button = laptop.locator(CARDS).first.get_by_role("button", name="Like")
    button.click()
    expect(laptop.get_by_role("status")).to_contain_text("not recorded")
    expect(button).to_have_attribute("aria-pressed", "false")


def test_loading_shows_at_once(laptop: Page, served: Served) -> None:
    laptop.route("**/recommendations*", lambda route: None)  # never answered
    laptop.goto(served.url + "/#/user/7")
    expect(laptop.locator(".card.skeleton")).to_have_count(12)
    expect(laptop.locator("#cards")).to_have_attribute("aria-busy", "true")


def test_on_a_phone_in_both_schemes(phone: Page, served: Served) -> None:
    phone.goto(served.url + "/#/user/7")
    phone.wait_for_selector(CARDS)
    assert_fits(phone)
    columns = phone.evaluate(
        "new Set(Array.from(document.querySelectorAll('.card'), c => c.offsetLeft)).size"
    )
    assert columns == 2
    for button in phone.locator(".card .like").all()[:4]:
        box = button.bounding_box()
        assert box is not None
        assert round(min(box["width"], box["height"])) >= 40
    # Text against its background, by the WCAG formula: at least 4.5 to 1.
    worst = phone.evaluate(
        """() => {
          const luminance = (text) => {
            const canvas = document.createElement('canvas').getContext('2d');
            canvas.fillStyle = text;
            canvas.fillRect(0, 0, 1, 1);
            const [r, g, b] = Array.from(canvas.getImageData(0, 0, 1, 1).data, (v) => {
              v /= 255;
              return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const ground = (node) => {
            for (; node; node = node.parentElement) {
              const colour = getComputedStyle(node).backgroundColor;
              if (!/, 0\\)$|transparent/.test(colour)) return luminance(colour);
            }
          };
          return Math.min(...Array.from(
            document.querySelectorAll('h1, p, .title, .facts, .reason span, .mode, .note'),
            (node) => {
              const pair = [luminance(getComputedStyle(node).color), ground(node)];
              return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
            }));
        }"""
    )
    assert worst >= 4.5


def test_ids_without_titles_are_shown_as_text(laptop: Page, plain: Served) -> None:
    laptop.goto(plain.url + "/#/picks/")
    laptop.wait_for_selector(CARDS)
    items = card_items(laptop)
    assert {"<b>bold</b>", "<img src=x onerror=alert(1)>", "a/b?c#d", "ü😀", "5"} == set(items)
    titles = [title.inner_text() for title in laptop.locator(".card .title").all()]
    assert titles == [f"Item {item}" for item in items]
    assert laptop.locator(".card b, .card img").count() == 0
    place = items.index("a/b?c#d")
    laptop.locator(CARDS).nth(place).get_by_role("button", name="show similar").click()
    expect(laptop.get_by_role("dialog").get_by_role("heading", level=2)).to_have_text(
        "Item a/b?c#d"
    )
    laptop.keyboard.press("Escape")
    laptop.get_by_role("button", name="A user").click()
    expect(laptop.get_by_role("heading", level=1)).to_contain_text("<i>user</i>")


def test_only_own_files_may_run(served: Served) -> None:
    response = served.http.get("/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<script>" not in response.text
    assert "style=" not in response.text
