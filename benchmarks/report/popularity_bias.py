"""The section of what `benchmarks/popularity_bias.py` measures."""

from benchmarks.report.layout import Result, ran, splits, spread, tabled


def section(found: list[Result]) -> list[str]:
    lines = [
        "## Bias of popularity",
        "",
        "What two options of `MatrixFactorization` do to the accuracy of lists and to what is in",
        "them: `propensity_exponent`, by which what is rarely chosen weighs more, and how",
        "negatives are drawn. The split is that of the lists above, all else the class defaults.",
        "Coverage is the share of the catalogue in anybody's first ten; popularity the mean, over",
        "all of these, of the share of users who have the item in the training part. Propensities",
        "take popular items out of the lists, and so do negatives drawn by popularity. The test",
        "part has the bias of the training part, so that NDCG does not show what is gained.",
        "Mean ± standard deviation over the seeds.",
    ]
    names = {"ndcg@10": "NDCG@10", "coverage@10": "coverage@10", "popularity@10": "popularity@10"}
    for result in found:
        rows = []
        for title, variant in result["variants"].items():
            cells = [spread([run[name] for run in variant["runs"]]) for name in names]
            rows.append([title, *cells])
        lines += tabled(
            result["dataset"],
            ["variant", *names.values()],
            rows,
            ran(result),
            f"- split {splits(result)}",
        )
    return lines
