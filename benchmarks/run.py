"""The command: runs a suite, or writes the tables of `docs/benchmarks.md`.

python -m benchmarks.run topn
python -m benchmarks.run topn --dataset movielens-1m --contender irspack-slim --out /tmp/trial
python -m benchmarks.run als-speed --rounds 9
python -m benchmarks.run write-docs
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import data, differences, quality, results, speed
from benchmarks.contenders import (
    RANKING,
    RANKING_WITH_HISTORY,
    RATINGS,
    SEQUENCES,
    TOP_N,
    Contender,
)
from benchmarks.options import Out, Seeds
from benchmarks.ranking_rows import OF_TIME, OF_USERS, labelled_rows, rows_with_history
from benchmarks.report.layout import PAGE
from benchmarks.report.page import render
from benchmarks.temporal import temporal as compare_times

app = typer.Typer(
    help="Tastemap and its rivals side by side: one split, one evaluator, each contender in a "
    "process and (for rivals) an environment of its own, made on first use. Without a command: "
    "all suites, then the page.",
    invoke_without_command=True,
    add_completion=False,
)

Datasets = Annotated[
    list[str],
    typer.Option("--dataset", help=f"One of {', '.join(data.SEQUENCES)}; may be repeated."),
]
Contenders = Annotated[
    list[str],
    typer.Option("--contender", help="Run only this one; may be repeated. Default: all."),
]
Splits = Annotated[
    list[str],
    typer.Option("--split", help=f"{OF_USERS}: each user's last fifth; {OF_TIME}: of all."),
]
Rounds = Annotated[int, typer.Option(help="How often each takes its turn.")]


@app.callback()
def everything(context: typer.Context) -> None:
    """Runs all suites and writes the page, where no command is given."""
    if context.invoked_subcommand is None:
        for suite in (
            topn,
            ratings,
            sequences,
            sequence_bodies,
            ranking,
            ranking_history,
            neural,
            als_speed,
            ialspp_speed,
            ease_speed,
            mf_speed,
            bpr_speed,
            svdpp_speed,
            sasrec_speed,
            item2vec_speed,
            temporal,
            write_docs,
        ):
            suite()


@app.command()
def topn(
    dataset: Datasets = list(data.NAMES),  # noqa: B006
    contender: Contenders = [],  # noqa: B006
    seeds: Seeds = 3,
    out: Out = results.FOLDER,
) -> None:
    """Lists from implicit feedback: Recall@20, NDCG@10, NDCG@100."""
    _compare("topn", quality.top_n, dataset, _chosen(TOP_N, contender), seeds, out)


@app.command()
def ratings(
    dataset: Datasets = list(data.NAMES),  # noqa: B006
    contender: Contenders = [],  # noqa: B006
    seeds: Seeds = 3,
    out: Out = results.FOLDER,
) -> None:
    """Predicted ratings: RMSE and MAE."""
    _compare("ratings", quality.ratings, dataset, _chosen(RATINGS, contender), seeds, out)


@app.command()
def sequences(
    dataset: Datasets = list(data.SEQUENCES),  # noqa: B006
    contender: Contenders = [],  # noqa: B006
    seeds: Seeds = 3,
    out: Out = results.FOLDER,
) -> None:
    """What is chosen next, the last event of each user left out: NDCG@10 and HR@10."""
    _compare("sequences", quality.sequences, dataset, _chosen(SEQUENCES, contender), seeds, out)


@app.command()
def ranking(
    dataset: Datasets = ["movielens-100k"],  # noqa: B006
    contender: Contenders = [],  # noqa: B006
    seeds: Seeds = 3,
    split: Splits = [OF_USERS, OF_TIME],  # noqa: B006
    out: Out = results.FOLDER,
) -> None:
    """Is a film liked, from plain features of user, film and moment: AUC, GAUC and log-loss, with
    intervals."""
    for part in split:
        measure = partial(quality.clicks, rows_of=labelled_rows, split=part)
        _compare(f"ranking-{part}", measure, dataset, _chosen(RANKING, contender), seeds, out)


@app.command()
def ranking_history(
    dataset: Datasets = ["movielens-100k"],  # noqa: B006
    contender: Contenders = [],  # noqa: B006
    seeds: Seeds = 3,
    split: Splits = [OF_USERS, OF_TIME],  # noqa: B006
    out: Out = results.FOLDER,
) -> None:
    """As ranking, with what was known of the past of user and film."""
    for part in split:
        measure = partial(quality.clicks, rows_of=rows_with_history, split=part)
        chosen = _chosen(RANKING_WITH_HISTORY, contender)
        _compare(f"ranking-history-{part}", measure, dataset, chosen, seeds, out)


@app.command()
def neural(
    dataset: Datasets = list(data.NAMES),  # noqa: B006
    seeds: Seeds = 3,
    out: Out = results.FOLDER,
) -> None:
    """Autoencoders against linear models and iALS++, user by user: differences with intervals."""
    for name in dataset:
        _say(results.write("neural", name, differences.neural(name, seeds), out))


@app.command()
def sequence_bodies(
    dataset: Datasets = ["movielens-1m"],  # noqa: B006
    seeds: Seeds = 1,
    out: Out = results.FOLDER,
) -> None:
    """SASRec's body of today against the published one, user by user."""
    for name in dataset:
        _say(results.write("sequence-bodies", name, differences.bodies(name, seeds), out))


@app.command()
def als_speed(rounds: Rounds = 7, out: Out = results.FOLDER) -> None:
    """Seconds to the NDCG@100 of implicit's ALS, on movielens-1m."""
    _say(results.write("als-speed", "movielens-1m", speed.als("movielens-1m", rounds), out))


@app.command()
def ialspp_speed(rounds: Rounds = 5, out: Out = results.FOLDER) -> None:
    """Seconds to the NDCG@100 of implicit's and irspack's ALS, and of an iteration with 512
    factors, on movielens-1m."""
    _say(results.write("ialspp-speed", "movielens-1m", speed.ials_pp("movielens-1m", rounds), out))


@app.command()
def ease_speed(rounds: Rounds = 5, out: Out = results.FOLDER) -> None:
    """Seconds to recommend to all users with EASE, against RecTools, on movielens-1m."""
    _say(results.write("ease-speed", "movielens-1m", speed.ease("movielens-1m", rounds), out))


@app.command()
def mf_speed(rounds: Rounds = 7, out: Out = results.FOLDER) -> None:
    """Seconds to the RMSE of Cornac's MF, on movielens-1m."""
    _say(results.write("mf-speed", "movielens-1m", speed.mf("movielens-1m", rounds), out))


@app.command()
def temporal(
    dataset: Datasets = list(data.NAMES),  # noqa: B006
    seeds: Seeds = 3,
    out: Out = results.FOLDER,
) -> None:
    """Ratings with and without times, on a random and on a global split of time: RMSE."""
    for name in dataset:
        _say(results.write("temporal", name, compare_times(name, seeds), out))


@app.command()
def svdpp_speed(rounds: Rounds = 3, out: Out = results.FOLDER) -> None:
    """Seconds to the RMSE of Surprise's SVD++, and of 20 passes each, on movielens-100k."""
    name = "movielens-100k"
    _say(results.write("svdpp-speed", name, speed.svdpp(name, rounds), out))


@app.command()
def bpr_speed(rounds: Rounds = 5, out: Out = results.FOLDER) -> None:
    """Seconds to the NDCG@10 of Cornac's and implicit's BPR and LightFM's WARP, on movielens-1m."""
    _say(results.write("bpr-speed", "movielens-1m", speed.bpr("movielens-1m", rounds), out))


@app.command()
def sasrec_speed(
    dataset: Datasets = list(data.NAMES),  # noqa: B006
    rounds: Rounds = 3,
    passes: Annotated[
        int | None, typer.Option(help="Of the rival; its usual number takes an hour and more.")
    ] = None,
    out: Out = results.FOLDER,
) -> None:
    """Seconds to the validation NDCG@10 of RecTools' SASRec (movielens-1m) and RecBole's (100k)."""
    for name in dataset:
        _say(results.write("sasrec-speed", name, speed.sasrec(name, rounds, passes), out))


@app.command()
def item2vec_speed(rounds: Rounds = 7, out: Out = results.FOLDER) -> None:
    """Seconds to train as many passes as gensim's Word2Vec, on movielens-100k."""
    name = "movielens-100k"
    _say(results.write("item2vec-speed", name, speed.item2vec(name, rounds), out))


@app.command()
def write_docs(
    folder: Annotated[Path, typer.Option(help="Where the results lie.")] = results.FOLDER,
    page: Annotated[Path, typer.Option(help="The page to write.")] = PAGE,
) -> None:
    """Writes docs/benchmarks.md from the results."""
    page.write_text(render(results.read(folder)))
    _say(page)


def _compare(
    suite: str,
    measure: Callable[[str, Sequence[Contender], Sequence[int]], dict[str, Any]],
    dataset: Sequence[str],
    contenders: Sequence[Contender],
    seeds: int,
    out: Path,
) -> None:
    for name in dataset:
        _say(results.write(suite, name, measure(name, contenders, range(seeds)), out))


def _chosen(contenders: Sequence[Contender], names: Sequence[str]) -> list[Contender]:
    known = {contender.name: contender for contender in contenders}
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"no contender {name!r}; there are {', '.join(known)}")
    return [known[name] for name in names] if names else list(contenders)


def _say(path: Path) -> None:
    typer.echo(f"wrote {path}")


if __name__ == "__main__":
    app()
