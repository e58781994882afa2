"""Who takes part: each with the script that runs it and the hyper-parameters it runs with."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Contender:
    """One model of one package.

    `script` lies in the folder of `package`; `note` says where the hyper-parameters come from.
    """

    name: str
    title: str
    package: str
    script: str
    parameters: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def ours(self) -> bool:
        return self.package == "tastemap"


def _ours(name: str, title: str, script: str, model: str, **parameters: Any) -> Contender:
    note = ", ".join(f"{key}={value}" for key, value in parameters.items())
    return Contender(
        f"tastemap-{name}", f"tastemap {title}", "tastemap", script, {"model": model, **parameters},
        f"defaults, {note}" if note else "defaults",
    )  # fmt: skip


TOP_N = (
    _ours("popularity", "Popularity", "topn.py", "Popularity"),
    _ours("item-knn", "ItemKNN", "topn.py", "ItemKNN"),
    _ours("ease", "EASE", "topn.py", "EASE"),
    _ours("als", "ALS", "topn.py", "ALS", factors=128),
    _ours("bpr", "MatrixFactorization (BPR)", "topn.py", "MatrixFactorization", loss="bpr"),
    Contender(
        "implicit-als", "implicit ALS", "implicit", "als.py",
        {"factors": 64, "regularization": 10.0, "alpha": 1.0, "iterations": 15},
        "64 factors, regularization 10, alpha 1, 15 iterations",
    ),
    Contender(
        "irspack-ials", "irspack iALS", "irspack", "topn.py",
        {"model": "IALSRecommender"},
        "",
    ),
    Contender(
        "irspack-slim", "irspack SLIM", "irspack", "topn.py",
        {"model": "SLIMRecommender"},
        "",
    ),
    Contender(
        "rectools-ease", "RecTools EASE", "rectools", "ease.py", {"regularization": 500.0},
        "defaults",
    ),
)  # fmt: skip

RATINGS = (
    _ours("mf", "MatrixFactorization", "ratings.py", "MatrixFactorization"),
    Contender("cornac-mf", "Cornac MF", "cornac", "mf.py", {}, ""),
    Contender("surprise-svd", "Surprise SVD", "surprise", "svd.py", {}, "defaults"),
)

ALL = {contender.name: contender for contender in (*TOP_N, *RATINGS)}
