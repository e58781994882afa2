"""The floors of docs/architecture.md: each package imports only from its own floor or below."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tastemap

ROOT = Path(tastemap.__file__).parent
FLOORS = [
    ["errors", "compiled"],
    ["hyperparameters", "supervision"],
    ["members"],
    ["data", "storage", "metrics"],
    ["kernels", "sampling", "losses", "nn", "simulation"],
    ["training"],
    ["features", "content"],
    ["retrieval", "ranking"],
    ["evaluation", "index", "policy"],
    ["pipeline", "tuning"],
    ["release"],
    ["online", "experiments", "audit"],
    ["console"],
    ["cli"],
    ["__main__"],
]
FLOOR = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def imported(path: Path) -> set[str]:
    """The packages of tastemap that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            names = [node.module or ""]
            if node.module == "tastemap":
                names = [f"tastemap.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("tastemap.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_from_below(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert package in FLOOR, f"{package} has no floor in docs/architecture.md"
    for other in imported(path):
        assert FLOOR[other] <= FLOOR[package], f"{path} (floor {FLOOR[package]}) imports {other}"
        assert other == package or FLOOR[other] < FLOOR[package], (
            f"{path} imports {other} of its own floor: packages of one floor stand apart"
        )
