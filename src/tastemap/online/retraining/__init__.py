"""Retraining in a process of its own, while the service goes on."""

from tastemap.online.retraining.decisions import Decision, Decisions, Outcome
from tastemap.online.retraining.trainer import Judging, Trainer
from tastemap.online.retraining.triggers import Triggers

__all__ = ["Decision", "Decisions", "Judging", "Outcome", "Trainer", "Triggers"]
