"""Tastemap: from a log of what people did to live recommendations.

Every public name is loaded on first use, so that `import tastemap` costs little and pulls in
torch only where a model needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY: dict[str, str] = {
    "Dataset": "tastemap.data.dataset:Dataset",
    "Histories": "tastemap.data.histories:Histories",
    "Holdout": "tastemap.data.queries:Holdout",
    "Queries": "tastemap.data.queries:Queries",
    "Vocabulary": "tastemap.data.vocabulary:Vocabulary",
    "datasets": "tastemap.data.datasets",
    "splits": "tastemap.data.splits",
    "metrics": "tastemap.metrics",
    "ALS": "tastemap.retrieval.als:ALS",
    "EASE": "tastemap.retrieval.ease:EASE",
    "ItemKNN": "tastemap.retrieval.item_knn:ItemKNN",
    "MatrixFactorization": "tastemap.retrieval.matrix_factorization:MatrixFactorization",
    "Popularity": "tastemap.retrieval.popularity:Popularity",
    "Run": "tastemap.training.run:Run",
    "Pipeline": "tastemap.pipeline.pipeline:Pipeline",
    "Report": "tastemap.evaluation:Report",
    "compare": "tastemap.evaluation:compare",
    "evaluate": "tastemap.evaluation:evaluate",
    "evaluate_frame": "tastemap.evaluation:evaluate_frame",
    "load": "tastemap.release:load",
    "ReleaseStore": "tastemap.release:ReleaseStore",
}

__all__ = ["__version__", *sorted(_LAZY)]

if TYPE_CHECKING:
    from tastemap import metrics as metrics
    from tastemap.data import datasets as datasets
    from tastemap.data import splits as splits
    from tastemap.data.dataset import Dataset as Dataset
    from tastemap.data.histories import Histories as Histories
    from tastemap.data.queries import Holdout as Holdout
    from tastemap.data.queries import Queries as Queries
    from tastemap.data.vocabulary import Vocabulary as Vocabulary
    from tastemap.evaluation import Report as Report
    from tastemap.evaluation import compare as compare
    from tastemap.evaluation import evaluate as evaluate
    from tastemap.evaluation import evaluate_frame as evaluate_frame
    from tastemap.pipeline.pipeline import Pipeline as Pipeline
    from tastemap.release import ReleaseStore as ReleaseStore
    from tastemap.release import load as load
    from tastemap.retrieval.als import ALS as ALS
    from tastemap.retrieval.ease import EASE as EASE
    from tastemap.retrieval.item_knn import ItemKNN as ItemKNN
    from tastemap.retrieval.matrix_factorization import MatrixFactorization as MatrixFactorization
    from tastemap.retrieval.popularity import Popularity as Popularity
    from tastemap.training.run import Run as Run


def __getattr__(name: str) -> Any:
    target = _LAZY.get(name)
    if target is None:
        raise AttributeError(f"module 'tastemap' has no attribute {name!r}")
    module, _, attribute = target.partition(":")
    value = import_module(module)
    if attribute:
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
