"""The report in a real browser, at a desk and on a phone, with names that try to be markup."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser

import tastemap as tm

_NAME = "<script>document.title='taken'</script> & <b>log</b>.csv"


@pytest.fixture(scope="module")
def study(split: tm.splits.Split) -> tm.Study:
    return tm.tune(
        tm.ALS,
        split,
        trials=12,
        metric="ndcg@5",
        space={"factors": (1, 8), "iterations": (1, 5)},
        fixed={"use_values": False},
        seeds=2,
        name=_NAME,
        run=tm.Run(device="cpu", progress=False),
    )


@pytest.fixture(scope="module")
def page(study: tm.Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study.report(tmp_path_factory.mktemp("report") / "new" / "report.html")


class Checked(HTMLParser):
    """Notes the elements and that each that is opened is closed."""

    EMPTY = frozenset({"meta", "line", "polyline", "polygon", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not {"src", "href"} & {name for name, _ in attrs}, "the page is to need nothing else"
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_it_is_whole_and_holds_what_was_found(study: tm.Study, page: Path) -> None:
    text = page.read_text()
    parser = Checked()
    parser.feed(text)
    assert parser.open == []
    assert "script" not in parser.seen
    # Two curves over the depth, the importance, the history, and a slice for each dimension.
    assert parser.seen.count("svg") == 4 + len(study.space)
    for trial in study.trials:
        assert trial.measured is not None
        assert f"{trial.measured.validation:.4f}" in text
    for depth in study.depths:
        assert f">{depth}</text>" in text
    assert f"{study.value:.4f}" in text
    assert "regularization = " in text
    assert "validation part" in text


@pytest.mark.parametrize(("width", "scheme"), [(1100, "light"), (1100, "dark"), (390, "light")])
def test_it_can_be_read(browser: Browser, page: Path, width: int, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    shown = context.new_page()
    complaints: list[str] = []
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("console", lambda message: complaints.append(message.text))
    requests: list[str] = []
    shown.on("request", lambda request: requests.append(request.url))
    shown.goto(page.as_uri())
    assert shown.title() == f"als tuned on {_NAME}"
    assert not complaints
    assert requests == [page.as_uri()]
    # Nothing makes the page wider than the window; what is wide scrolls in its own box.
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    # Labels in plots are as large as people can read, whatever the plot is scaled to.
    sizes = shown.evaluate(
        """[...document.querySelectorAll("svg text")].map(
            t => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a
        ).filter(size => size > 0)"""
    )
    assert min(sizes) > 7.5
    contrast = shown.evaluate(
        """(() => {
            const light = c => {
                const [r, g, b] = c.match(/[0-9.]+/g).slice(0, 3).map(x => {
                    x /= 255; return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const ground = light(getComputedStyle(document.body).backgroundColor);
            return [...document.querySelectorAll("p, td, th, svg text")].map(e => {
                const style = getComputedStyle(e);
                const own = light(e.tagName == "text" ? style.fill : style.color);
                const [a, b] = own > ground ? [own, ground] : [ground, own];
                return (a + 0.05) / (b + 0.05);
            });
        })()"""
    )
    assert min(contrast) >= 4.5
    context.close()


def test_few_trials_and_no_depth_make_a_page_too(split: tm.splits.Split, tmp_path: Path) -> None:
    for model in (tm.Popularity, tm.EASE):
        study = tm.tune(model, split, trials=2, metric="recall@5", run=tm.Run(progress=False))
        text = study.report(tmp_path / "report.html").read_text()
        Checked().feed(text)
        assert "How long should the vectors be" not in text
        assert ("too few to say" in text) == (model is tm.EASE)
