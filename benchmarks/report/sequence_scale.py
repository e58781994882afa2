"""The section of what `benchmarks/sequence_scale.py` measures."""

from benchmarks.report.layout import Result, ran, table


def section(found: list[Result]) -> list[str]:
    lines = [
        "## SASRec on long catalogues",
        "",
        "One pass over generated histories of 200 events each, with the softmax over a sample,",
        "whose gradients touch only the rows of a step. Memory is the peak of the whole process.",
    ]
    for result in found:
        first = result["runs"][0]["positions_per_second"]
        rows = [
            [
                f"{run['items']:,}",
                f"{run['peak_mib'] / 1024:.2f} GiB",
                f"{run['positions_per_second']:,.0f}",
                f"{run['positions_per_second'] / first:.2f}",
            ]
            for run in result["runs"]
        ]
        heads = ["items", "peak", "positions a second", "of the first row"]
        lines += ["", *table(heads, rows), "", ran(result)]
    return lines
