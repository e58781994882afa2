"""The check of the READMEs finds what is not there any more, and lets pass what is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import check_readme  # noqa: E402


def fenced(language: str, code: str) -> str:
    return f"Words.\n\n```{language}\n{code}\n```\n"


def test_the_readmes_are_true() -> None:
    ran = subprocess.run(
        [sys.executable, SCRIPTS / "check_readme.py"], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize(
    "text",
    [
        fenced("sh", "make demo SERVE=no PORT=9 && cd x  # then\n.venv/bin/tastemap models als"),
        fenced("bash", "$ tastemap train --data log.csv \\\n    --set factors=8 --out demo > log"),
        fenced("sh", "tastemap --version; tastemap data; pip install . ; curl http://127.0.0.1"),
        fenced("python", "import tastemap as tm\nmodel = tm.ALS(factors=3)\nmodel.whatever()"),
        fenced("python", "from tastemap.data import splits\nsplits.GlobalTime(test=0.2)"),
        "Type `make test`, or `tastemap data describe PATH --kind COLUMN`.",
        fenced("text", "tastemap nonsense"),
    ],
)
def test_what_is_there_passes(text: str) -> None:
    assert check_readme.problems_of_text(text) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (fenced("sh", "make dmeo"), "no target dmeo"),
        (fenced("sh", "make demo SERVES=no"), "no variable SERVES"),
        (fenced("sh", "cd x && tastemap trian --data x"), "no command `tastemap trian`"),
        (fenced("sh", "tastemap releases undo --release x"), "no command `tastemap releases undo`"),
        (fenced("sh", "tastemap train --dat x --out y"), "no option --dat"),
        (fenced("sh", "tastemap train --data x"), "--out"),
        (fenced("sh", "tastemap serve --release x --port many"), "valid integer"),
        (fenced("python", "import tastemap as tm\ntm.AlternatingLeast()"), "AlternatingLeast"),
        (fenced("python", "import tastemap as tm\ntm.splits.ByMoon()"), "ByMoon"),
        (fenced("python", "import tastemap as tm\ntm.ALS(factor=3)"), "no argument 'factor'"),
        (fenced("python", "import tastemap as tm\ntm.evaluate(m, s, metric=[])"), "'metric'"),
        (fenced("python", "from tastemap.nowhere import x"), "nowhere"),
        (fenced("python", "import = 3"), "does not compile"),
        ("Type `make coffee`.", "no target coffee"),
        ("Type `tastemap serve --here`.", "no option --here"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_found(text: str, problem: str) -> None:
    found = check_readme.problems_of_text(text)
    assert len(found) == 1
    assert problem in found[0]


def test_languages_hold_the_same_code() -> None:
    english = fenced("sh", "make demo  # minutes") + fenced("python", "f(1)  # one")
    russian = fenced("sh", "make demo  # минуты") + fenced("python", "f(1)  # один")
    assert check_readme.differences({"a": english, "b": russian}) == []
    other = fenced("sh", "make test") + fenced("python", "f(2)")
    assert len(check_readme.differences({"a": english, "b": other})) == 2
    assert len(check_readme.differences({"a": english, "b": fenced("sh", "make demo")})) == 1
