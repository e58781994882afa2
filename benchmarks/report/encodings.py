"""The section of what `benchmarks/encodings.py` measures."""

from benchmarks.report.layout import Result, ran, spread, table


def section(found: list[Result]) -> list[str]:
    lines = [
        "## Rankers: encodings of numbers, tables of values",
        "",
        "On the rows of the comparison of rankers, with its defaults but for what a row of a table",
        "says. Mean ± standard deviation over seeds. Parameters are all numbers that were learned,",
        "and of these those of the vectors of values. A share of memory is that of a whole vector",
        "for each value: with separate rows vectors get shorter, with the others there are fewer.",
    ]
    for result in found:
        encodings = [[name, *_of_clicks(run)] for name, run in result["encodings"].items()]
        tables = [
            [run["table"], f"{run['share']:.1%}", *_of_clicks(run), f"{run['of_table']:,}"]
            for run in result["tables"]
        ]
        metrics = ["AUC", "AUC of users", "log-loss", "parameters"]
        lines += [
            "",
            f"### {result['model']} on {result['dataset']}",
            "",
            "Age, year, hour and weekday as numbers:",
            "",
            *table(["encoding", *metrics], encodings),
            "",
            f"{result['values']:,} values of user, film, zip code and the like:",
            "",
            *table(["table", "memory", *metrics, "of vectors"], tables),
            "",
            f"{ran(result)}; rows {result['rows']}; torch {result['torch']}",
        ]
    return lines


def _of_clicks(run: Result) -> list[str]:
    """The cells of a run over seeds."""
    cells = [spread(run[name]) for name in ("auc", "gauc", "log-loss")]
    return [*cells, f"{run['parameters']:,}"]
