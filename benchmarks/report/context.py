"""The section of what `benchmarks/context.py` measures."""

from benchmarks.report.layout import Result, ran, splits, spread, tabled

_OF_CONTEXT = ("ndcg@10", "hit_rate@10")


def section(found: list[Result]) -> list[str]:
    lines = [
        "## Circumstances",
        "",
        "Which app somebody uses next, given the daytime, the weekday, whether it is a weekend,",
        "at home or at work, the weather, the country and the city; each use is asked for by",
        "itself, over the full catalogue. The data have no times: the uses are put in an order",
        "drawn at random (no ties), the last tenth is the test, and all that is before is known.",
        "What somebody has used before is not left out, since apps are used again. A row of the",
        "data is a kind of use, so that hardly one that is known comes again in all the same",
        "circumstances. Whether an app is paid (`cost`) is no circumstance here: it says what was",
        "used. Before the model stands `ContextPreFilter`, behind it `ContextPostFilter`; a ranker",
        "orders what the model proposes, and is told the circumstances or not. Mean ± standard",
        "deviation over the orders; differences are those of the same order.",
    ]
    for result in found:
        runs = [run["ways"] for run in result["runs"]]
        rows = []
        for way in runs[0]:
            blind = way.replace(", with circumstances", ", without circumstances")
            base = blind if blind.endswith("without circumstances") else "none"
            gaps = [run[way]["ndcg@10"] - run[base]["ndcg@10"] for run in runs]
            cells = [spread([run[way][metric] for run in runs]) for metric in _OF_CONTEXT]
            against = "–" if way == base else spread(gaps, sign="+")
            rows.append([way, *cells, against])
        settings = (f"{way} {_said(result[way])}" for way in ("pre-filtering", "post-filtering"))
        lines += tabled(
            result["dataset"],
            ["circumstances", "NDCG@10", "HR@10", "NDCG@10 against without"],
            rows,
            ran(result),
            f"- {result['uses']:,} uses, {result['queries']:,} asked for, {result['repeats']:.0%} "
            f"of an app that its user is known to have used; splits {splits(result)}",
            f"- model `{result['model']}`; {'; '.join(settings)}, chosen on the validation part "
            "of the first order; rankers with their defaults over 100 candidates",
        )
    return lines


def _said(settings: Result) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
