"""Tastemap and its rivals side by side: one split, one evaluator, a process each.

`python -m benchmarks.run --help` says how to run it; `docs/benchmarks.md` holds the results.
"""
