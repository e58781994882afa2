"""A virtual environment for each rival, made on demand from its pinned list."""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

CONTENDERS = Path(__file__).parent / "contenders"


def cache() -> Path:
    """The folder that holds the environments: `tastemap/benchmarks` in the XDG cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tastemap" / "benchmarks"


def interpreter(package: str) -> Path:
    """The Python that has `package`, installed first where it is not there yet.

    Tastemap runs in the environment that runs this; every rival has one of its own, named by a
    hash of its pins, so that a changed pin makes a new environment and never mends an old one.
    """
    if package == "tastemap":
        return Path(sys.executable)
    pins = CONTENDERS / package / "requirements.txt"
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()[:8]
    place = cache() / "venvs" / f"{package}-{digest}"
    ready = place / "ready"
    if not ready.exists():
        print(f"installing {package} into {place}", file=sys.stderr)
        shutil.rmtree(place, ignore_errors=True)
        venv.create(place, with_pip=True)
        _install(place / "bin" / "python", pins)
        ready.touch()
    return place / "bin" / "python"


def _install(python: Path, pins: Path) -> None:
    # What only builds with tools of its time finds them pinned beside it.
    tools = pins.with_name("build.txt")
    if tools.exists():
        _pip(python, tools)
        _pip(python, pins, "--no-build-isolation")
    else:
        _pip(python, pins)


def _pip(python: Path, pins: Path, *options: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", *options]
    done = subprocess.run([*command, "-r", str(pins)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{pins} cannot be installed here:\n{done.stderr[-2000:]}")
