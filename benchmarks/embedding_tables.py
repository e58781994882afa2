"""Tables of embeddings: steps a second by optimizer, first values, and hashed tables.

    python -m benchmarks.embedding_tables [--seconds 5] [--out DIR]

Speed: steps of BPR on random triplets over tables of 200,000 users and 200,000 items of 64 numbers,
in batches of 4,096 where torch steps. Quality: NDCG@10 on movielens-100k of the same loss trained
by torch from different first values, and with items in a hashed table of less memory, over seeds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse

from benchmarks import data, evaluator, results, splits
from benchmarks.contenders.protocol import unseen
from tastemap.kernels.blocks import STRATA, cut_into_blocks, sorted_within_rows, user_strata
from tastemap.kernels.bpr import bpr_epoch
from tastemap.losses.bpr import bpr
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.hashed_table import HashedTable
from tastemap.nn.initializers import normal_, uniform_, xavier_
from tastemap.nn.optimizers import RowwiseAdagrad, sparse_adam, sparse_sgd
from tastemap.sampling.uniform import UniformSampler
from tastemap.training.schedule import lower_rate

ROWS, DIM, BATCH = 200_000, 64, 4096

Table = EmbeddingTable | HashedTable
Parameters = list[torch.nn.Parameter]

OPTIMIZERS: dict[str, tuple[bool, Callable[[Parameters], torch.optim.Optimizer]]] = {
    "dense Adam": (False, lambda tables: torch.optim.Adam(tables, lr=1e-3)),
    "SparseAdam": (True, lambda tables: sparse_adam(tables, 1e-3)),
    "rowwise Adagrad": (True, lambda tables: RowwiseAdagrad(tables, 0.05)),
    "sparse SGD": (True, lambda tables: sparse_sgd(tables, 0.05)),
}

INITIALIZERS: dict[str, Callable[[torch.Tensor], object]] = {
    "uniform ±0.05": uniform_,
    "normal 0.01": normal_,
    "normal 0.1": lambda table: normal_(table, 0.1),
    "Xavier": xavier_,
}


def speed_of(name: str, seconds: float) -> dict[str, float]:
    """Triplets a second of one optimizer, and the numbers of its state by number of the tables."""
    is_sparse, make = OPTIMIZERS[name]
    users, items = (EmbeddingTable(ROWS, DIM, sparse=is_sparse) for _ in range(2))
    optimizer = make([users.weight, items.weight])
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        u, i, j = torch.randint(1, ROWS, (3, BATCH), generator=generator)
        optimizer.zero_grad()
        score = (users(u)[:, None] * items(torch.stack([i, j], 1))).sum(-1)
        (bpr(score[:, 0], score[:, 1:]) * BATCH).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    step()
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        step()
        done += BATCH
    elapsed = time.perf_counter() - start
    held = (v for s in optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor))
    state = sum(tensor.numel() for tensor in held) / (2 * ROWS * DIM)
    return {"triplets_per_second": done / elapsed, "state_per_number": state}


def speed_of_kernel(seconds: float) -> dict[str, float]:
    """The same triplets by the compiled kernel."""
    rng = np.random.default_rng(0)
    n = 2_000_000
    offsets = np.concatenate([[0, 0], np.arange(1, ROWS) * n // (ROWS - 1)]).astype(np.int64)
    items = rng.integers(1, ROWS, n).astype(np.int32)
    counts, chosen = np.bincount(items, minlength=ROWS), sorted_within_rows(offsets, items)
    bounds = user_strata(offsets)
    P, Q = (rng.normal(0, 0.01, (ROWS, DIM)).astype(np.float32) for _ in range(2))
    c = np.zeros(ROWS, np.float32)
    rates = [np.float32(x) for x in (0.05, 0.0, 0.0)]

    def epoch() -> None:
        blocks = cut_into_blocks(offsets, items, bounds, counts, rng)
        order, seed = rng.permutation(STRATA), rng.integers(1 << 63, dtype=np.uint64)
        bpr_epoch(*blocks, order, offsets, chosen, P, Q, c, *rates, 1, seed)  # type: ignore[call-arg]

    epoch()
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        epoch()
        done += n
    elapsed = time.perf_counter() - start
    return {"triplets_per_second": done / elapsed, "state_per_number": 0.0}


def quality(
    split: splits.TopNSplit,
    of_users: Callable[[int], Table],
    of_items: Callable[[int], Table],
    seed: int,
    epochs: int,
) -> float:
    """NDCG@10 of BPR trained by torch with rowwise Adagrad on tables made for so many rows."""
    train = sparse.coo_matrix(split.train)
    users = torch.from_numpy(train.row.astype(np.int64)) + 1
    items = torch.from_numpy(train.col.astype(np.int64)) + 1
    n_users, n_items = (n + 1 for n in split.train.shape)
    torch.manual_seed(seed)
    p, q = of_users(n_users), of_items(n_items)
    optimizer = RowwiseAdagrad([p.weight, q.weight], 0.1)
    sampler = UniformSampler(n_items, users, items)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        lower_rate(optimizer, epoch, epochs)
        for batch in torch.randperm(len(users), generator=generator).split(512):
            u, i = users[batch], items[batch]
            j, _, mask = sampler.sample(u, i, 1, generator)
            pairs = q(torch.cat([i[:, None], j], 1))
            score = torch.bmm(pairs, p(u)[:, :, None])[..., 0]
            penalty = 0.01 * (p(u).square().sum() + pairs.square().sum()) / 2
            optimizer.zero_grad()
            (bpr(score[:, 0], score[:, 1:], mask) * len(batch) + penalty).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        scores = p(torch.arange(1, n_users)) @ q(torch.arange(1, n_items)).T
    lists = unseen(scores.numpy(), split.train, evaluator.DEPTH)
    return evaluator.judge_lists(lists, split.train, split.test)["ndcg@10"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement of speed")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=results.FOLDER)
    said = parser.parse_args()
    torch.set_num_threads(results.THREADS)

    speed = {name: speed_of(name, said.seconds) for name in OPTIMIZERS}
    speed["compiled kernel, SGD"] = speed_of_kernel(said.seconds)
    for name, found in speed.items():
        print(f"{name}: {found['triplets_per_second']:,.0f} triplets/s", flush=True)

    split = splits.top_n(data.load("movielens-100k"), seed=0)
    n_items = split.train.shape[1] + 1

    def judged(of_users: Callable[[int], Table], of_items: Callable[[int], Table]) -> list[float]:
        seeds = range(said.seeds)
        found = [quality(split, of_users, of_items, seed, said.epochs) for seed in seeds]
        print(f"  NDCG@10 {statistics.fmean(found):.4f}", flush=True)
        return found

    first = {}
    for name, initialize in INITIALIZERS.items():
        print(name)

        def table(rows: int, initialize: Any = initialize) -> Table:
            return EmbeddingTable(rows, DIM, initialize=initialize)

        first[name] = judged(table, table)

    hashed = {}
    for share, hashes in ((1.0, 0), (0.5, 1), (0.5, 2), (0.25, 1), (0.25, 2), (0.1, 2)):
        print(f"items: {share:.0%} of the rows, {hashes or 'no'} hashes")

        def items(rows: int, share: float = share, hashes: int = hashes) -> Table:
            if hashes == 0:
                return EmbeddingTable(rows, DIM, initialize=normal_)
            return HashedTable(int(rows * share), DIM, hashes=hashes, initialize=normal_)

        ndcg = judged(lambda rows: EmbeddingTable(rows, DIM, initialize=normal_), items)
        name = f"hashed, {hashes} a vector" if hashes else "dense"
        hashed[f"{name}, {int(n_items * share):,} rows"] = ndcg

    result = {
        "command": "python -m benchmarks.embedding_tables",
        "split": split.hash,
        "epochs": said.epochs,
        "torch": torch.__version__,
        "speed": speed,
        "initializers": first,
        "hashed": hashed,
    }
    print(f"wrote {results.write('embedding-tables', 'movielens-100k', result, said.out)}")


if __name__ == "__main__":
    main()
