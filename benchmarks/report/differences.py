"""By how much one model differs from another."""

from benchmarks.report.layout import Result, gaps, ran, splits, tabled


def neural(found: list[Result]) -> list[str]:
    lines = [
        "## Neural and linear models",
        "",
        "By how much autoencoders differ from linear models and iALS++ on the lists above (over 0:",
        "the autoencoder is better), with 95 % bootstrap intervals over users, whose values are",
        "averaged over the seeds. Bold where the interval leaves out 0.",
    ]
    return _differences(lines, found)


def bodies(found: list[Result]) -> list[str]:
    lines = [
        "## SASRec: the body of today and the published one",
        "",
        "By how much SASRec's defaults (gated blocks and layers, rotary positions, items that",
        "begin as Item2Vec's) differ from the published body with a random start, after as many",
        "passes (12) and after 64, where it has ended to learn; all with the softmax over all",
        "items, on what is chosen next; intervals as above.",
    ]
    return _differences(lines, found)


def _differences(lines: list[str], found: list[Result]) -> list[str]:
    for result in found:
        lines += tabled(
            result["dataset"],
            ["models", *result["metrics"]],
            gaps(result),
            ran(result),
            f"- split {splits(result)}; hyper-parameters: defaults",
        )
    return lines
