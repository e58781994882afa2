"""What each measure for speed brings: positions a second of SASRec without one of them.

    python -m benchmarks.sequence_speed [--seconds 10] [--rounds 5] [--dataset NAME] [--out DIR]

Steps of 4,096 positions with the class defaults. In every round each variant has its turn of some
seconds, and what counts is its share of the speed of all measures together in the same round, since
the machine is shared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.nn.functional import cross_entropy

import tastemap as tm
from benchmarks import results
from tastemap.nn import attention
from tastemap.nn.dropout import Dropout
from tastemap.nn.packing import Packing
from tastemap.retrieval.parts import next_item, objectives
from tastemap.retrieval.parts.next_item import NextItemTrainer
from tastemap.training.sequence_batches import SequenceBatch, SequenceBatches

BATCH = 4096


class PaddedBatches(SequenceBatches):
    """As most libraries lay them: each window a row of `max_length`, zeros after its end."""

    def epoch(self, size: int, rng: np.random.Generator) -> Iterator[SequenceBatch]:
        for batch in super().epoch(size, rng):
            assert batch.targets is not None
            packing, n = batch.packing, len(batch.packing)
            cells = packing.sequences * self.max_length + packing.places
            padded = {
                name: torch.zeros(n * self.max_length, dtype=x.dtype).index_copy(0, cells, x)
                for name in ("items", "times", "kinds", "targets")
                for x in [getattr(batch, name)]
            }
            yield replace(batch, packing=Packing.of(np.full(n, self.max_length)), **padded)


def _plain_softmax(
    queries: Any, items: Any, targets: Any, bias: None, *, weights: None
) -> torch.Tensor:
    real = (targets >= 0).nonzero()[:, 0]
    return cross_entropy((queries[real] @ items.T).float(), targets[real])


def _padded_softmax(
    queries: Any, items: Any, targets: Any, bias: None, *, weights: None
) -> torch.Tensor:
    """Over what is real; a target of -1 stands for padding."""
    real = (targets >= 0).nonzero()[:, 0]
    return objectives_softmax(queries[real], items, targets[real])


objectives_softmax = objectives.softmax


def _plain_attention(q: Any, k: Any, v: Any, is_causal: bool) -> torch.Tensor:
    assert is_causal
    scores = (q @ k.mT) * q.shape[-1] ** -0.5
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -torch.inf).softmax(-1) @ v


def _float32(device: object) -> AbstractContextManager[object]:
    return nullcontext()


# Of each variant: the batches, what stands in place of something, and what is made of the network.
Variant = tuple[type[SequenceBatches], list[Any], Callable[[Any], Any]]


def _same(network: Any) -> Any:
    return network


VARIANTS: dict[str, Variant] = {
    "all measures": (SequenceBatches, [], _same),
    "padded to 200 in place of packed": (
        PaddedBatches, [patch.object(objectives, "softmax", _padded_softmax)], _same,
    ),
    "float32 in place of bfloat16": (
        SequenceBatches, [patch.object(next_item, "mixed", _float32)], _same,
    ),
    "cross_entropy of a whole batch × items in place of the tiled softmax": (
        SequenceBatches, [patch.object(objectives, "softmax", _plain_softmax)], _same,
    ),
    "softmax(QKᵀ)V in place of fused attention": (
        SequenceBatches,
        [patch.object(attention, "scaled_dot_product_attention", _plain_attention)],
        _same,
    ),
    # Our dropout is compiled already, and by another compiler.
    "with torch.compile": (
        SequenceBatches,
        [patch.object(Dropout, "forward", torch.compiler.disable(Dropout.forward))],
        lambda network: torch.compile(network, dynamic=True),
    ),
    "none of them": (
        PaddedBatches,
        [
            patch.object(objectives, "softmax", _plain_softmax),
            patch.object(next_item, "mixed", _float32),
            patch.object(attention, "scaled_dot_product_attention", _plain_attention),
        ],
        _same,
    ),
}  # fmt: skip


class _Turns:
    """One variant in training: each call takes steps for some seconds."""

    def __init__(self, name: str, data: tm.Dataset) -> None:
        batches_of, self.patches, change = VARIANTS[name]
        model = tm.SASRec()
        model._data = data
        network = model.start_network(0, "cpu")
        self.batches = batches_of(model.seen_in_training(data.histories), model.max_length)
        self.trainer = NextItemTrainer(
            network, self.batches, model.make_objective(data.histories, "cpu"),
            epochs=1000, learning_rate=1e-3, batch_size=BATCH,
        )  # fmt: skip
        self.trainer.network = change(network)
        self.rng = np.random.default_rng(0)

    def __call__(self, seconds: float) -> float:
        """Real positions a second."""
        done, start = 0, 0.0
        epoch = self.batches.epoch

        def for_seconds(size: int, rng: np.random.Generator) -> Iterator[SequenceBatch]:
            nonlocal done, start
            for number, batch in enumerate(epoch(size, rng)):
                # The first steps bring everything to where it is used.
                if number == 2:
                    start = time.perf_counter()
                if number > 2:
                    done += size
                    if time.perf_counter() - start > seconds:
                        return
                yield batch

        for patched in self.patches:
            patched.start()
        with patch.object(self.batches, "epoch", for_seconds):
            self.trainer.train_epoch(0, self.rng)
        speed = done / (time.perf_counter() - start)
        for patched in self.patches:
            patched.stop()
        return speed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10, help="of each turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dataset", default="movielens-1m")
    parser.add_argument("--out", type=Path, default=results.FOLDER)
    said = parser.parse_args()
    torch.set_num_threads(results.THREADS)
    split = tm.splits.LeaveOneOut().split(tm.datasets.load(said.dataset))
    turns = {name: _Turns(name, split.train) for name in VARIANTS}
    # What is compiled is compiled here.
    for turn in turns.values():
        turn(1)
    speeds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(said.rounds):
        for name, turn in turns.items():
            speeds[name].append(turn(said.seconds))
            print(f"{name}: {speeds[name][-1]:,.0f} positions a second", flush=True)
    whole = speeds["all measures"]
    found = {
        name: {
            "positions_per_second": statistics.median(values),
            "share": statistics.median(v / w for v, w in zip(values, whole, strict=True)),
        }
        for name, values in speeds.items()
    }
    command = "python -m benchmarks.sequence_speed"
    result = {
        "command": command, "variants": found, "rounds": said.rounds, "torch": torch.__version__,
    }  # fmt: skip
    print("wrote", results.write("sequence-speed", said.dataset, result, said.out))


if __name__ == "__main__":
    main()
