"""The commands: a thin layer of typed functions over the package.

Each command imports what it needs when it runs, so that `tastemap --help` answers at once.
"""

from tastemap.cli.app import app, main

__all__ = ["app", "main"]
