"""What the sections of the page share: tables, cells, and what a figure is quoted with."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"

Result = dict[str, Any]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table, numbers to the right."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    return [line(heads), line(["---", *["---:"] * (len(heads) - 1)]), *map(line, rows)]


def tabled(
    title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *quoted: str
) -> list[str]:
    """A table under a heading of its own, and what its figures are quoted with."""
    return ["", f"### {title}", "", *table(heads, rows), "", *quoted]


def spread(values: Sequence[float], sign: str = "", digits: int = 4) -> str:
    """The mean, and the standard deviation where there are several."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{sign}.{digits}f}{deviation}"


def ran(result: Result) -> str:
    """The command, when and where it ran."""
    threads = result["threads"]
    return (
        f"- `{result['command']}`, {result['date']}, {result['machine']}, "
        f"{threads} thread{'s' if threads > 1 else ''}"
    )


def remarked(result: Result) -> list[str]:
    """What somebody has to say of a result, where there is something."""
    return [f"- {result['remark']}"] if "remark" in result else []


def splits(result: Result) -> str:
    """The fingerprint of each split."""
    return ", ".join(f"{name}: {digest}" for name, digest in result["splits"].items())


def gaps(result: Result) -> list[list[str]]:
    """A row for each pair of models: by how much one is better, and the interval."""
    return [
        [f"{gap['model']} against {gap['baseline']}"]
        + [interval(*each) for each in zip(gap["difference"], gap["low"], gap["high"], strict=True)]
        for gap in result["differences"]
    ]


def interval(difference: float, low: float, high: float) -> str:
    """A difference with its interval, bold where that leaves out 0."""
    text = f"{difference:+.4f} ({low:+.4f} to {high:+.4f})"
    return text if low <= 0 <= high else f"**{text}**"
