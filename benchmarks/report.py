"""Turns the results into the page `docs/benchmarks.md`."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contenders import ALL

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"

Result = dict[str, Any]

_HEAD = """\
# Benchmarks

Tastemap beside other libraries: the same split, the same evaluator, the same machine and the same
two threads for everybody. This page is written by `python -m benchmarks.run write-docs` from the
files in `benchmarks/results/`; nobody edits the figures by hand. Where another library is better or
faster, the tables say so: the best figure of each column is bold, whoever has it.

## How it is measured

- **One process each.** A contender runs in a fresh process; a rival in a virtual environment of its
  own, made on first use from pinned versions (`benchmarks/contenders/*/requirements.txt`). All read
  the same file of training data and never see the test part.
- **One evaluator.** What comes back, lists of items or predicted ratings, is judged by
  `tastemap.metrics` (itself tested against `ranx` and `scikit-learn`). A list that holds an
  unknown, a repeated or an already seen item is an error.
- **Clocks** count wall seconds of fitting and of recommending from data in the library's own
  structures. Before the clock starts each contender answers a small part of the task, so that no
  compilation and no loading of libraries is counted, for nobody.
- **Two threads** for everybody, `OMP_WAIT_POLICY=PASSIVE`. For `implicit` BLAS has one thread, as
  it asks for. Surprise knows only one.
- **Hyper-parameters.** Tastemap runs with its defaults, the same on every data set; those of ALS
  and MatrixFactorization were chosen on validation parts of these two. Rivals run as is said below
  each table. Their searches (`python -m benchmarks.tune`) are short, and shorter on movielens-1m:
  a longer one may find better settings for them.
- **The machine is shared**, so seconds vary from run to run by a factor of two and more. Where
  speed is compared, the two take turns, and the ratio of each turn is taken.
"""


def render(results: dict[tuple[str, str], Result]) -> str:
    """The page, with a section for each suite that there are results of."""
    sections = [_HEAD]
    for suite, write in _SECTIONS.items():
        found = [result for (name, _), result in results.items() if name == suite]
        if found:
            sections.append(write(found))
    return "\n".join(sections)


def _top_n(found: list[Result]) -> str:
    lines = [
        "## Lists from implicit feedback",
        "",
        "What users rated 4 or better, of users with at least 5 such ratings; a random fifth of",
        "each user's is the test (`round(n / 5)`), drawn anew for each seed. The whole catalogue",
        "is ranked without what the user has in the training part; recall is divided by all test",
        "items of a user. Mean ± standard deviation over the seeds; seconds are medians.",
    ]
    columns = {"recall@20": "Recall@20", "ndcg@10": "NDCG@10", "ndcg@100": "NDCG@100"}
    for result in found:
        lines += _quality(result, columns, max, ("fit", "recommend"))
    return "\n".join(lines) + "\n"


def _ratings(found: list[Result]) -> str:
    lines = [
        "## Ratings",
        "",
        "The test part is the first tenth of `numpy.random.RandomState(42).permutation(n)` over",
        "the rows of the file; the seeds are the models'. Mean ± standard deviation over them;",
        "seconds are medians.",
    ]
    for result in found:
        lines += _quality(result, {"rmse": "RMSE", "mae": "MAE"}, min, ("fit", "predict"))
    return "\n".join(lines) + "\n"


def _quality(
    result: Result, columns: dict[str, str], best_of: Any, phases: Sequence[str]
) -> list[str]:
    entries = [entry for _, entry in _entries(result)]
    means = {
        key: [statistics.fmean(run[key] for run in e["runs"]) for e in entries] for key in columns
    }
    best = {key: best_of(values) for key, values in means.items()}
    rows = []
    for number, entry in enumerate(entries):
        cells = [entry["title"]]
        for key in columns:
            values = [run[key] for run in entry["runs"]]
            text = f"{means[key][number]:.4f}"
            text = f"**{text}**" if text == f"{best[key]:.4f}" else text
            cells.append(text + (f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""))
        for phase in phases:
            seconds = [run["seconds"].get(phase, 0.0) for run in entry["runs"]]
            cells.append(f"{statistics.median(seconds):.2f} s")
        rows.append(cells)
    return [
        "",
        f"### {result['dataset']}",
        "",
        *_table(["model", *columns.values(), *phases], rows),
        "",
        *_about(result),
    ]


def _als_speed(found: list[Result]) -> str:
    text = [
        "## ALS: time to the same quality",
        "",
        "Seconds of `fit` until the NDCG@100 that `implicit` reaches with its 15 iterations: the",
        "least number of iterations with which ours reaches it, timed as a fit of its own.",
    ]
    return "\n".join([*text, *_races(found, "ndcg@100", "NDCG@100")]) + "\n"


def _ease_speed(found: list[Result]) -> str:
    text = [
        "## EASE: recommendations for all users",
        "",
        "Seconds of `recommend` for all users, the ten best unseen items each, from external ids",
        "to a frame of external ids, on both sides.",
    ]
    return "\n".join([*text, *_races(found)]) + "\n"


def _mf_speed(found: list[Result]) -> str:
    text = [
        "## Matrix factorisation: time to the same error",
        "",
        "Seconds of `fit` until the RMSE that Cornac reaches with the settings of the table above:",
        "the least number of epochs with which ours reaches it, timed as a fit of its own.",
    ]
    return "\n".join([*text, *_races(found, "rmse", "RMSE")]) + "\n"


def _races(found: list[Result], metric: str = "", title: str = "") -> list[str]:
    lines = []
    for result in found:
        lines += ["", f"### {result['dataset']}", ""]
        for race in result["races"]:
            lines += [*_race(result["phase"], race, metric, title), ""]
        lines += _about(result)
    return lines


def _race(phase: str, race: Result, metric: str, title: str) -> list[str]:
    steps = race.get("ratings", {})
    heads = ["model", f"{phase}, median", "range", *([title] if metric else [])]
    heads += ["million ratings/s"] if steps else []
    rows = []
    for entry in race["contenders"].values():
        seconds = [run["seconds"][phase] for run in entry["runs"]]
        middle = statistics.median(seconds)
        cells = [entry["title"], f"{middle:.3f} s", f"{min(seconds):.3f}–{max(seconds):.3f} s"]
        if metric:
            cells.append(f"{statistics.fmean(run[metric] for run in entry['runs']):.4f}")
        if steps:
            done = steps["ours" if entry["ours"] else "theirs"]
            cells.append(f"{done / middle / 1e6:.1f}")
        rows.append(cells)
    ratios = race["ratios"]
    middle = f"median **{statistics.median(ratios):.2f}**, from {min(ratios):.2f} to"
    return [
        *_table(heads, rows),
        "",
        f"Their seconds / ours in {len(ratios)} turns: {middle} {max(ratios):.2f}.",
    ]


def _about(result: Result) -> list[str]:
    """What a figure is quoted with."""
    entries = _entries(result)
    versions: dict[str, str] = {}
    for _, entry in entries:
        versions |= {name: v for name, v in entry["versions"].items() if name != "numpy"}
    hashes = [f"{seed}: {digest}" for seed, digest in result["splits"].items()]
    if len(set(result["splits"].values())) == 1:
        hashes = [next(iter(result["splits"].values()))]
    runs = entries[0][1]["runs"]
    settings = [
        f"    - {entry['title']}: {ALL[name].note}{_given(entry)}" for name, entry in entries
    ]
    return [
        f"- `{result['command']}`, {result['date']}, {result['machine']}, "
        f"{result['threads']} threads",
        f"- split {', '.join(hashes)}; seeds {', '.join(str(run['seed']) for run in runs)}",
        f"- {', '.join(f'{name} {v}' for name, v in sorted(versions.items()))}",
        "- hyper-parameters:",
        *settings,
    ]


def _entries(result: Result) -> list[tuple[str, Result]]:
    parts = result.get("races", [result])
    places = {name: place for place, name in enumerate(ALL)}
    found = [pair for part in parts for pair in part["contenders"].items() if pair[0] in ALL]
    return found if "races" in result else sorted(found, key=lambda pair: places[pair[0]])


def _given(entry: Result) -> str:
    given = {name: value for name, value in entry["parameters"].items() if name != "model"}
    if not given:
        return ""
    return " (" + ", ".join(f"`{name}={value}`" for name, value in given.items()) + ")"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    return [line(heads), line(["---", *["---:"] * (len(heads) - 1)]), *map(line, rows)]


_SECTIONS = {
    "topn": _top_n,
    "ratings": _ratings,
    "als-speed": _als_speed,
    "ease-speed": _ease_speed,
    "mf-speed": _mf_speed,
}
