"""The section of what `benchmarks/ranking_latency.py` measures."""

from benchmarks.report.layout import Result, ran, remarked, tabled


def section(found: list[Result]) -> list[str]:
    lines = [
        "## How long ordering the candidates of a request takes",
        "",
        "DCN-v2 with three cross layers and attention of the candidates over a history of 50,",
        "vectors of 16 numbers, trained for an epoch; 500 candidates that Item2Vec proposes, one",
        "request after the other, on one thread, in milliseconds that passed; the features are a",
        "part of all. What is true of an item whoever asks is remembered from request to request,",
        "until events are counted anew.",
    ]
    for result in found:
        times = result["milliseconds"]
        shares = list(times["all"])
        rows = [[what, *(f"{each[share]:.2f}" for share in shares)] for what, each in times.items()]
        lines += tabled(
            f"{result['dataset']}, {result['features']} features",
            ["", *shares],
            rows,
            ran(result),
            *remarked(result),
        )
    return lines
