"""The section of what `benchmarks/temporal.py` measures."""

from benchmarks.report.layout import Result, ran, splits, table


def section(found: list[Result]) -> list[str]:
    lines = [
        "## Ratings: what time tells",
        "",
        "MatrixFactorization and SVD++ know no times; timeSVD++ knows when each rating was given.",
        "The random tenth is that of the table above; the other test is the last tenth of all",
        "ratings, many of them by users of whom nothing is known. Squared errors are averaged over",
        "the seeds.",
        "Differences of RMSE (below 0: the first is better) have 95 % bootstrap intervals over",
        "users.",
    ]
    for result in found:
        lines += ["", f"### {result['dataset']}", ""]
        names = list(next(iter(result["protocols"].values()))["rmse"])
        rows = [
            [name, f"{part['ratings']:,}", *(f"{part['rmse'][model]:.4f}" for model in names)]
            for name, part in result["protocols"].items()
        ]
        lines += [*table(["test", "ratings", *names], rows), ""]
        rows = [
            [
                f"{name}: {gap['model']} against {gap['baseline']}",
                f"{gap['difference']:+.4f}",
                f"{gap['low']:+.4f} to {gap['high']:+.4f}",
            ]
            for name, part in result["protocols"].items()
            for gap in part["differences"]
        ]
        lines += [
            *table(["test", "difference", "interval"], rows),
            "",
            ran(result),
            f"- split {splits(result)}; hyper-parameters: defaults",
        ]
    return lines
