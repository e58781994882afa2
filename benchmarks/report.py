"""Turns the results into the page `docs/benchmarks.md`."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contenders import ALL

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"

Result = dict[str, Any]

_HEAD = """\
# Benchmarks

Tastemap beside other libraries: the same split, the same evaluator, the same machine and the same
two threads for everybody. This page is written by `python -m benchmarks.run write-docs` from the
files in `benchmarks/results/`; nobody edits the figures by hand. Where another library is better or
faster, the tables say so: the best figure of each column is bold, whoever has it.

## How it is measured

- **One process each.** A contender runs in a fresh process; a rival in a virtual environment of its
  own, made on first use from pinned versions (`benchmarks/contenders/*/requirements.txt`). All read
  the same file of training data and never see the test part.
- **One evaluator.** What comes back, lists of items or predicted ratings, is judged by
  `tastemap.metrics` (itself tested against `ranx` and `scikit-learn`). A list that holds an
  unknown, a repeated or an already seen item is an error.
- **Clocks** count wall seconds of fitting and of recommending from data in the library's own
  structures. Before the clock starts each contender answers a small part of the task, so that no
  compilation and no loading of libraries is counted, for nobody.
- **Two threads** for everybody, `OMP_WAIT_POLICY=PASSIVE`. For `implicit` BLAS has one thread, as
  it asks for. Surprise knows only one.
- **Hyper-parameters.** Tastemap runs with its defaults, the same on every data set; those of ALS
  and MatrixFactorization were chosen on validation parts of these two. Rivals run as is said below
  each table. Their searches (`python -m benchmarks.tune`) are short, and shorter on movielens-1m:
  a longer one may find better settings for them.
- **The machine is shared**, so seconds vary from run to run by a factor of two and more. Where
  speed is compared, the two take turns, and the ratio of each turn is taken.
"""


def render(results: dict[tuple[str, str], Result]) -> str:
    """The page, with a section for each suite that there are results of."""
    sections = [_HEAD]
    for suite, write in _SECTIONS.items():
        found = [result for (name, _), result in results.items() if name == suite]
        if found:
            sections.append(write(found))
    return "\n".join(sections)


def _top_n(found: list[Result]) -> str:
    lines = [
        "## Lists from implicit feedback",
        "",
        "What users rated 4 or better, of users with at least 5 such ratings; a random fifth of",
        "each user's is the test (`round(n / 5)`), drawn anew for each seed. The whole catalogue",
        "is ranked without what the user has in the training part; recall is divided by all test",
        "items of a user. Mean ± standard deviation over the seeds; seconds are medians.",
    ]
    columns = {"recall@20": "Recall@20", "ndcg@10": "NDCG@10", "ndcg@100": "NDCG@100"}
    for result in found:
        lines += _quality(result, columns, ("fit", "recommend"))
    return "\n".join(lines) + "\n"


def _neural(found: list[Result]) -> str:
    lines = [
        "## Neural and linear models",
        "",
        "By how much autoencoders differ from linear models and iALS++ on the lists above (over 0:",
        "the autoencoder is better), with 95 % bootstrap intervals over users, whose values are",
        "averaged over the seeds. Bold where the interval leaves out 0.",
    ]
    return _differences(lines, found)


def _bodies(found: list[Result]) -> str:
    lines = [
        "## SASRec: the body of today and the published one",
        "",
        "By how much SASRec's defaults (gated blocks and layers, rotary positions, items that",
        "begin as Item2Vec's) differ from the published body with a random start, both with the",
        "softmax over all items, on what is chosen next; intervals as above.",
    ]
    return _differences(lines, found)


def _differences(lines: list[str], found: list[Result]) -> str:
    for result in found:
        lines += [
            "",
            f"### {result['dataset']}",
            "",
            *_table(["models", *result["metrics"]], _gaps(result)),
            "",
            _ran(result),
            f"- split {_splits(result)}; hyper-parameters: defaults",
        ]
    return "\n".join(lines) + "\n"


def _gaps(result: Result) -> list[list[str]]:
    """A row for each pair of models: by how much one is better, and the interval."""
    return [
        [f"{gap['model']} against {gap['baseline']}"]
        + [_interval(*numbers) for numbers in zip(*map(gap.get, _GAP), strict=True)]
        for gap in result["differences"]
    ]


_GAP = ("difference", "low", "high")


def _interval(difference: float, low: float, high: float) -> str:
    text = f"{difference:+.4f} ({low:+.4f} to {high:+.4f})"
    return text if low <= 0 <= high else f"**{text}**"


def _ratings(found: list[Result]) -> str:
    lines = [
        "## Ratings",
        "",
        "The test part is the first tenth of `numpy.random.RandomState(42).permutation(n)` over",
        "the rows of the file; the seeds are the models'. Mean ± standard deviation over them;",
        "seconds are medians.",
    ]
    for result in found:
        lines += _quality(result, {"rmse": "RMSE", "mae": "MAE"}, ("fit", "predict"))
    return "\n".join(lines) + "\n"


def _sequences(found: list[Result]) -> str:
    lines = [
        "## What is chosen next",
        "",
        "The last event of each user is the test, the one before is known when the question is",
        "asked but not trained on; all ratings count as choices, and ties in time keep the order",
        "of the file. The whole catalogue is ranked without what stands in the history. The seeds",
        "are the models'. Mean ± standard deviation over them; seconds are medians.",
    ]
    columns = {"ndcg@10": "NDCG@10", "hr@10": "HR@10"}
    for result in found:
        lines += _quality(result, columns, ("fit", "recommend"))
    return "\n".join(lines) + "\n"


def _ranking_of_users(found: list[Result]) -> str:
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


def _ranking_of_time(found: list[Result]) -> str:
    lines = [
        "## What is liked, on the last fifth of all",
        "",
        "As above, but parted by time over all users: more than half of the test rows are of users",
        "who have no other row.",
    ]
    return _ranking(lines, found)


def _ranking_history_of_users(found: list[Result]) -> str:
    lines = [
        "## What is liked, with what was liked before, on each user's last fifth",
        "",
        "The rows and parts above, with what was known before each row, of all parts, except of",
        "the same second. Networks take it as two lists, the last hundred films that the user",
        "liked and disliked. Trees take totals: counts and shares of likes of the user, of the",
        "film, and of the user's films of its genres; and the lists as well.",
    ]
    return _ranking_with_gaps(lines, found)


def _ranking_history_of_time(found: list[Result]) -> str:
    lines = [
        "## What is liked, with what was liked before, on the last fifth of all",
        "",
        "As above, but parted by time over all users.",
    ]
    return _ranking_with_gaps(lines, found)


def _ranking_with_gaps(lines: list[str], found: list[Result]) -> str:
    text = _ranking(lines, found)
    for result in found:
        told = "Differences of the AUC, with 95 % bootstrap intervals over rows:"
        text += "\n".join(["", told, "", *_table(["models", "AUC"], _gaps(result))]) + "\n"
    return text


def _ranking(lines: list[str], found: list[Result]) -> str:
    for result in found:
        columns = {"auc": "AUC", "gauc": "GAUC", "log-loss": "log-loss"}
        lines += _quality(result, columns, ("fit", "predict"), "rows_per_second")
    return "\n".join(lines) + "\n"


# Less of these is better.
_ERRORS = ("rmse", "mae", "log-loss")


def _quality(
    result: Result,
    columns: dict[str, str],
    phases: Sequence[str],
    rate: str | None = None,
) -> list[str]:
    entries = [entry for _, entry in _entries(result)]
    means = {
        key: [statistics.fmean(run[key] for run in e["runs"]) for e in entries] for key in columns
    }
    best = {key: (min if key in _ERRORS else max)(values) for key, values in means.items()}
    rows = []
    for number, entry in enumerate(entries):
        few = len(entry["runs"]) < len(result["splits"]) and len(entry["runs"])
        cells = [entry["title"] + (f" ({few} seed{'s' * (few > 1)})" if few else "")]
        for key in columns:
            values = [run[key] for run in entry["runs"]]
            text = f"{means[key][number]:.4f}"
            text = f"**{text}**" if text == f"{best[key]:.4f}" else text
            cells.append(text + (f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""))
        for phase in phases:
            seconds = [run["seconds"].get(phase, 0.0) for run in entry["runs"]]
            cells.append(f"{statistics.median(seconds):.2f} s")
        if rate is not None:
            rates = [run[rate] for run in entry["runs"] if rate in run]
            cells.append(f"{statistics.median(rates):,.0f}" if rates else "–")
        rows.append(cells)
    heads = ["model", *columns.values(), *phases]
    if rate is not None:
        heads.append(rate.replace("_", " "))
    return [
        "",
        f"### {result['dataset']}",
        "",
        *_table(heads, rows),
        "",
        *_about(result),
    ]


def _als_speed(found: list[Result]) -> str:
    text = [
        "## ALS: time to the same quality",
        "",
        "Seconds of `fit` until the NDCG@100 that `implicit` reaches with its 15 iterations: the",
        "least number of iterations with which ours reaches it, timed as a fit of its own.",
    ]
    return "\n".join([*text, *_races(found, "ndcg@100", "NDCG@100")]) + "\n"


def _ialspp_speed(found: list[Result]) -> str:
    text = [
        "## iALS++: time to the same quality, and of an iteration",
        "",
        "Seconds of `fit` until the NDCG@100 that `implicit` and `irspack` reach with conjugate",
        "gradients: the least number of iterations with which ours reaches it, timed as a fit of",
        "its own. Last, one iteration with 512 factors against our own exact ALS.",
    ]
    return "\n".join([*text, *_races(found, "ndcg@100", "NDCG@100")]) + "\n"


def _ease_speed(found: list[Result]) -> str:
    text = [
        "## EASE: recommendations for all users",
        "",
        "Seconds of `recommend` for all users, the ten best unseen items each, from external ids",
        "to a frame of external ids, on both sides.",
    ]
    return "\n".join([*text, *_races(found)]) + "\n"


def _mf_speed(found: list[Result]) -> str:
    text = [
        "## Matrix factorisation: time to the same error",
        "",
        "Seconds of `fit` until the RMSE that Cornac reaches with the settings of the table above:",
        "the least number of epochs with which ours reaches it, timed as a fit of its own.",
    ]
    return "\n".join([*text, *_races(found, "rmse", "RMSE")]) + "\n"


def _bpr_speed(found: list[Result]) -> str:
    text = [
        "## Pairwise ranking: time to the same quality",
        "",
        "Seconds of `fit` until 1.01 times the NDCG@10 that the rival ends with, all with vectors",
        "of 64 numbers: the least epochs with which ours reaches that, timed as a fit of its own.",
    ]
    return "\n".join([*text, *_races(found, "ndcg@10", "NDCG@10")]) + "\n"


def _popularity_bias(found: list[Result]) -> str:
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
            cells = [title]
            for name in names:
                values = [run[name] for run in variant["runs"]]
                spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
                cells.append(f"{statistics.fmean(values):.4f}{spread}")
            rows.append(cells)
        lines += [
            "",
            f"### {result['dataset']}",
            "",
            *_table(["variant", *names.values()], rows),
            "",
            _ran(result),
            f"- split {_splits(result)}",
        ]
    return "\n".join(lines) + "\n"


def _cold_items(found: list[Result]) -> str:
    lines = [
        "## Items that nobody has chosen yet",
        "",
        "A tenth of the items is new: no event of theirs is in the training part or in a history.",
        "A fifth of the users has the second half of the events hidden; what of it is new is to be",
        "found among the new items alone, by title, year and genres, and with details by makers,",
        "actors, countries, languages, rating by age and plot too. Warm is the same model on the",
        "same questions, fitted with what others did with these items. Recall is divided by all",
        "test items of a user. Mean ± standard deviation over the seeds.",
    ]
    for result in found:
        rows = []
        for model, runs in result["runs"].items():
            cells = [model, f"{statistics.fmean(run['chance'] for run in runs):.3f}"]
            for metric in ("recall@20", "ndcg@20"):
                for part in ("cold", "warm"):
                    values = [run[part][metric] for run in runs]
                    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
                    cells.append(f"{statistics.fmean(values):.3f}{spread}")
            rows.append(cells)
        heads = ["model", "Recall@20 by chance", "Recall@20 cold", "Recall@20 warm"]
        lines += [
            "",
            f"### {result['dataset']}",
            "",
            *_table([*heads, "NDCG@20 cold", "NDCG@20 warm"], rows),
            "",
            _ran(result),
            f"- {result['new_items']:,} new items, {result['queries']:,} users asked; "
            f"split {_splits(result)}; hyper-parameters: defaults",
        ]
    return "\n".join(lines) + "\n"


def _cold_start(found: list[Result]) -> str:
    lines = [
        "## Strangers",
        "",
        "A tenth of the users is unknown to the model. What the service answers (NDCG@10 over",
        "all items) when this much is known of them. Ten events of each, drawn at random, may be",
        "known, and all others are to be found; none of the ten may come, so that all rows choose",
        "among the same items. (The first ten by time would be what MovieLens shows to whoever",
        "signs up.) The genres are those that stand out in the ten, as if they had been chosen",
        "from a list; the friends are the five users whose items are most like the ten, since the",
        'data has none. "Model alone" is the retriever without the join of short histories with',
        "what is popular. Mean ± standard deviation over the draws of strangers.",
    ]
    for result in found:
        runs = [run["ndcg@10"] for run in result["runs"]]
        rows = []
        for known in runs[0]:
            values = [run[known] for run in runs]
            rows.append([known, _spread(values)])
        lines += [
            "",
            f"### {result['dataset']}, {result['model']}",
            "",
            *_table(["what is known", "NDCG@10"], rows),
            "",
            _ran(result),
            f"- {result['strangers']:,} strangers; split {_splits(result)}; defaults throughout",
        ]
    return "\n".join(lines) + "\n"


def _item_updates(found: list[Result]) -> str:
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
            lines += ["", f"{model}:", "", *_table(["drift at most", "NDCG@10", "gain"], rows)]
        lines += [
            "",
            _ran(result),
            f"- {result['queries']:,} queries, mean of {result['seeds']} seeds; split "
            f"{_splits(result)}; hyper-parameters: defaults",
        ]
    return "\n".join(lines) + "\n"


def _ranking_latency(found: list[Result]) -> str:
    lines = [
        "## How long ordering the candidates of a request takes",
        "",
        "DCN-v2 with three cross layers and attention of the candidates over a history of 50,",
        "vectors of 16 numbers, trained for an epoch; 500 candidates that Item2Vec proposes, one",
        "request after the other, on one thread, in milliseconds that passed; the features are a",
        "part of all.",
    ]
    for result in found:
        times = result["milliseconds"]
        shares = list(times["all"])
        rows = [[what, *(f"{each[share]:.2f}" for share in shares)] for what, each in times.items()]
        lines += [
            "",
            f"### {result['dataset']}, {result['features']} features",
            "",
            *_table(["", *shares], rows),
            "",
            _ran(result),
        ]
    return "\n".join(lines) + "\n"


def _service_load(found: list[Result]) -> str:
    lines = [
        "## What a request to the service costs",
        "",
        "A generated catalogue; vectors of 64 numbers by ALS, behind an approximate index where it",
        "is large; ranked: 500 candidates, ordered by DCN-v2. First the processor time of the",
        "stages of an answer in milliseconds a request, alone and in batches, without HTTP. Then a",
        "server process, asked in an open loop by a generator on the same two cores: latencies in",
        "milliseconds from the moment at which a request was due.",
    ]
    for result in found:
        sizes = list(next(iter(result["stages"].values())))
        rows = [
            [stage, *(f"{by_size[size]:.2f}" for size in sizes)]
            for stage, by_size in result["stages"].items()
            if any(by_size.values())
        ]
        lines += [
            "",
            f"### {result['items']:,} items, {result['users']:,} users, "
            + ("ranked" if "ranked" in result["dataset"] else "retrieval alone")
            + (", events among the requests" if "writes" in result["dataset"] else "")
            + (", answers kept in Redis" if "redis" in result["dataset"] else ""),
            "",
            *_table(["stage", *(f"batch of {size}" for size in sizes)], rows),
        ]
        if load := result.get("load"):
            first, last = load["memory_mib"]
            lines += [
                "",
                f"{load['rate']:g} requests a second for {load['seconds']:g} s, "
                f"{load['writes']:.0%} of them events: {load['errors']} errors, "
                f"{load['answered_a_second']:.0f} answered a second, "
                f"{load['cpu_ms_a_request']:.2f} ms of processor time a request "
                f"(the generator's: {load['generator_ms_a_request']:.2f}), memory {first:.0f} MiB "
                f"at the start and {last:.0f} at the end.",
                "",
                *_table(
                    ["", "p50", "p90", "p99", "max"],
                    [
                        [
                            kind,
                            *(f"{load[kind][name]:.1f}" for name in ("p50", "p90", "p99", "max")),
                        ]
                        for kind in ("recommendations", "events", "event to changed answer")
                        if load.get(kind)
                    ],
                ),
            ]
        lines += ["", _ran(result)]
    return "\n".join(lines) + "\n"


def _scale(found: list[Result]) -> str:
    lines = [
        "## Scale: ten million users",
        "",
        "One pass of BPR over generated interactions, users drawn uniformly and items by a power",
        "law, through the model's own `fit`. The bound is the sum of the tables, the optimizer's",
        "state (SGD has none) and the data set, and a fifth more. Memory is resident memory above",
        "what the process held before; `fit` also fills the tables with their first values.",
    ]
    for result in found:
        rows = [
            [
                f"{run['events'] / 1e6:g} million",
                f"{run['peak_mib'] / 1024:.2f} GiB",
                f"{run['bound_mib'] / 1024:.2f} GiB",
                f"{run['dataset_peak_mib'] / 1024:.2f} GiB",
                f"{run['fit_seconds']:.1f} s",
                f"{run['epoch_seconds']:.1f} s",
                f"{run['events'] / run['epoch_seconds'] / 1e6:.2f}",
            ]
            for run in result["runs"]
        ]
        heads = ["interactions", "peak of fit", "bound", "peak of making the data set", "fit"]
        lines += [
            "",
            f"{result['users'] / 1e6:g} million users × {result['items'] / 1e6:g} million items × "
            f"{result['factors']} numbers.",
            "",
            *_table([*heads, "of that, the pass", "million a second"], rows),
            "",
            "![Memory and seconds against interactions](img/scale.png)",
            "",
            _ran(result),
        ]
    return "\n".join(lines) + "\n"


def _sequence_scale(found: list[Result]) -> str:
    lines = [
        "## SASRec on long catalogues",
        "",
        "One pass over generated histories of 200 events each, with the softmax over a sample,",
        "whose gradients touch only the rows of a step. Memory is the peak of the whole process.",
    ]
    for result in found:
        first = result["runs"][0]["positions_per_second"]
        rows = [
            [
                f"{run['items']:,}",
                f"{run['peak_mib'] / 1024:.2f} GiB",
                f"{run['positions_per_second']:,.0f}",
                f"{run['positions_per_second'] / first:.2f}",
            ]
            for run in result["runs"]
        ]
        heads = ["items", "peak", "positions a second", "of the first row"]
        lines += ["", *_table(heads, rows), "", _ran(result)]
    return "\n".join(lines) + "\n"


def _sequence_speed(found: list[Result]) -> str:
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
        lines += [
            "",
            f"### {result['dataset']}",
            "",
            *_table(["variant", "positions a second", "share"], rows),
            "",
            f"{_ran(result)}; {result['rounds']} rounds; torch {result['torch']}",
        ]
    return "\n".join(lines) + "\n"


def _embedding_tables(found: list[Result]) -> str:
    lines = [
        "## Embedding tables",
        "",
        "Steps of BPR on random triplets over two tables of 200,000 × 64. State counts the numbers",
        "that the optimizer keeps for each number of the tables.",
    ]
    for result in found:
        speed = [
            [name, f"{run['triplets_per_second']:,.0f}", f"{run['state_per_number']:.3f}"]
            for name, run in result["speed"].items()
        ]
        quality = [
            [name, f"{statistics.fmean(ndcg):.4f} ± {statistics.stdev(ndcg):.4f}"]
            for part in ("initializers", "hashed")
            for name, ndcg in result[part].items()
        ]
        lines += [
            "",
            *_table(["optimizer", "triplets a second", "state"], speed),
            "",
            f"NDCG@10 on {result['dataset']} of BPR trained by torch with rowwise Adagrad for",
            f"{result['epochs']} passes: by the first values of both tables, and with the items in",
            "a hashed table. Mean ± standard deviation over seeds.",
            "",
            *_table(["table", "NDCG@10"], quality),
            "",
            f"{_ran(result)}; split {result['split']}; torch {result['torch']}",
        ]
    return "\n".join(lines) + "\n"


def _encodings(found: list[Result]) -> str:
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
            *_table(["encoding", *metrics], encodings),
            "",
            f"{result['values']:,} values of user, film, zip code and the like:",
            "",
            *_table(["table", "memory", *metrics, "of vectors"], tables),
            "",
            f"{_ran(result)}; rows {result['rows']}; torch {result['torch']}",
        ]
    return "\n".join(lines) + "\n"


def _of_clicks(run: Result) -> list[str]:
    """The cells of a run over seeds."""
    cells = []
    for name in ("auc", "gauc", "log-loss"):
        cells.append(_spread(run[name]))
    return [*cells, f"{run['parameters']:,}"]


def _ran(result: Result) -> str:
    return (
        f"- `{result['command']}`, {result['date']}, {result['machine']}, "
        f"{result['threads']} threads"
    )


def _splits(result: Result) -> str:
    return ", ".join(f"{name}: {digest}" for name, digest in result["splits"].items())


def _svdpp_speed(found: list[Result]) -> str:
    text = [
        "## SVD++: time to the same error, and for a pass",
        "",
        "First, seconds of `fit` until the RMSE that Surprise reaches with its defaults (20",
        "factors, 20 passes): the least number of epochs with which ours reaches it, at its own",
        "default length of vectors. Then 20 passes with 20 factors on both sides.",
    ]
    return "\n".join([*text, *_races(found, "rmse", "RMSE")]) + "\n"


def _sasrec_speed(found: list[Result]) -> str:
    text = [
        "## SASRec: time to the same quality",
        "",
        "Seconds of `fit` until the NDCG@10 that the rival's SASRec reaches on the validation part",
        "(the event before the last; what is trained on is that of the table above): the least",
        "number of epochs with which ours reaches it, timed as a fit of its own, with the Item2Vec",
        "that it begins with.",
    ]
    return "\n".join([*text, *_races(found, "ndcg@10", "NDCG@10")]) + "\n"


def _item2vec_speed(found: list[Result]) -> str:
    text = [
        "## Item2Vec: time of as many passes",
        "",
        "Seconds of `fit` of skip-gram with negative sampling, with the same passes, window,",
        "negatives and length of vectors.",
    ]
    return "\n".join([*text, *_races(found, "ndcg@10", "NDCG@10")]) + "\n"


def _temporal(found: list[Result]) -> str:
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
        lines += [*_table(["test", "ratings", *names], rows), ""]
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
            *_table(["test", "difference", "interval"], rows),
            "",
            _ran(result),
            f"- split {_splits(result)}; hyper-parameters: defaults",
        ]
    return "\n".join(lines) + "\n"


def _races(found: list[Result], metric: str = "", title: str = "") -> list[str]:
    lines = []
    for result in found:
        lines += ["", f"### {result['dataset']}", ""]
        for race in result["races"]:
            lines += [*_race(result["phase"], race, metric, title), ""]
        lines += _about(result)
    return lines


def _race(phase: str, race: Result, metric: str, title: str) -> list[str]:
    steps = race.get("ratings", {})
    heads = ["model", f"{phase}, median", "range", *([title] if metric else [])]
    heads += ["million ratings/s"] if steps else []
    rows = []
    for entry in race["contenders"].values():
        seconds = [run["seconds"][phase] for run in entry["runs"]]
        middle = statistics.median(seconds)
        cells = [entry["title"], f"{middle:.3f} s", f"{min(seconds):.3f}–{max(seconds):.3f} s"]
        if metric:
            cells.append(f"{statistics.fmean(run[metric] for run in entry['runs']):.4f}")
        if steps:
            done = steps["ours" if entry["ours"] else "theirs"]
            cells.append(f"{done / middle / 1e6:.1f}")
        rows.append(cells)
    ratios = race["ratios"]
    middle = f"median **{statistics.median(ratios):.2f}**, from {min(ratios):.2f} to"
    return [
        *_table(heads, rows),
        "",
        f"Their seconds / ours in {len(ratios)} turns: {middle} {max(ratios):.2f}.",
    ]


def _about(result: Result) -> list[str]:
    """What a figure is quoted with."""
    entries = _entries(result)
    versions: dict[str, str] = {}
    for _, entry in entries:
        versions |= {name: v for name, v in entry["versions"].items() if name != "numpy"}
    hashes = _splits(result)
    if len(set(result["splits"].values())) == 1:
        hashes = next(iter(result["splits"].values()))
    seeds = sorted({run["seed"] for _, entry in entries for run in entry["runs"]})
    settings = [
        f"    - {entry['title']}: {ALL[name].note}{_given(entry)}" for name, entry in entries
    ]
    return [
        _ran(result),
        f"- split {hashes}; seeds {', '.join(map(str, seeds))}",
        f"- {', '.join(f'{name} {v}' for name, v in sorted(versions.items()))}",
        "- hyper-parameters:",
        *settings,
    ]


def _entries(result: Result) -> list[tuple[str, Result]]:
    parts = result.get("races", [result])
    places = {name: place for place, name in enumerate(ALL)}
    found = [pair for part in parts for pair in part["contenders"].items() if pair[0] in ALL]
    return found if "races" in result else sorted(found, key=lambda pair: places[pair[0]])


def _given(entry: Result) -> str:
    given = {name: value for name, value in entry["parameters"].items() if name != "model"}
    if not given:
        return ""
    return " (" + ", ".join(f"`{name}={value}`" for name, value in given.items()) + ")"


def _runs_of_study(result: Result) -> str:
    runs = [run for runs in result["runs"].values() for run in runs.values()]
    seeds = sorted({run["seeds"] for run in runs})
    devices = sorted({run["device"] for run in runs})
    return f"means of {' or '.join(map(str, seeds))} seeds, fitted on {', '.join(devices)}"


def _two_stage(found: list[Result]) -> str:
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
        rows = [[name, *_two_stage_cells([values])] for name, values in alone.items()]
        for name, runs in result["ranked"].items():
            for tail, title in (("none", "as learned"), ("default", "default")):
                of_tail = [run for run in runs if run["long_tail"] == tail]
                rows.append([f"{name}, {title}", *_two_stage_cells(of_tail)])
        lines += [
            "",
            f"### {result['dataset']}",
            "",
            *_table(heads, rows),
            "",
            _ran(result),
            f"- split {result['split']}; {result['queries']:,} queries; defaults; means of "
            f"{len({run['seed'] for run in runs})} seeds, intervals of the first",
        ]
    return "\n".join(lines) + "\n"


def _two_stage_cells(runs: list[Result]) -> list[str]:
    def mean(name: str) -> str:
        return f"{statistics.fmean(run[name] for run in runs):.4f}"

    gaps = [gap for gap in runs[0].get("differences", []) if gap["metric"] == "ndcg@10"]
    gap = _interval(*(gaps[0][name] for name in _GAP)) if gaps else "–"
    return [mean("ndcg@10"), gap, mean("recall@20"), mean("coverage@10")]


def _context(found: list[Result]) -> str:
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
            cells = [_spread([run[way][metric] for run in runs]) for metric in _OF_CONTEXT]
            against = "–" if way == base else _spread(gaps, sign="+")
            rows.append([way, *cells, against])
        settings = (f"{way} {_said(result[way])}" for way in ("pre-filtering", "post-filtering"))
        lines += [
            "",
            f"### {result['dataset']}",
            "",
            *_table(["circumstances", "NDCG@10", "HR@10", "NDCG@10 against without"], rows),
            "",
            _ran(result),
            f"- {result['uses']:,} uses, {result['queries']:,} asked for, {result['repeats']:.0%} "
            f"of an app that its user is known to have used; splits {_splits(result)}",
            f"- model `{result['model']}`; {'; '.join(settings)}, chosen on the validation part "
            "of the first order; rankers with their defaults over 100 candidates",
        ]
    return "\n".join(lines) + "\n"


_OF_CONTEXT = ("ndcg@10", "hit_rate@10")


def _spread(values: list[float], sign: str = "") -> str:
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{sign}.4f}{deviation}"


def _said(settings: Result) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _ncf_study(found: list[Result]) -> str:
    lines = [
        "## Neural collaborative filtering against a dot product",
        "",
        "He et al. 2017 put a learned function in the place of the dot product; Rendle et al.",
        "2020 tuned the dot product and found it better. Here one trainer fits them all, and only",
        "the function that compares two vectors differs. Every rating is a choice, and the last",
        "one of each user is the test; binary cross-entropy against drawn items, by Adam. A",
        "vector's length counts all of a user's numbers. *All items*: the test item ranked among",
        "all that the user has not chosen. *Drawn*: among 100 of them, as in both papers, which",
        "flatters all models and need not keep their order (Krichene & Rendle 2020). In brackets",
        "the 95 % interval over users.",
        "Rendle et al. report, for drawn items and the best length, HR@10 .7294 and NDCG@10 .4523",
        "for the dot product, and .7093 and .4349 for pre-trained NeuMF.",
    ]
    for result in found:
        rows = []
        for name, runs in result["runs"].items():
            for run in sorted(runs.values(), key=lambda run: run["dim"]):
                cells = [result["settings"][name]["title"], str(run["dim"]), str(run["factors"])]
                cells += [
                    f"{run['parameters'] / 1e6:.2f} M",
                    f"{statistics.fmean(run['seconds']):.0f} s",
                ]
                for part in ("full", "sampled"):
                    for metric in ("hr@10", "ndcg@10"):
                        m = run[part][metric]
                        cells.append(f"{m['value']:.4f} ({m['low']:.3f}–{m['high']:.3f})")
                rows.append(cells)
        heads = ["similarity", "length", "predictive factors", "parameters", "fit"]
        heads += ["HR@10, all items", "NDCG@10, all items", "HR@10, drawn", "NDCG@10, drawn"]
        lines += ["", f"### {result['dataset']}", "", *_table(heads, rows), ""]
        if (PAGE.parent / "img" / "ncf-study.png").exists():
            lines += ["![HR@10 over the length of a user's vector](img/ncf-study.png)", ""]
        lines += [
            _ran(result),
            f"- split {result['split']}; {_runs_of_study(result)}",
            "- hyper-parameters, the best of a random search each, on the validation part:",
        ]
        for about in result["settings"].values():
            given = about["hyperparameters"].items()
            shown = ", ".join(f"`{key}={value}`" for key, value in given if key not in _OF_RUNS)
            lines.append(f"    - {about['title']}: {shown}")
    return "\n".join(lines) + "\n"


# Hyper-parameters of the study that are columns of its table, or have no part in it.
_OF_RUNS = ("factors", "patience", "seed")


def _ann(found: list[Result]) -> str:
    lines = [
        "## Nearest neighbours",
        "",
        "The 100 greatest inner products of a query with vectors of 64 numbers: how many of the",
        "true ones are found, and what a query costs on one core. A thousand clusters whose",
        "numbers fall in size like those that models learn, once all vectors of one length, once",
        "of lengths that differ (`benchmarks/ann.py` says just how). Each index is saved, and",
        "loaded by a fresh process that asks one query at a time. Bytes a vector: what the process",
        "holds by itself, and what it maps from a file, which the system may take back.",
    ]
    for result in found:
        rows = [
            [
                lengths,
                name,
                run["setting"],
                f"{run['recall']:.3f}",
                f"{run['milliseconds']:.2f} ms",
                f"{index['build_cpu_seconds']:.0f} s",
                f"{index['bytes_each']:.0f}",
                f"{index['mapped_bytes_each']:.0f}",
            ]
            for lengths, indices in result["lengths"].items()
            for name, index in indices.items()
            for run in index["runs"]
        ]
        heads = ["lengths", "index", "setting", "recall@100", "CPU a query", "CPU to build"]
        heads += ["bytes held", "bytes mapped"]
        lines += ["", f"### {result['n']:,} vectors", "", *_table(heads, rows), "", _ran(result)]
    return "\n".join(lines) + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    return [line(heads), line(["---", *["---:"] * (len(heads) - 1)]), *map(line, rows)]


_SECTIONS = {
    "topn": _top_n,
    "neural": _neural,
    "ratings": _ratings,
    "sequences": _sequences,
    "sequence-bodies": _bodies,
    "ranking-users": _ranking_of_users,
    "ranking-time": _ranking_of_time,
    "ranking-history-users": _ranking_history_of_users,
    "ranking-history-time": _ranking_history_of_time,
    "two-stage": _two_stage,
    "context": _context,
    "als-speed": _als_speed,
    "ialspp-speed": _ialspp_speed,
    "ease-speed": _ease_speed,
    "mf-speed": _mf_speed,
    "svdpp-speed": _svdpp_speed,
    "sasrec-speed": _sasrec_speed,
    "item2vec-speed": _item2vec_speed,
    "temporal": _temporal,
    "bpr-speed": _bpr_speed,
    "ncf-study": _ncf_study,
    "scale": _scale,
    "sequence-speed": _sequence_speed,
    "sequence-scale": _sequence_scale,
    "embedding-tables": _embedding_tables,
    "encodings": _encodings,
    "popularity-bias": _popularity_bias,
    "cold-items": _cold_items,
    "cold-start": _cold_start,
    "item-updates": _item_updates,
    "ann": _ann,
    "ranking-latency": _ranking_latency,
    "service-load": _service_load,
}
