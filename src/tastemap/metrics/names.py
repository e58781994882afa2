"""The metrics by name: `Metric.parse("ndcg@10")`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tastemap.errors import ParameterError

__all__ = ["METRICS", "Metric", "MetricInfo"]

MetricKind = Literal["hits", "lists", "catalogue", "scores", "ratings"]


@dataclass(frozen=True)
class MetricInfo:
    """What is fixed about a metric.

    Attributes:
        kind: what it is computed from: "hits" (which of the top k are relevant), "lists" (the top k
            themselves, a value per user), "catalogue" (all lists together, one value), "scores"
            (the scores of the whole catalogue) or "ratings" (predicted and true values).
        better: whether "higher" or "lower" values are better; None where that is a matter of taste.
        help: what it says, in a line.
    """

    kind: MetricKind
    better: Literal["higher", "lower"] | None
    help: str

    @property
    def has_k(self) -> bool:
        """Whether it looks at the first k of a list."""
        return self.kind in ("hits", "lists", "catalogue")


METRICS: dict[str, MetricInfo] = {
    "hit_rate": MetricInfo("hits", "higher", "share of users with a relevant item in the top k"),
    "precision": MetricInfo("hits", "higher", "share of the top k that is relevant"),
    "recall": MetricInfo("hits", "higher", "share of all relevant items found in the top k"),
    "ndcg": MetricInfo("hits", "higher", "gains discounted by rank, 1 for the ideal top k"),
    "map": MetricInfo("hits", "higher", "precision at each relevant item of the top k, averaged"),
    "mrr": MetricInfo("hits", "higher", "1 / rank of the first relevant item of the top k"),
    "serendipity": MetricInfo("hits", "higher", "share of the top k relevant and not expected"),
    "auc": MetricInfo("scores", "higher", "chance that a relevant item outscores another one"),
    "rmse": MetricInfo("ratings", "lower", "root of the mean squared error of predicted ratings"),
    "mae": MetricInfo("ratings", "lower", "mean absolute error of predicted ratings"),
    "coverage": MetricInfo("catalogue", "higher", "share of the catalogue in anybody's top k"),
    "gini": MetricInfo("catalogue", "lower", "inequality of exposure, 0 equal to 1 one item"),
    "novelty": MetricInfo("lists", "higher", "mean self-information of the top k, in bits"),
    "intra_list_diversity": MetricInfo("lists", "higher", "mean distance of pairs in the top k"),
    "arp": MetricInfo("lists", None, "average number of users of the recommended items"),
    "popularity_bias": MetricInfo("lists", None, "lift of popularity from histories to top k"),
}


@dataclass(frozen=True)
class Metric:
    """A metric's name and, where it looks at lists, their length.

    Attributes:
        name: a key of `METRICS`.
        k: how many of the first items of a list count; None for "auc", "rmse" and "mae".

    Raises:
        ParameterError: an unknown name, or a k that is missing, superfluous or not positive.
    """

    name: str
    k: int | None = None

    def __post_init__(self) -> None:
        if self.name not in METRICS:
            close = difflib.get_close_matches(self.name.lower(), METRICS, n=1)
            example = "" if not close else f"; did you mean {_example(close[0])!r}?"
            raise ParameterError(
                f"unknown metric {self.name[:80]!r}{example} "
                f"(known: {', '.join(_example(name, 'k') for name in METRICS)})"
            )
        if not self.info.has_k:
            if self.k is not None:
                raise ParameterError(f"metric {self.name!r} takes no k: write {self.name!r}")
        elif self.k is None:
            raise ParameterError(
                f"metric {self.name!r} needs the length of the list: write {_example(self.name)!r}"
            )
        elif self.k < 1:
            raise ParameterError(f"metric {str(self)!r}: k must be at least 1")

    @property
    def info(self) -> MetricInfo:
        return METRICS[self.name]

    def __str__(self) -> str:
        return self.name if self.k is None else f"{self.name}@{self.k}"

    @classmethod
    def parse(cls, text: str | Metric) -> Metric:
        """The metric of a text such as "ndcg@10", "recall@20" or "auc", in lower or upper case.

        Raises:
            ParameterError: not a metric; the message lists the known names.
        """
        if isinstance(text, Metric):
            return text
        if not isinstance(text, str):
            raise ParameterError(f'a metric is a text such as "ndcg@10", not {text!r}')
        name, at, k = text.strip().lower().partition("@")
        if at and not (k.isascii() and k.isdigit()):
            raise ParameterError(
                f"metric {text[:80]!r}: behind @ stands a whole number, as in "
                f"{_example(name if name in METRICS else 'ndcg')!r}"
            )
        return cls(name, int(k) if at else None)

    @classmethod
    def parse_all(cls, texts: str | Metric | Iterable[str | Metric]) -> list[Metric]:
        """The metrics of several texts, or of one, without repetition.

        Raises:
            ParameterError: there are none, or one is not a metric.
        """
        listed = [texts] if isinstance(texts, (str, Metric)) else list(texts)
        if not listed:
            raise ParameterError('no metric given; name at least one, such as "ndcg@10"')
        return list(dict.fromkeys(cls.parse(text) for text in listed))


def _example(name: str, k: str = "10") -> str:
    return f"{name}@{k}" if METRICS[name].has_k else name
