"""`tastemap rules`: what business rules would change on a release, and to serve it with them."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tastemap.cli.options import Json, K, ReleaseDir, pairs
from tastemap.cli.output import note, print_json, print_table, step

if TYPE_CHECKING:
    from tastemap.pipeline.pipeline import Pipeline

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Check business rules, and serve a release with them.")

_File = Annotated[Path, typer.Argument(metavar="FILE", help="A TOML file of docs/rules.md.")]


@app.command()
def check(
    file: _File,
    release: ReleaseDir,
    users: Annotated[
        int, typer.Option(min=1, help="For so many users, drawn from all, answers are compared.")
    ] = 1000,
    context: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE", help="What their requests would say, such as latitude=52.5."
        ),
    ] = None,
    k: K = 10,
    json: Json = False,
) -> None:
    """Check rules against a release, and say what each would change in the answers of its users.

    A stranger, about whom nothing is known, is one of the users.

    Example:

    - `tastemap rules check --release demo rules.toml`
    """
    import numpy as np
    import polars as pl

    from tastemap.pipeline.rule_effects import rule_effects
    from tastemap.policy.rules import Rules

    rules, said = Rules.read(file), pairs(context, "--context")
    pipeline = _pipeline(release)
    data = pipeline.data
    drawn = np.random.default_rng(0).permutation(np.arange(1, len(data.users)))[: users - 1]
    queries = data.queries(np.sort(np.append(drawn, 0)))
    if said:
        columns = {name: [value] * len(queries) for name, value in said.items()}
        queries = replace(queries, context=pl.DataFrame(columns))
    with step(f"Asking for {len(queries):,} users"):
        effects = rule_effects(pipeline, rules, queries, k)
    if json:
        print_json({"users": len(queries), "k": k, "rules": [asdict(each) for each in effects]})
        return
    numbers = ["items barred", "answers changed", "places replaced", "places filled"]
    print_table(
        ["rule", "kind", *numbers],
        [
            [
                each.rule,
                each.kind,
                f"{each.barred:,.1f}" if each.barred else "",
                f"{each.changed:,}",
                f"{each.replaced:,}",
                f"{each.filled:,}",
            ]
            for each in effects
        ],
        numbers=numbers,
    )
    note(
        f"{len(queries):,} users, {k} places each; items barred are of {data.n_items:,}, for a "
        "user on average"
    )


@app.command("apply")
def apply_rules(file: _File, release: ReleaseDir, json: Json = False) -> None:
    """Serve the current release with these rules in place of its own, without training.

    It is published as a release of its own, so a running service changes over within seconds, and
    `tastemap releases rollback` goes back. An empty file takes all rules away.

    Example:

    - `tastemap rules apply --release demo rules.toml`
    """
    from tastemap.policy.rules import Rules
    from tastemap.release import ReleaseStore

    rules = Rules.read(file)
    store = ReleaseStore(release)
    current = store.current()
    pipeline = _pipeline(release)
    pipeline.obey(rules)
    notes = f"{current.version} with {len(rules)} rules of {file.name}"
    made = store.publish(pipeline, metrics=current.metrics, notes=notes)
    if json:
        print_json({"release": made.version, "path": str(made.path), "rules": list(rules)})
    else:
        print(f"{release} serves {made.version}, with {len(rules)} rules")


def _pipeline(release: Path) -> Pipeline:
    """The pipeline of a release; a model becomes one, as when it is served.

    Raises:
        ReleaseError: nothing to load there, or a ranker.
    """
    from tastemap.cli.recommend import loaded_recommender
    from tastemap.pipeline.pipeline import Pipeline
    from tastemap.retrieval.base import Retriever

    found = loaded_recommender(release).object
    return Pipeline([found]) if isinstance(found, Retriever) else found
