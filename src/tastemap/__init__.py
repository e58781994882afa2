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
    "ShortHistories": "tastemap.pipeline.short_histories:ShortHistories",
    "Vocabulary": "tastemap.data.vocabulary:Vocabulary",
    "datasets": "tastemap.data.datasets",
    "splits": "tastemap.data.splits",
    "metrics": "tastemap.metrics",
    "ALS": "tastemap.retrieval.als:ALS",
    "BERT4Rec": "tastemap.retrieval.bert4rec:BERT4Rec",
    "BPR": "tastemap.retrieval.bpr:BPR",
    "Blend": "tastemap.retrieval.blend:Blend",
    "ContextPostFilter": "tastemap.retrieval.context_post_filter:ContextPostFilter",
    "ContextPreFilter": "tastemap.retrieval.context_pre_filter:ContextPreFilter",
    "GMF": "tastemap.retrieval.gmf:GMF",
    "IALSPP": "tastemap.retrieval.ials_pp:IALSPP",
    "RP3Beta": "tastemap.retrieval.rp3_beta:RP3Beta",
    "SLIM": "tastemap.retrieval.slim:SLIM",
    "UserKNN": "tastemap.retrieval.user_knn:UserKNN",
    "ExplicitALS": "tastemap.retrieval.explicit_als:ExplicitALS",
    "FunkSVD": "tastemap.retrieval.funk_svd:FunkSVD",
    "NonNegativeMF": "tastemap.retrieval.non_negative_mf:NonNegativeMF",
    "SVDPP": "tastemap.retrieval.svdpp:SVDPP",
    "TimeSVDPP": "tastemap.retrieval.time_svdpp:TimeSVDPP",
    "AutoRec": "tastemap.retrieval.autorec:AutoRec",
    "EASE": "tastemap.retrieval.ease:EASE",
    "NCFMLP": "tastemap.retrieval.ncf_mlp:NCFMLP",
    "NeuMF": "tastemap.retrieval.neumf:NeuMF",
    "Item2Vec": "tastemap.retrieval.item2vec:Item2Vec",
    "ItemKNN": "tastemap.retrieval.item_knn:ItemKNN",
    "LogisticMF": "tastemap.retrieval.logistic_mf:LogisticMF",
    "MatrixFactorization": "tastemap.retrieval.matrix_factorization:MatrixFactorization",
    "MultDAE": "tastemap.retrieval.mult_dae:MultDAE",
    "MultVAE": "tastemap.retrieval.mult_vae:MultVAE",
    "RecVAE": "tastemap.retrieval.rec_vae:RecVAE",
    "Popularity": "tastemap.retrieval.popularity:Popularity",
    "WARP": "tastemap.retrieval.warp:WARP",
    "SASRec": "tastemap.retrieval.sasrec:SASRec",
    "MemoryNetwork": "tastemap.retrieval.memory_network:MemoryNetwork",
    "HSTU": "tastemap.retrieval.hstu:HSTU",
    "GRU4Rec": "tastemap.retrieval.gru4rec:GRU4Rec",
    "TwoTower": "tastemap.retrieval.two_tower:TwoTower",
    "YouTubeDNN": "tastemap.retrieval.youtube_dnn:YouTubeDNN",
    "CFGAN": "tastemap.retrieval.cfgan:CFGAN",
    "CML": "tastemap.retrieval.cml:CML",
    "IRGAN": "tastemap.retrieval.irgan:IRGAN",
    "User2Vec": "tastemap.retrieval.user2vec:User2Vec",
    "BlendRanker": "tastemap.ranking.blend_ranker:BlendRanker",
    "CatBoostRanker": "tastemap.ranking.catboost_ranker:CatBoostRanker",
    "DIN": "tastemap.ranking.din:DIN",
    "DCNv2": "tastemap.ranking.dcn_v2:DCNv2",
    "DeepFM": "tastemap.ranking.deep_fm:DeepFM",
    "FFM": "tastemap.ranking.ffm:FFM",
    "FM": "tastemap.ranking.fm:FM",
    "GDCN": "tastemap.ranking.gdcn:GDCN",
    "NeuMFRanker": "tastemap.ranking.neumf_ranker:NeuMFRanker",
    "FinalMLP": "tastemap.ranking.final_mlp:FinalMLP",
    "LightGBMRanker": "tastemap.ranking.lightgbm_ranker:LightGBMRanker",
    "MMoE": "tastemap.ranking.mmoe:MMoE",
    "StagedFM": "tastemap.ranking.staged_fm:StagedFM",
    "WideDeep": "tastemap.ranking.wide_deep:WideDeep",
    "ExactIndex": "tastemap.index.exact:ExactIndex",
    "HNSWIndex": "tastemap.index.hnsw:HNSWIndex",
    "IVFIndex": "tastemap.index.ivf:IVFIndex",
    "IVFPQIndex": "tastemap.index.ivf_pq:IVFPQIndex",
    "MilvusIndex": "tastemap.index.milvus:MilvusIndex",
    "PgVectorIndex": "tastemap.index.pgvector:PgVectorIndex",
    "Run": "tastemap.training.run:Run",
    "LongTail": "tastemap.pipeline.long_tail:LongTail",
    "OutOfTime": "tastemap.pipeline.ranking_stage:OutOfTime",
    "Pipeline": "tastemap.pipeline.pipeline:Pipeline",
    "PipelineRecipe": "tastemap.pipeline.recipe:PipelineRecipe",
    "PointInTime": "tastemap.features.point_in_time:PointInTime",
    "Report": "tastemap.evaluation:Report",
    "Rules": "tastemap.policy.rules:Rules",
    "compare": "tastemap.evaluation:compare",
    "evaluate": "tastemap.evaluation:evaluate",
    "evaluate_frame": "tastemap.evaluation:evaluate_frame",
    "reliability_plot": "tastemap.evaluation:reliability_plot",
    "Recipe": "tastemap.retrieval.recipe:Recipe",
    "Study": "tastemap.tuning:Study",
    "tune": "tastemap.tuning:tune",
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
    from tastemap.evaluation import reliability_plot as reliability_plot
    from tastemap.features.point_in_time import PointInTime as PointInTime
    from tastemap.index.exact import ExactIndex as ExactIndex
    from tastemap.index.hnsw import HNSWIndex as HNSWIndex
    from tastemap.index.ivf import IVFIndex as IVFIndex
    from tastemap.index.ivf_pq import IVFPQIndex as IVFPQIndex
    from tastemap.index.milvus import MilvusIndex as MilvusIndex
    from tastemap.index.pgvector import PgVectorIndex as PgVectorIndex
    from tastemap.pipeline.long_tail import LongTail as LongTail
    from tastemap.pipeline.pipeline import Pipeline as Pipeline
    from tastemap.pipeline.ranking_stage import OutOfTime as OutOfTime
    from tastemap.pipeline.recipe import PipelineRecipe as PipelineRecipe
    from tastemap.pipeline.short_histories import ShortHistories as ShortHistories
    from tastemap.policy.rules import Rules as Rules
    from tastemap.ranking.blend_ranker import BlendRanker as BlendRanker
    from tastemap.ranking.catboost_ranker import CatBoostRanker as CatBoostRanker
    from tastemap.ranking.dcn_v2 import DCNv2 as DCNv2
    from tastemap.ranking.deep_fm import DeepFM as DeepFM
    from tastemap.ranking.din import DIN as DIN
    from tastemap.ranking.ffm import FFM as FFM
    from tastemap.ranking.final_mlp import FinalMLP as FinalMLP
    from tastemap.ranking.fm import FM as FM
    from tastemap.ranking.gdcn import GDCN as GDCN
    from tastemap.ranking.lightgbm_ranker import LightGBMRanker as LightGBMRanker
    from tastemap.ranking.mmoe import MMoE as MMoE
    from tastemap.ranking.neumf_ranker import NeuMFRanker as NeuMFRanker
    from tastemap.ranking.staged_fm import StagedFM as StagedFM
    from tastemap.ranking.wide_deep import WideDeep as WideDeep
    from tastemap.release import ReleaseStore as ReleaseStore
    from tastemap.release import load as load
    from tastemap.retrieval.als import ALS as ALS
    from tastemap.retrieval.autorec import AutoRec as AutoRec
    from tastemap.retrieval.bert4rec import BERT4Rec as BERT4Rec
    from tastemap.retrieval.blend import Blend as Blend
    from tastemap.retrieval.bpr import BPR as BPR
    from tastemap.retrieval.cfgan import CFGAN as CFGAN
    from tastemap.retrieval.cml import CML as CML
    from tastemap.retrieval.context_post_filter import ContextPostFilter as ContextPostFilter
    from tastemap.retrieval.context_pre_filter import ContextPreFilter as ContextPreFilter
    from tastemap.retrieval.ease import EASE as EASE
    from tastemap.retrieval.explicit_als import ExplicitALS as ExplicitALS
    from tastemap.retrieval.funk_svd import FunkSVD as FunkSVD
    from tastemap.retrieval.gmf import GMF as GMF
    from tastemap.retrieval.gru4rec import GRU4Rec as GRU4Rec
    from tastemap.retrieval.hstu import HSTU as HSTU
    from tastemap.retrieval.ials_pp import IALSPP as IALSPP
    from tastemap.retrieval.irgan import IRGAN as IRGAN
    from tastemap.retrieval.item2vec import Item2Vec as Item2Vec
    from tastemap.retrieval.item_knn import ItemKNN as ItemKNN
    from tastemap.retrieval.logistic_mf import LogisticMF as LogisticMF
    from tastemap.retrieval.matrix_factorization import MatrixFactorization as MatrixFactorization
    from tastemap.retrieval.memory_network import MemoryNetwork as MemoryNetwork
    from tastemap.retrieval.mult_dae import MultDAE as MultDAE
    from tastemap.retrieval.mult_vae import MultVAE as MultVAE
    from tastemap.retrieval.ncf_mlp import NCFMLP as NCFMLP
    from tastemap.retrieval.neumf import NeuMF as NeuMF
    from tastemap.retrieval.non_negative_mf import NonNegativeMF as NonNegativeMF
    from tastemap.retrieval.popularity import Popularity as Popularity
    from tastemap.retrieval.rec_vae import RecVAE as RecVAE
    from tastemap.retrieval.recipe import Recipe as Recipe
    from tastemap.retrieval.rp3_beta import RP3Beta as RP3Beta
    from tastemap.retrieval.sasrec import SASRec as SASRec
    from tastemap.retrieval.slim import SLIM as SLIM
    from tastemap.retrieval.svdpp import SVDPP as SVDPP
    from tastemap.retrieval.time_svdpp import TimeSVDPP as TimeSVDPP
    from tastemap.retrieval.two_tower import TwoTower as TwoTower
    from tastemap.retrieval.user2vec import User2Vec as User2Vec
    from tastemap.retrieval.user_knn import UserKNN as UserKNN
    from tastemap.retrieval.warp import WARP as WARP
    from tastemap.retrieval.youtube_dnn import YouTubeDNN as YouTubeDNN
    from tastemap.training.run import Run as Run
    from tastemap.tuning import Study as Study
    from tastemap.tuning import tune as tune


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
