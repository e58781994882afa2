"""`tastemap releases`: what a release store holds and serves."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tastemap.cli.options import Json, ReleaseDir
from tastemap.cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from tastemap.release.versions import Release

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="See, check, roll back and prune releases.")


@app.command("list")
def list_releases(release: ReleaseDir, json: Json = False) -> None:
    """List the releases of a store, the newest first.

    Example:

    - `tastemap releases list --release demo`
    """
    from tastemap.release import ReleaseStore

    found = ReleaseStore(release).list()
    if json:
        print_json([_described(each) for each in found])
        return
    print_table(
        ["", "version", "models", "size", "metrics", "notes"],
        [
            [
                "served" if each.is_current else "refused" if each.refused else "",
                each.version,
                "+".join(each.models) + (f" > {each.ranker}" if each.ranker else ""),
                f"{each.bytes / 1e6:.1f} MB",
                "  ".join(f"{name} {_number(value)}" for name, value in each.metrics.items()),
                each.problem or each.refused or each.notes,
            ]
            for each in found
        ],
        numbers=["size"],
    )


@app.command()
def check(
    release: ReleaseDir,
    version: Annotated[
        str | None, typer.Option(help="Which one; the served one by default.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Check every release.")] = False,
    json: Json = False,
) -> None:
    """Compare every file of a release with its checksum.

    Exits with 1 where something is wrong.

    Example:

    - `tastemap releases check --release demo --all`
    """
    from tastemap.release import ReleaseStore

    store = ReleaseStore(release)
    if every:
        asked = [each.version for each in store.list()]
    else:
        asked = [store.current_version() if version is None else version]
    problems = {each: store.check(each) for each in asked}
    if json:
        print_json([{"version": each, "problems": found} for each, found in problems.items()])
    else:
        for each, found in problems.items():
            print(f"{each}: {'; '.join(found) if found else 'whole'}")
    if any(problems.values()):
        raise typer.Exit(1)


@app.command()
def rollback(
    release: ReleaseDir,
    to: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Which one; the one before by default.")
    ] = None,
    json: Json = False,
) -> None:
    """Serve an earlier release again. A running service changes over within seconds.

    Example:

    - `tastemap releases rollback --release demo`
    """
    from tastemap.release import ReleaseStore

    now = ReleaseStore(release).roll_back(to)
    if json:
        print_json(_described(now))
    else:
        print(f"{release} serves {now.version}")


@app.command()
def prune(
    release: ReleaseDir,
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest stay.")],
    json: Json = False,
) -> None:
    """Delete old releases; the one that is served always stays.

    Example:

    - `tastemap releases prune --release demo --keep 3`
    """
    from tastemap.release import ReleaseStore

    deleted = ReleaseStore(release).prune(keep)
    if json:
        print_json({"deleted": deleted})
    elif deleted:
        print("\n".join(f"deleted {version}" for version in deleted))
    else:
        note("There was nothing to delete.")


def _described(release: Release) -> dict[str, Any]:
    return {**asdict(release), "path": str(release.path), "created": release.created.isoformat()}


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
