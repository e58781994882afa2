"""The table of models: command-line names and where the classes live.

A third party adds a model by an entry point of the group `tastemap.models` that names its class.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from tastemap.errors import ParameterError, did_you_mean
from tastemap.retrieval.base import Retriever

__all__ = ["model_class", "model_names"]

_MODELS: dict[str, str] = {
    "popularity": "tastemap.retrieval.popularity:Popularity",
    "itemknn": "tastemap.retrieval.item_knn:ItemKNN",
    "ease": "tastemap.retrieval.ease:EASE",
    "slim": "tastemap.retrieval.slim:SLIM",
    "rp3beta": "tastemap.retrieval.rp3_beta:RP3Beta",
    "userknn": "tastemap.retrieval.user_knn:UserKNN",
    "als": "tastemap.retrieval.als:ALS",
    "ialspp": "tastemap.retrieval.ials_pp:IALSPP",
    "blend": "tastemap.retrieval.blend:Blend",
    "contextprefilter": "tastemap.retrieval.context_pre_filter:ContextPreFilter",
    "contextpostfilter": "tastemap.retrieval.context_post_filter:ContextPostFilter",
    "autorec": "tastemap.retrieval.autorec:AutoRec",
    "matrixfactorization": "tastemap.retrieval.matrix_factorization:MatrixFactorization",
    "funksvd": "tastemap.retrieval.funk_svd:FunkSVD",
    "svdpp": "tastemap.retrieval.svdpp:SVDPP",
    "timesvdpp": "tastemap.retrieval.time_svdpp:TimeSVDPP",
    "nonnegativemf": "tastemap.retrieval.non_negative_mf:NonNegativeMF",
    "explicitals": "tastemap.retrieval.explicit_als:ExplicitALS",
    "bpr": "tastemap.retrieval.bpr:BPR",
    "warp": "tastemap.retrieval.warp:WARP",
    "logisticmf": "tastemap.retrieval.logistic_mf:LogisticMF",
    "gmf": "tastemap.retrieval.gmf:GMF",
    "ncfmlp": "tastemap.retrieval.ncf_mlp:NCFMLP",
    "neumf": "tastemap.retrieval.neumf:NeuMF",
    "multdae": "tastemap.retrieval.mult_dae:MultDAE",
    "multvae": "tastemap.retrieval.mult_vae:MultVAE",
    "recvae": "tastemap.retrieval.rec_vae:RecVAE",
    "sasrec": "tastemap.retrieval.sasrec:SASRec",
    "memorynetwork": "tastemap.retrieval.memory_network:MemoryNetwork",
    "hstu": "tastemap.retrieval.hstu:HSTU",
    "gru4rec": "tastemap.retrieval.gru4rec:GRU4Rec",
    "bert4rec": "tastemap.retrieval.bert4rec:BERT4Rec",
    "twotower": "tastemap.retrieval.two_tower:TwoTower",
    "youtubednn": "tastemap.retrieval.youtube_dnn:YouTubeDNN",
    "cml": "tastemap.retrieval.cml:CML",
    "item2vec": "tastemap.retrieval.item2vec:Item2Vec",
    "user2vec": "tastemap.retrieval.user2vec:User2Vec",
    "irgan": "tastemap.retrieval.irgan:IRGAN",
    "cfgan": "tastemap.retrieval.cfgan:CFGAN",
}


@cache
def _table() -> dict[str, str]:
    added = {point.name: point.value for point in entry_points(group="tastemap.models")}
    return {**added, **_MODELS}


def model_names() -> list[str]:
    """All command-line names of models."""
    return list(_table())


def model_class(name: str) -> type[Retriever]:
    """The class of a model by its command-line name, whatever its case.

    Raises:
        ParameterError: there is none of that name; the message lists those there are.
    """
    place = _table().get(name.lower())
    if place is None:
        hint = did_you_mean(name.lower(), _table())
        raise ParameterError(f"no model {name!r}{hint} (there are: {', '.join(_table())})")
    module, _, attribute = place.partition(":")
    found: type[Retriever] = getattr(import_module(module), attribute)
    return found
