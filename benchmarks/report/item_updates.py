"""The section of what `benchmarks/item_updates.py` measures."""

from benchmarks.report.layout import Result, ran, splits, table


def section(found: list[Result]) -> list[str]:
    lines = [
        "## Item vectors that follow the log",
        "",
        "A release knows the first 60 % of all events (ratings of 4 and 5) by time. The next",
        "30 % come in ten blocks. Before each block those who appear in it are asked, knowing all",
        "that came before and the first half of their events of the block; the later half is to be",
        "found (NDCG@10 over all items, as the service answers). Then the block goes into the log,",
        "and the vectors of its items follow, within a bound on their drift. Retrained: a release",
        "that is made anew before each block. Gains are query by query against vectors that stay,",
        "with 95 % intervals by bootstrap over users. The last tenth of all is not touched.",
    ]
    for result in found:
        lines += ["", f"### {result['dataset']}"]
        for model, runs in result["runs"].items():
            rows = []
            for name, run in runs.items():
                low, high = run["interval"]
                bound = name if run["drift"] is None else f"{float(name):.0%}"
                gain = "" if name == "0.0" else f"{run['gain']:+.4f} ({low:+.4f} to {high:+.4f})"
                rows.append([bound, f"{run['ndcg@10']:.4f}", gain])
            lines += ["", f"{model}:", "", *table(["drift at most", "NDCG@10", "gain"], rows)]
        lines += [
            "",
            ran(result),
            f"- {result['queries']:,} queries, mean of {result['seeds']} seeds; split "
            f"{splits(result)}; hyper-parameters: defaults",
        ]
    return lines
