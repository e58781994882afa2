"""The table of rankers: their names and where the classes live."""

from __future__ import annotations

from importlib import import_module

from tastemap.errors import ParameterError, did_you_mean
from tastemap.ranking.base import Ranker

__all__ = ["ranker_class", "ranker_names"]

_RANKERS: dict[str, str] = {
    "neumfranker": "tastemap.ranking.neumf_ranker:NeuMFRanker",
    "fm": "tastemap.ranking.fm:FM",
    "stagedfm": "tastemap.ranking.staged_fm:StagedFM",
    "ffm": "tastemap.ranking.ffm:FFM",
    "widedeep": "tastemap.ranking.wide_deep:WideDeep",
    "deepfm": "tastemap.ranking.deep_fm:DeepFM",
    "dcnv2": "tastemap.ranking.dcn_v2:DCNv2",
    "gdcn": "tastemap.ranking.gdcn:GDCN",
    "din": "tastemap.ranking.din:DIN",
    "finalmlp": "tastemap.ranking.final_mlp:FinalMLP",
    "blendranker": "tastemap.ranking.blend_ranker:BlendRanker",
    "mmoe": "tastemap.ranking.mmoe:MMoE",
    "catboost": "tastemap.ranking.catboost_ranker:CatBoostRanker",
    "lightgbm": "tastemap.ranking.lightgbm_ranker:LightGBMRanker",
}


def ranker_names() -> list[str]:
    """All names of rankers."""
    return list(_RANKERS)


def ranker_class(name: str) -> type[Ranker]:
    """The class of a ranker.

    Raises:
        ParameterError: there is none of that name.
    """
    if name not in _RANKERS:
        hint = did_you_mean(name, _RANKERS)
        raise ParameterError(
            f"there is no ranker {name!r}{hint} (there are: {', '.join(_RANKERS)})"
        )
    module, _, attribute = _RANKERS[name].partition(":")
    found: type[Ranker] = getattr(import_module(module), attribute)
    return found
