"""Beyond accuracy: how new, varied, surprising and popular lists are, a value per user.

`popularity` is float or int [item rows]: the number of users of each item in the training data;
`recommended` is int32 [n, k'], item rows, best first, where 0 is padding and is left out of every
mean. A user whose list is empty has no value: NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import ParameterError
from tastemap.metrics.ranking import check_ragged, mean_by_row

__all__ = [
    "arp",
    "intra_list_diversity",
    "novelty",
    "popularity_bias",
    "profile_popularity",
    "serendipity",
]

Floats = NDArray[np.float64]
Lists = NDArray[np.int32]


def novelty(recommended: Lists, popularity: NDArray[Any], n_users: int, k: int) -> Floats:
    """Mean self-information of the first k, in bits; float64 [n].

    The self-information of an item is -log2(share of the users who have it): 1 bit for what every
    second user has. An item nobody has counts as if one user had it, so values lie between 0 and
    log2(n_users). Source: Zhou et al., PNAS 2010.

    Raises:
        ParameterError: n_users is below the popularity of an item.
    """
    popularity = np.asarray(popularity, np.float64)
    most = popularity[1:].max(initial=1.0)
    if n_users < most:
        raise ParameterError(f"n_users is {n_users}, but an item has {most:g} users")
    return _mean_of_items(recommended, -np.log2(np.maximum(popularity, 1) / n_users), k)


def arp(recommended: Lists, popularity: NDArray[Any], k: int) -> Floats:
    """Average recommendation popularity: mean popularity of the first k; float64 [n].

    Source: Yin, Cui, Li, Yao and Chen, VLDB 2012.
    """
    return _mean_of_items(recommended, np.asarray(popularity, np.float64), k)


def profile_popularity(
    offsets: NDArray[np.int64], items: NDArray[np.int32], popularity: NDArray[Any]
) -> Floats:
    """Mean popularity of the items of each user's history; float64 [n], NaN where it is empty.

    Args:
        offsets, items: ragged item rows, int64 [n+1] and int32 [m]; row 0 (unknown) is left out.
    """
    offsets, items = check_ragged(len(offsets) - 1, offsets, items)
    values = np.asarray(popularity, np.float64)[items]
    return mean_by_row(np.where(items > 0, values, np.nan), offsets)


def popularity_bias(recommended_popularity: Floats, history_popularity: Floats) -> float:
    """Popularity lift: by how much recommendations are more popular than what people take.

    mean(recommended) / mean(history) - 1 over the users who have both: 0 where lists are as popular
    as histories, 0.5 where they are half as popular again, negative where they are less popular.
    Source: ΔGAP of Abdollahpouri, Mansoury, Burke and Mobasher, RMSE workshop at RecSys 2019.

    Args:
        recommended_popularity: float64 [n], of `arp`.
        history_popularity: float64 [n], of `profile_popularity`.
    """
    both = ~np.isnan(recommended_popularity) & ~np.isnan(history_popularity)
    before = history_popularity[both].sum()
    return float(recommended_popularity[both].sum() / before - 1) if before else float("nan")


def intra_list_diversity(recommended: Lists, features: NDArray[Any], k: int) -> Floats:
    """Mean of 1 - cosine over all pairs of items in the first k; float64 [n].

    0 where all items of a list are alike. Lists of fewer than two items have no value. An item
    without features (a row of zeros) is alike to nothing.
    Source: Ziegler, McNee, Konstan and Lausen, WWW 2005; as a mean distance
    Vargas and Castells, RecSys 2011.

    Args:
        features: float [item rows, d]: a model's item vectors, or attributes such as genres, an
            item a row. Attributes judge all models alike; vectors judge a model by its own eyes.
    """
    top = np.asarray(recommended)[:, :k]
    features = np.asarray(features)
    # Σ over pairs of <a, b> = (|Σ a|² - Σ |a|²) / 2, so that no pair needs to be formed.
    total, own = np.zeros((len(top), features.shape[1])), np.zeros(len(top))
    for items in top.T:
        vectors = np.where(items[:, None] > 0, features[items], 0).astype(np.float64)
        lengths = np.linalg.norm(vectors, axis=1)
        total += vectors / np.where(lengths > 0, lengths, 1.0)[:, None]
        own += lengths > 0
    counts = (top > 0).sum(axis=1)
    pairs = counts * (counts - 1) / 2
    alike = ((total**2).sum(axis=1) - own) / 2
    distance = 1.0 - alike / np.where(pairs > 0, pairs, np.nan)
    # Rounding may leave a list of equal items a hair below 0.
    return np.asarray(np.clip(distance, 0.0, 2.0))


def serendipity(
    hits: NDArray[np.bool_],
    n_relevant: NDArray[np.int64],
    recommended: Lists,
    expected: Lists,
    k: int,
) -> Floats:
    """Share of the first k that is relevant and was not to be expected; float64 [n].

    An item is expected where it is in the first k of a primitive recommender's list for the user,
    usually the most popular items that the user does not have yet. NaN where nothing is relevant.
    Source: Ge, Delgado-Battenfeld and Jannach, RecSys 2010, after Murakami, Mori and Orihara 2008.

    Args:
        hits, n_relevant: of `judge(recommended, ...)`, bool [n, k'] and int64 [n].
        expected: int32 [n, k''], the primitive recommender's lists; 0 is padding.
    """
    top, known = np.asarray(recommended)[:, :k], np.asarray(expected)[:, :k]
    unexpected = np.ones(top.shape, np.bool_)
    for place in range(known.shape[1]):
        unexpected &= top != known[:, place : place + 1]
    found = (hits[:, :k] & unexpected).sum(axis=1) / k
    return np.asarray(np.where(n_relevant > 0, found, np.nan))


def _mean_of_items(recommended: Lists, values: Floats, k: int) -> Floats:
    """Mean of the items' values over the first k of each list."""
    top = np.asarray(recommended)[:, :k]
    counts = (top > 0).sum(axis=1)
    total = (values[top] * (top > 0)).sum(axis=1)
    return np.asarray(total / np.where(counts > 0, counts, np.nan))
