"""Protocols and reports with confidence intervals."""

from __future__ import annotations

from tastemap.evaluation.comparison import Comparison, compare
from tastemap.evaluation.frames import evaluate_frame
from tastemap.evaluation.protocol import DEFAULT_METRICS, evaluate
from tastemap.evaluation.reliability import reliability_plot
from tastemap.evaluation.report import Report

__all__ = [
    "DEFAULT_METRICS",
    "Comparison",
    "Report",
    "compare",
    "evaluate",
    "evaluate_frame",
    "reliability_plot",
]
