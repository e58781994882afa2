"""Results on disk: a JSON file for each suite and data set.

A run of some contenders on the same splits replaces theirs and leaves the others as they are."""

import json
import os
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.runner import THREADS

FOLDER = Path(__file__).parent / "results"


def write(suite: str, dataset: str, result: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Writes a suite's result with what is needed to judge it, and says where."""
    about = {
        "suite": suite,
        "dataset": dataset,
        "command": " ".join(["python -m benchmarks.run", *_without_contenders(sys.argv[1:])]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "threads": THREADS,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{suite}-{dataset}.json"
    if path.exists() and "contenders" in result:
        old = json.loads(path.read_text())
        splits = {str(seed): digest for seed, digest in result["splits"].items()}
        # A slow contender may have had fewer seeds than the others.
        if splits.items() <= old.get("splits", {}).items():
            result = {**result, "splits": old["splits"], **_with_others(result, old)}
    path.write_text(json.dumps(_rounded({**about, **result}), indent=1) + "\n")
    return path


def _with_others(result: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """Contenders and differences, and those of before in which nobody has taken part anew."""
    found = {"contenders": {**old["contenders"], **result["contenders"]}}
    if "differences" in result:
        anew = {contender["title"] for contender in result["contenders"].values()}
        kept = [gap for gap in old["differences"] if not anew & {gap["model"], gap["baseline"]}]
        found["differences"] = [*kept, *result["differences"]]
    return found


def _without_contenders(arguments: list[str]) -> Iterator[str]:
    """The command that runs all, since what others have measured stands beside it."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if "--contender" not in (before, argument):
            yield argument


def read(folder: Path = FOLDER) -> dict[tuple[str, str], dict[str, Any]]:
    """All results, by suite and data set."""
    found = (json.loads(path.read_text()) for path in sorted(folder.glob("*.json")))
    return {(result["suite"], result["dataset"]): result for result in found}


def machine() -> str:
    """The machine in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    names = {line.partition(":")[2].strip() for line in _processor_lines()}
    processor = " and ".join(sorted(names)) or platform.machine()
    return (
        f"{os.cpu_count()} cores ({processor}), {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def _processor_lines() -> Iterator[str]:
    info = Path("/proc/cpuinfo")
    if info.exists():
        yield from (line for line in info.read_text().splitlines() if line.startswith("model name"))


def _rounded(value: Any) -> Any:
    """Five significant digits are enough, and keep the files small."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value
