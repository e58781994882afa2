"""How good rankers are."""

from benchmarks.report.layout import Result, gaps, table
from benchmarks.report.quality import quality


def of_users(found: list[Result]) -> list[str]:
    lines = [
        "## What is liked, on each user's last fifth",
        "",
        "All ratings are rows, liked is 4 or better. Features: user, film, age, gender,",
        "occupation, zip code, genres, year, hour, weekday. Of each user's rows in order of time",
        "72 % are learned from, 8 % are the validation part, for stopping early, and 20 % the",
        "test. GAUC is the AUC within each user's rows. Mean ± standard deviation over the models'",
        "seeds; seconds are medians and hold the search of settings where there is one. Rows a",
        "second: as often as training goes over a row, it counts.",
    ]
    return _ranking(lines, found)


def of_time(found: list[Result]) -> list[str]:
    lines = [
        "## What is liked, on the last fifth of all",
        "",
        "As above, but parted by time over all users: more than half of the test rows are of users",
        "who have no other row. Refitted: when the validation rows have said how long to learn,",
        "and which settings of the trees are best, all learn anew from them too, by an argument of",
        "ours, and torch-rechub's by the benchmark.",
    ]
    return _ranking(lines, found)


def history_of_users(found: list[Result]) -> list[str]:
    lines = [
        "## What is liked, with what was liked before, on each user's last fifth",
        "",
        "The rows and parts above, with what was known before each row, of all parts, except of",
        "the same second. Networks take it as two lists, the last hundred films that the user",
        "liked and disliked. Trees take totals: counts and shares of likes of the user, of the",
        "film, and of the user's films of its genres; and the lists as well, as StagedFM does.",
        "Models with + between are a BlendRanker of them, the mean of their log-odds.",
        "Refitted: when the validation rows have said how long to learn, and which settings of the",
        "trees are best, all learn anew from them too.",
    ]
    return _ranking(lines, found)


def history_of_time(found: list[Result]) -> list[str]:
    lines = [
        "## What is liked, with what was liked before, on the last fifth of all",
        "",
        "As above, but parted by time over all users.",
    ]
    return _ranking(lines, found)


def _ranking(lines: list[str], found: list[Result]) -> list[str]:
    for result in found:
        columns = {"auc": "AUC", "gauc": "GAUC", "log-loss": "log-loss"}
        lines += quality(result, columns, ("fit", "predict"), "rows_per_second")
        if "differences" in result:
            told = "Differences of the AUC, with 95 % bootstrap intervals over rows:"
            lines += ["", told, "", *table(["models", "AUC"], gaps(result))]
    return lines
