"""The contenders of a result, and what their figures are quoted with."""

from benchmarks.contenders import ALL
from benchmarks.report.layout import Result, ran, remarked, splits


def about(result: Result) -> list[str]:
    """What a figure is quoted with."""
    entries = contenders_of(result)
    versions: dict[str, str] = {}
    for _, entry in entries:
        versions |= {name: v for name, v in entry["versions"].items() if name != "numpy"}
    hashes = splits(result)
    if len(set(result["splits"].values())) == 1:
        hashes = next(iter(result["splits"].values()))
    seeds = sorted({run["seed"] for _, entry in entries for run in entry["runs"]})
    settings = [
        f"    - {entry['title']}: {ALL[name].note}{_given(entry)}" for name, entry in entries
    ]
    return [
        ran(result),
        *remarked(result),
        f"- split {hashes}; seeds {', '.join(map(str, seeds))}",
        f"- {', '.join(f'{name} {v}' for name, v in sorted(versions.items()))}",
        "- hyper-parameters:",
        *settings,
    ]


def contenders_of(result: Result) -> list[tuple[str, Result]]:
    """Each with its name, in the order in which they took turns, or in that of `ALL`."""
    parts = result.get("races", [result])
    places = {name: place for place, name in enumerate(ALL)}
    found = [pair for part in parts for pair in part["contenders"].items() if pair[0] in ALL]
    return found if "races" in result else sorted(found, key=lambda pair: places[pair[0]])


def _given(entry: Result) -> str:
    given = {name: value for name, value in entry["parameters"].items() if name != "model"}
    if not given:
        return ""
    return " (" + ", ".join(f"`{name}={value}`" for name, value in given.items()) + ")"
