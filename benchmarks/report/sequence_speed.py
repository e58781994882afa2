"""The section of what `benchmarks/sequence_speed.py` measures."""

from benchmarks.report.layout import Result, ran, remarked, tabled


def section(found: list[Result]) -> list[str]:
    lines = [
        "## SASRec: what each measure for speed brings",
        "",
        "Positions a second of training steps with the class defaults (steps of 4,096 positions,",
        "histories of up to 200 events), and without one of the measures at a time. The share is",
        "the median of what a variant had of the speed of all together in the same round.",
    ]
    for result in found:
        rows = [
            [name, f"{variant['positions_per_second']:,.0f}", f"{variant['share']:.2f}"]
            for name, variant in result["variants"].items()
        ]
        lines += tabled(
            result["dataset"],
            ["variant", "positions a second", "share"],
            rows,
            f"{ran(result)}; {result['rounds']} rounds; torch {result['torch']}",
            *remarked(result),
        )
    return lines
