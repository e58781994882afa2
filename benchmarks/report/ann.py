"""The section of what `benchmarks/ann.py` measures."""

from benchmarks.report.layout import Result, ran, tabled


def section(found: list[Result]) -> list[str]:
    lines = [
        "## Nearest neighbours",
        "",
        "The 100 greatest inner products of a query with vectors of 64 numbers: how many of the",
        "true ones are found, and what a query costs on one core. A thousand clusters whose",
        "numbers fall in size like those that models learn, once all vectors of one length, once",
        "of lengths that differ (`benchmarks/ann.py` says just how). Each index is saved, and",
        "loaded by a fresh process that asks one query at a time. Bytes a vector: what the process",
        "holds by itself, and what it maps from a file, which the system may take back. IVF looks",
        "at no more lists than twice those that found enough when it was built, so that rows of",
        "more probes can be the same search.",
    ]
    for result in found:
        rows = [
            [
                lengths,
                name,
                run["setting"],
                f"{run['recall']:.3f}",
                f"{run['milliseconds']:.2f} ms",
                f"{index['build_cpu_seconds']:.0f} s",
                f"{index['bytes_each']:.0f}",
                f"{index['mapped_bytes_each']:.0f}",
            ]
            for lengths, indices in result["lengths"].items()
            for name, index in indices.items()
            for run in index["runs"]
        ]
        heads = ["lengths", "index", "setting", "recall@100", "CPU a query", "CPU to build"]
        heads += ["bytes held", "bytes mapped"]
        lines += tabled(f"{result['n']:,} vectors", heads, rows, ran(result))
    return lines
