"""The section of what `benchmarks/scale.py` measures."""

from benchmarks.report.layout import Result, ran, table


def section(found: list[Result]) -> list[str]:
    lines = [
        "## Scale: ten million users",
        "",
        "One pass of BPR over generated interactions, users drawn uniformly and items by a power",
        "law, through the model's own `fit`. The bound is the sum of the tables, the optimizer's",
        "state (SGD has none) and the data set, and a fifth more. Memory is resident memory above",
        "what the process held before; `fit` also fills the tables with their first values.",
    ]
    for result in found:
        rows = [
            [
                f"{run['events'] / 1e6:g} million",
                f"{run['peak_mib'] / 1024:.2f} GiB",
                f"{run['bound_mib'] / 1024:.2f} GiB",
                f"{run['dataset_peak_mib'] / 1024:.2f} GiB",
                f"{run['fit_seconds']:.1f} s",
                f"{run['epoch_seconds']:.1f} s",
                f"{run['events'] / run['epoch_seconds'] / 1e6:.2f}",
            ]
            for run in result["runs"]
        ]
        heads = ["interactions", "peak of fit", "bound", "peak of making the data set", "fit"]
        lines += [
            "",
            f"{result['users'] / 1e6:g} million users × {result['items'] / 1e6:g} million items × "
            f"{result['factors']} numbers.",
            "",
            *table([*heads, "of that, the pass", "million a second"], rows),
            "",
            "![Memory and seconds against interactions](img/scale.png)",
            "",
            ran(result),
        ]
    return lines
