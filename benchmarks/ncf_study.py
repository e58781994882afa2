"""Neural collaborative filtering against a dot product, on movielens-1m: one trainer, in which only
the similarity function differs.

    python -m benchmarks.ncf_study
    python -m benchmarks.ncf_study --dim 40 --similarity dot --similarity neumf --out /tmp/trial
    python -m benchmarks.ncf_study --search --similarity dot --set regularization=0.002

The question, the data and the protocol are those of He et al. 2017 (NCF) and Rendle, Krichene,
Zhang & Anderson 2020 (Neural Collaborative Filtering vs. Matrix Factorization Revisited): every
rating is a choice, each user's last one is the test. Every run is written when it is done; running
again replaces the runs that are asked for and leaves the others.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

import tastemap as tm
from benchmarks import results
from benchmarks.options import Out
from tastemap.metrics import bootstrap_interval
from tastemap.retrieval.gmf import GMF
from tastemap.retrieval.ncf_mlp import NCFMLP
from tastemap.retrieval.neumf import NeuMF
from tastemap.retrieval.parts.ncf import NeuralCollaborativeFilter, Similarity, new_table
from tastemap.training.run import Run

SUITE, DATASET = "ncf-study", "movielens-1m"
DIMS = (20, 40, 80)
SAMPLED = 100
PLOT = Path(__file__).parent.parent / "docs" / "img" / "ncf-study.png"


class DotNetwork(Similarity):
    """p · q + b_u + c_i + b, where the first number of a vector is its bias.

    Args:
        n_users, n_items: rows.
        dim: length of a vector, with its bias.
    """

    def __init__(self, n_users: int, n_items: int, dim: int) -> None:
        super().__init__()
        self.users, self.items = new_table(n_users, dim), new_table(n_items, dim)
        self.bias = torch.nn.Parameter(torch.zeros(()))

    def user_keys(self, vectors: torch.Tensor) -> torch.Tensor:
        bias = vectors[..., :1]
        return torch.cat([bias, torch.ones_like(bias), vectors[..., 1:]], dim=-1)

    def item_keys(self, vectors: torch.Tensor) -> torch.Tensor:
        bias = vectors[..., :1]
        return torch.cat([torch.ones_like(bias), bias, vectors[..., 1:]], dim=-1)

    def logits(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        return (users * items).sum(-1) + self.bias


class DotProduct(GMF):
    """GMF with a dot product and biases in the place of its network."""

    name = "dot"

    def make_network(self) -> DotNetwork:
        return DotNetwork(len(self.users), len(self.items), self.factors)


@dataclass(frozen=True)
class Contestant:
    """A similarity function with its settings; `--search` shows how others do on validation.

    `share` of a vector's length are the predictive factors; the MLP with three layers needs vectors
    four times as long, NeuMF those of the MLP and of GMF.
    """

    title: str
    model: type[NeuralCollaborativeFilter]
    share: float
    settings: dict[str, Any]

    def make(self, dim: int, **more: Any) -> NeuralCollaborativeFilter:
        return self.model(factors=round(dim * self.share), **{**self.settings, **more})


# The best of 19 to 46 settings each, drawn at random, with vectors of 40 numbers on the validation
# part: step sizes from .0005 to .02, penalties, 4 or 8 negatives, 10 to 30 epochs, three batch
# sizes.
CONTESTANTS = {
    "dot": Contestant(
        "dot product",
        DotProduct,
        1,
        {
            "negatives": 8,
            "epochs": 30,
            "learning_rate": 0.01,
            "regularization": 0.0018,
            "batch_size": 4096,
        },
    ),
    "gmf": Contestant(
        "GMF",
        GMF,
        1,
        {
            "negatives": 8,
            "epochs": 30,
            "learning_rate": 0.006,
            "regularization": 6e-6,
            "batch_size": 4096,
        },
    ),
    "mlp": Contestant(
        "MLP",
        NCFMLP,
        1 / 4,
        {
            "negatives": 8,
            "epochs": 30,
            "learning_rate": 0.019,
            "regularization": 1.3e-5,
            "batch_size": 2048,
        },
    ),
    "neumf": Contestant(
        "NeuMF",
        NeuMF,
        1 / 5,
        {
            "negatives": 8,
            "epochs": 20,
            "learning_rate": 0.008,
            "regularization": 4e-6,
            "batch_size": 4096,
            "pretraining_epochs": 0,
        },
    ),
    "neumf-pretrained": Contestant(
        "NeuMF, pre-trained",
        NeuMF,
        1 / 5,
        {
            "negatives": 8,
            "pretraining_epochs": 15,
            "epochs": 5,
            "learning_rate": 0.0065,
            "regularization": 3e-7,
            "batch_size": 2048,
        },
    ),
}


def run(contestant: Contestant, dim: int, split: tm.splits.Split, seeds: int) -> dict[str, Any]:
    """Trains and judges one similarity at one length of vectors, with some seeds."""
    seconds, ranks = [], []
    for seed in range(seeds):
        model = contestant.make(dim, seed=seed)
        begun = time.perf_counter()
        model.fit(split.train, run=Run(progress=False))
        seconds.append(time.perf_counter() - begun)
        ranks.append(ranks_of_the_truth(model, split))
    return {
        "dim": dim,
        "factors": model.factors,
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "epochs": model.epochs,
        "seeds": seeds,
        "device": torch.cuda.get_device_name() if Run().torch_device() == "cuda" else "CPU",
        "seconds": seconds,
        **{part: hits_and_gains([one[part] for one in ranks]) for part in ranks[0]},
    }


def ranks_of_the_truth(
    model: NeuralCollaborativeFilter, split: tm.splits.Split
) -> dict[str, np.ndarray]:
    """The place of each user's last item, from 0: among all items that the user has not chosen
    before ("full"), and among 100 of them drawn once for all models ("sampled"), int64 [users]."""
    test, n_items = split.test, len(model.items)
    truth = test.truth.items
    rng = np.random.default_rng(2017)
    places: dict[str, list[np.ndarray]] = {"full": [], "sampled": []}
    for start, tile in test.queries.tiles(512):
        scores = model.score(tile)
        rows = np.arange(len(tile))
        own = truth[start : start + len(tile)]
        of_truth = scores[rows, own]
        other = np.ones((len(tile), n_items), bool)
        other[:, 0] = False
        other[tile.histories.rows_of_events(), tile.histories.items] = False
        other[rows, own] = False
        # Ties count against the model: equal scores for all must not look like knowledge.
        before = (scores >= of_truth[:, None]) & other
        places["full"].append(before.sum(1))
        # A random key for every item that may be drawn; those of the 100 largest are drawn.
        keys = np.where(other, rng.random(other.shape, np.float32), -1)
        drawn = np.argpartition(-keys, SAMPLED, axis=1)[:, :SAMPLED]
        places["sampled"].append(np.take_along_axis(before, drawn, 1).sum(1))
    return {name: np.concatenate(parts) for name, parts in places.items()}


def hits_and_gains(ranks: list[np.ndarray], k: int = 10) -> dict[str, Any]:
    """HR@k and NDCG@k of one relevant item a user, from the ranks that each seed gave it: means
    over seeds and users, and bootstrap intervals of 95 % over users."""
    place = np.stack(ranks)
    hit = place < k
    gain = np.where(hit, 1 / np.log2(place + 2), 0)
    values = np.column_stack([hit.mean(0), gain.mean(0)])
    low, high = bootstrap_interval(values)
    return {
        name: {
            "value": float(values[:, i].mean()),
            "low": float(low[i]),
            "high": float(high[i]),
            "of_seeds": [float(mean) for mean in of_seeds.mean(1)],
        }
        for i, (name, of_seeds) in enumerate({f"hr@{k}": hit, f"ndcg@{k}": gain}.items())
    }


def main(
    similarity: Annotated[list[str], typer.Option(help="Only this one; may be repeated.")] = [],  # noqa: B006
    dim: Annotated[list[int], typer.Option(help="Length of vectors; may be repeated.")] = list(  # noqa: B006
        DIMS
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each, averaged.")] = 3,
    out: Out = results.FOLDER,
    search: Annotated[
        bool, typer.Option("--search", help="Only show what is best on the validation part.")
    ] = False,
    set_: Annotated[
        list[str], typer.Option("--set", help="With --search: name=value in place of a setting.")
    ] = [],  # noqa: B006
) -> None:
    """Trains every similarity function at every length of vectors."""
    for name in similarity:
        if name not in CONTESTANTS:
            raise typer.BadParameter(f"no similarity {name!r}; there are {', '.join(CONTESTANTS)}")
    if any(length % 20 for length in dim):
        raise typer.BadParameter("lengths are multiples of 20, which NeuMF and MLP can divide")
    if search:
        for length in dim:
            for name in similarity or CONTESTANTS:
                _search(name, length, dict(text.split("=", 1) for text in set_))
        return
    split = tm.splits.LeaveOneOut(validation=False).split(tm.datasets.load(DATASET))
    path = out / f"{SUITE}-{DATASET}.json"
    for length in dim:
        for name in similarity or CONTESTANTS:
            found = run(CONTESTANTS[name], length, split, seeds)
            shown = {part: found[part]["hr@10"]["value"] for part in ("full", "sampled")}
            print(f"{name}, {length}: HR@10 {shown}, {sum(found['seconds']):.0f} s", flush=True)
            runs = _written(path, split.fingerprint)
            runs.setdefault(name, {})[str(length)] = found
            written = results.write(
                SUITE,
                DATASET,
                {
                    "command": "python -m benchmarks.ncf_study",
                    "threads": torch.get_num_threads(),
                    "split": split.fingerprint,
                    "settings": {
                        key: {
                            "title": one.title,
                            "hyperparameters": one.make(20).hyperparameter_values(),
                        }
                        for key, one in CONTESTANTS.items()
                    },
                    "runs": runs,
                },
                out,
            )
    if out == results.FOLDER:
        plot(json.loads(written.read_text()))


def _search(name: str, dim: int, texts: dict[str, str]) -> None:
    """How well settings do on each user's last but one item, epoch by epoch."""
    contestant = CONTESTANTS[name]
    split = tm.splits.LeaveOneOut().split(tm.datasets.load(DATASET))
    given = {
        key: contestant.model.hyperparameter(key).parse(contestant.title, text)
        for key, text in texts.items()
    }
    model = contestant.make(dim, **given)
    quiet = Run(progress=False)
    training = model.fit(split.train, validation=split.validation, run=quiet).training
    best = training.history[training.best_epoch - 1]
    print(
        f"{name}, {dim}, {texts}: NDCG@10 {best['ndcg@10']:.4f} after {training.best_epoch} of "
        f"{len(training.history)} epochs, {training.history[-1]['seconds']:.0f} s",
        flush=True,
    )


def _written(path: Path, fingerprint: str) -> dict[str, dict[str, Any]]:
    """The runs that stand in a result of the same split."""
    if not path.exists():
        return {}
    old = json.loads(path.read_text())
    return dict(old["runs"]) if old["split"] == fingerprint else {}


def plot(result: dict[str, Any], path: Path = PLOT) -> None:
    """HR@10 over the length of vectors, a curve for each similarity."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    for place, (part, title) in enumerate(
        (("full", "all items"), ("sampled", f"{SAMPLED} drawn items")), start=1
    ):
        axes = figure.add_subplot(1, 2, place)
        for name, runs in result["runs"].items():
            found = sorted(runs.values(), key=lambda one: one["dim"])
            dims = [one["dim"] for one in found]
            metric = [one[part]["hr@10"] for one in found]
            axes.plot(dims, [m["value"] for m in metric], marker="o", label=CONTESTANTS[name].title)
            axes.fill_between(
                dims, [m["low"] for m in metric], [m["high"] for m in metric], alpha=0.08
            )
        axes.set(xlabel="length of a user's vector", ylabel="HR@10", title=f"ranking {title}")
        axes.set_xscale("log", base=2)
        axes.set_xticks(dims, [str(d) for d in dims])
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    typer.run(main)
