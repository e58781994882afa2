"""Turns the results into the page `docs/benchmarks.md`, a module for each kind of table."""
