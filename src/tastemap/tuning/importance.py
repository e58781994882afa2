"""How much each hyper-parameter matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

__all__ = ["LEAST_TRIALS", "importance_of"]

LEAST_TRIALS = 10
"""Fewer measured trials say nothing about shares of variance."""


def importance_of(study: optuna.Study) -> dict[str, float]:
    """The share of each hyper-parameter in the variance of the trials' values, largest first.

    fANOVA: Hutter, Hoos and Leyton-Brown 2014, An Efficient Approach for Assessing Hyperparameter
    Importance (ICML). Empty with fewer than `LEAST_TRIALS` measured trials, with one
    hyper-parameter, or where all values are the same.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    measured = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    names = {name for trial in measured for name in trial.params}
    if len(measured) < LEAST_TRIALS or len(names) < 2 or len({t.value for t in measured}) < 2:
        return {}
    return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0)))
