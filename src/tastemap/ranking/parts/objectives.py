"""What training makes small: a loss of single rows, or of the rows of a request together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from tastemap.losses import bpr, sampled_softmax
from tastemap.ranking.labelled import Labelled
from tastemap.ranking.requests import Requests
from tastemap.ranking.tasks import Tasks
from tastemap.training.module import tensor_of

__all__ = ["Objective", "make_objective"]


class Objective(ABC):
    """A loss over examples, each of which stands for some rows.

    Args:
        n: how many examples there are.
        device: where rows and scores are.
    """

    metric: str
    """What the loss of validation rows is called."""

    def __init__(self, n: int, device: str | torch.device) -> None:
        self.n, self.device = n, torch.device(device)

    def __len__(self) -> int:
        return self.n

    @abstractmethod
    def batches(self, order: torch.Tensor, size: int) -> Sequence[torch.Tensor]:
        """Examples int64 [n] cut into parts of about `size` rows."""

    @abstractmethod
    def rows(self, examples: torch.Tensor) -> torch.Tensor:
        """The rows int64 [m] of examples int64 [b], one example after the other."""

    @abstractmethod
    def loss(self, scores: torch.Tensor, examples: torch.Tensor) -> torch.Tensor:
        """The mean loss, a scalar, of examples whose rows have the scores float32 [m]."""


class Pointwise(Objective):
    """Binary cross-entropy of each row, so that scores are log-odds.

    Of several tasks, scores and labels are [B, tasks], and the loss is the weighted mean of those
    of the tasks. The cross-entropy of a share is smallest where it is foretold exactly.

    Args:
        data: rows.
        device: where rows and scores are.
        tasks: what the columns of the labels are, where there are several.
    """

    metric = "log-loss"

    def __init__(
        self, data: Labelled, device: str | torch.device, tasks: Tasks | None = None
    ) -> None:
        super().__init__(len(data), device)
        self.labels = tensor_of(data.labels, device)
        # The mean is one over all numbers [B, tasks].
        self.weights = None
        if tasks is not None:
            self.weights = torch.tensor(tasks.weights, device=device) * len(tasks)

    def batches(self, order: torch.Tensor, size: int) -> Sequence[torch.Tensor]:
        return torch.split(order, size)

    def rows(self, examples: torch.Tensor) -> torch.Tensor:
        return examples

    def loss(self, scores: torch.Tensor, examples: torch.Tensor) -> torch.Tensor:
        labels = self.labels.index_select(0, examples)
        return functional.binary_cross_entropy_with_logits(scores, labels, self.weights)


class OfRequests(Objective):
    """A loss of each click against the rows of its request that are none.

    Args:
        data: rows with groups.
        device: where rows and scores are.
    """

    def __init__(self, data: Labelled, device: str | torch.device) -> None:
        assert data.groups is not None
        requests = Requests.of(data.labels, data.groups)
        super().__init__(len(requests), device)
        self._sizes_here = requests.sizes
        self._places = tensor_of(requests.rows, device)
        self._starts = tensor_of(requests.offsets[:-1], device)
        self._sizes = tensor_of(requests.sizes, device)
        self._clicks = tensor_of(requests.clicks, device)

    def batches(self, order: torch.Tensor, size: int) -> Sequence[torch.Tensor]:
        before = np.cumsum(self._sizes_here[order.cpu().numpy()]) - 1
        return torch.split(order, np.unique(before // size, return_counts=True)[1].tolist())

    def rows(self, examples: torch.Tensor) -> torch.Tensor:
        sizes = self._sizes[examples]
        shift = self._starts[examples] - _before(sizes)
        places = torch.repeat_interleave(shift, sizes)
        return self._places[places + torch.arange(len(places), device=self.device)]

    def loss(self, scores: torch.Tensor, examples: torch.Tensor) -> torch.Tensor:
        sizes, clicks = self._sizes[examples], self._clicks[examples]
        starts, others = _before(sizes), sizes - clicks
        owners = torch.repeat_interleave(clicks)
        positive = scores[starts[owners] + torch.arange(len(owners), device=self.device)
                          - _before(clicks)[owners]]  # fmt: skip
        places = torch.arange(int(others.max()), device=self.device)
        there = places < others[:, None]
        negative = scores[torch.where(there, (starts + clicks)[:, None] + places, 0)]
        return self.against(positive, negative[owners], there[owners])

    @abstractmethod
    def against(
        self, positive: torch.Tensor, negative: torch.Tensor, there: torch.Tensor
    ) -> torch.Tensor:
        """The mean loss of clicks [P] against others [P, width], of which some are there."""


class Pairwise(OfRequests):
    """-ln σ(x_i - x_j) over all pairs of a click i and another row j of its request (RankNet,
    Burges et al. 2005)."""

    metric = "pairwise loss"

    def against(
        self, positive: torch.Tensor, negative: torch.Tensor, there: torch.Tensor
    ) -> torch.Tensor:
        return bpr(positive, negative, there)


class Listwise(OfRequests):
    """-ln of a click's share in a softmax over itself and the rows of its request that are none
    (the top-one loss of ListNet, Cao et al. 2007, for each click alone)."""

    metric = "listwise loss"

    def against(
        self, positive: torch.Tensor, negative: torch.Tensor, there: torch.Tensor
    ) -> torch.Tensor:
        # Nothing was drawn: all candidates stand in the sum, each once.
        certain = torch.zeros_like(positive)
        return sampled_softmax(
            positive, negative, torch.zeros_like(negative), there, positive_log_q=certain
        )


_OF_REQUESTS: dict[str, type[OfRequests]] = {"pairwise": Pairwise, "listwise": Listwise}


def make_objective(
    name: str, data: Labelled, device: str | torch.device, tasks: Tasks | None = None
) -> Objective:
    """The objective of a ranker's hyper-parameter for some rows; of several tasks the pointwise.

    Raises:
        DataError: it compares rows of a request, and none has both labels.
    """
    if name == "pointwise":
        return Pointwise(data, device, tasks)
    return _OF_REQUESTS[name](data, device)


def _before(sizes: torch.Tensor) -> torch.Tensor:
    """The sum of all sizes before each."""
    return sizes.cumsum(0) - sizes
