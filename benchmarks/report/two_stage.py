"""The section of what `benchmarks/two_stage.py` measures."""

import statistics

from benchmarks.report.layout import Result, interval, ran, tabled


def section(found: list[Result]) -> list[str]:
    lines = [
        "## Two stages against one",
        "",
        "The last tenth of all events is the test; asked about are users with a history, each",
        "once. Retrievers alone, joined by their ranks, and with a ranker over the candidates of",
        "all three: in the order that it has learned, and with every tenth place for what few",
        "people take (`LongTail`), which is the default. Coverage is the share of the catalogue",
        "that all lists together show. In brackets the 95 % interval of the difference to the best",
        "retriever.",
    ]
    heads = ["lists", "NDCG@10", "difference", "Recall@20", "coverage@10"]
    for result in found:
        alone = {**result["alone"], "all three, by rank": result["joined"]}
        rows = [[name, *_cells([values])] for name, values in alone.items()]
        for name, runs in result["ranked"].items():
            for tail, title in (("none", "as learned"), ("default", "default")):
                of_tail = [run for run in runs if run["long_tail"] == tail]
                rows.append([f"{name}, {title}", *_cells(of_tail)])
        lines += tabled(
            result["dataset"],
            heads,
            rows,
            ran(result),
            f"- split {result['split']}; {result['queries']:,} queries; defaults; means of "
            f"{len({run['seed'] for run in runs})} seeds, intervals of the first",
        )
    return lines


def _cells(runs: list[Result]) -> list[str]:
    def mean(name: str) -> str:
        return f"{statistics.fmean(run[name] for run in runs):.4f}"

    gaps = [gap for gap in runs[0].get("differences", []) if gap["metric"] == "ndcg@10"]
    gap = interval(gaps[0]["difference"], gaps[0]["low"], gaps[0]["high"]) if gaps else "–"
    return [mean("ndcg@10"), gap, mean("recall@20"), mean("coverage@10")]
