"""Metrics as functions on plain arrays, so that anybody's scores can be evaluated."""

from __future__ import annotations

from tastemap.metrics.beyond import (
    arp,
    intra_list_diversity,
    novelty,
    popularity_bias,
    profile_popularity,
    serendipity,
)
from tastemap.metrics.bootstrap import bootstrap_interval
from tastemap.metrics.catalogue import coverage, exposure, gini
from tastemap.metrics.clicks import calibration_error, click_auc, click_gauc, log_loss, reliability
from tastemap.metrics.names import METRICS, Metric, MetricInfo
from tastemap.metrics.ranking import (
    auc,
    hit_rate,
    judge,
    map,
    mrr,
    ndcg,
    precision,
    recall,
    win_rates,
)
from tastemap.metrics.rating import mae, rmse

__all__ = [
    "METRICS",
    "Metric",
    "MetricInfo",
    "arp",
    "auc",
    "bootstrap_interval",
    "calibration_error",
    "click_auc",
    "click_gauc",
    "coverage",
    "exposure",
    "gini",
    "hit_rate",
    "intra_list_diversity",
    "judge",
    "log_loss",
    "mae",
    "map",
    "mrr",
    "ndcg",
    "novelty",
    "popularity_bias",
    "precision",
    "profile_popularity",
    "recall",
    "reliability",
    "rmse",
    "serendipity",
    "win_rates",
]
