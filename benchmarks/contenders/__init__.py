"""Who takes part: each with the script that runs it and the hyper-parameters it runs with."""

from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.contenders.protocol import LISTS, TOTALS


@dataclass(frozen=True)
class Contender:
    """One model of one package.

    `script` lies in the folder of `package`. `tuned` goes over `parameters` on the data set of that
    name; `note` says where the hyper-parameters come from.
    """

    name: str
    title: str
    package: str
    script: str
    parameters: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    tuned: dict[str, dict[str, Any]] = field(default_factory=dict)

    def settings(self, dataset: str) -> dict[str, Any]:
        """The hyper-parameters on a data set."""
        return {**self.parameters, **self.tuned.get(dataset, {})}

    @property
    def ours(self) -> bool:
        return self.name.startswith("tastemap-")


def _ours(name: str, title: str, script: str, model: str, **parameters: Any) -> Contender:
    note = ", ".join(f"{key}={value}" for key, value in parameters.items())
    return Contender(
        f"tastemap-{name}", f"tastemap {title}", "tastemap", script, {"model": model, **parameters},
        f"defaults, {note}" if note else "defaults",
    )  # fmt: skip


def _searched(trials_100k: int, trials_1m: int) -> str:
    return (
        f"random search on a validation part, {trials_100k} trials on movielens-100k and "
        f"{trials_1m} on movielens-1m"
    )


TOP_N = (
    _ours("popularity", "Popularity", "topn.py", "Popularity"),
    _ours("item-knn", "ItemKNN", "topn.py", "ItemKNN"),
    _ours("ease", "EASE", "topn.py", "EASE"),
    _ours("slim", "SLIM", "topn.py", "SLIM"),
    _ours("rp3-beta", "RP3Beta", "topn.py", "RP3Beta"),
    _ours("user-knn", "UserKNN", "topn.py", "UserKNN"),
    _ours("als", "ALS", "topn.py", "ALS", factors=128),
    _ours("ials-pp", "IALSPP", "topn.py", "IALSPP"),
    _ours("blend", "Blend", "topn.py", "Blend"),
    _ours(
        "blend-recvae", "Blend with RecVAE", "topn.py", "Blend",
        models="0.4 ialspp + 0.2 ease + 0.4 recvae",
    ),
    _ours("mf-bpr", "MatrixFactorization (BPR)", "topn.py", "MatrixFactorization", loss="bpr"),
    _ours("bpr", "BPR", "topn.py", "BPR"),
    _ours("warp", "WARP", "topn.py", "WARP"),
    _ours("logistic-mf", "LogisticMF", "topn.py", "LogisticMF"),
    _ours("gmf", "GMF", "topn.py", "GMF"),
    _ours("ncf-mlp", "NCFMLP", "topn.py", "NCFMLP"),
    _ours("neumf", "NeuMF", "topn.py", "NeuMF"),
    _ours("mult-dae", "MultDAE", "topn.py", "MultDAE"),
    _ours("mult-vae", "MultVAE", "topn.py", "MultVAE"),
    _ours("rec-vae", "RecVAE", "topn.py", "RecVAE"),
    _ours("cml", "CML", "topn.py", "CML"),
    _ours("user2vec", "User2Vec", "topn.py", "User2Vec"),
    _ours("irgan", "IRGAN", "topn.py", "IRGAN"),
    _ours("cfgan", "CFGAN", "topn.py", "CFGAN"),
    Contender(
        "implicit-als", "implicit ALS", "implicit", "als.py",
        {"factors": 64, "regularization": 10.0, "alpha": 1.0, "iterations": 15},
        "settings of an earlier comparison",
    ),
    # Vectors of 64 numbers for all, so that what differs is how they are learned.
    Contender(
        "cornac-bpr", "Cornac BPR", "cornac", "bpr.py",
        {"k": 64, "max_iter": 250, "learning_rate": 0.05, "lambda_reg": 0.01},
        "chosen by hand, without a search",
    ),
    Contender(
        "lightfm-warp", "LightFM WARP", "lightfm", "warp.py",
        {"no_components": 64, "epochs": 30, "learning_rate": 0.05},
        "defaults of the loss, 30 epochs",
    ),
    Contender(
        "implicit-bpr", "implicit BPR", "implicit", "bpr.py",
        {"factors": 64, "iterations": 100, "learning_rate": 0.01, "regularization": 0.01},
        "defaults, with 64 factors",
    ),
    Contender(
        "irspack-ials", "irspack iALS", "irspack", "topn.py", {"model": "IALSRecommender"},
        _searched(60, 14),
        {
            "movielens-100k": {"n_components": 128, "alpha0": 0.109, "reg": 0.0255},
            "movielens-1m": {"n_components": 256, "alpha0": 0.131, "reg": 0.0128},
        },
    ),
    Contender(
        "irspack-ials-same", "irspack iALS, as tastemap's", "irspack", "topn.py",
        {"model": "IALSRecommender", "n_components": 128, "alpha0": 0.1, "reg": 0.35, "nu": 0.5},
        "the defaults of tastemap's ALS, which minimises the same",
    ),
    Contender(
        "irspack-slim", "irspack SLIM", "irspack", "topn.py", {"model": "SLIMRecommender"},
        _searched(24, 8),
        {
            "movielens-100k": {"alpha": 0.124, "l1_ratio": 0.00175},
            "movielens-1m": {"alpha": 0.0406, "l1_ratio": 0.00315},
        },
    ),
    Contender(
        "recbole-mult-vae", "RecBole MultVAE", "recbole", "multvae.py", {}, "defaults, 300 epochs",
    ),
    Contender(
        "rectools-ease", "RecTools EASE", "rectools", "ease.py", {},
        # On one split of movielens-1m, at equal regularisation, our own weights transposed give
        # RecTools' figures to the fourth digit.
        f"{_searched(10, 4)}; version 0.19.0 ranks by the transposed weights",
        {
            "movielens-100k": {"regularization": 396.0},
            "movielens-1m": {"regularization": 1320.0},
        },
    ),
)  # fmt: skip

RATINGS = (
    _ours("mf", "MatrixFactorization", "ratings.py", "MatrixFactorization"),
    _ours("funk-svd", "FunkSVD", "ratings.py", "FunkSVD"),
    _ours("svdpp", "SVDPP", "ratings.py", "SVDPP"),
    _ours("time-svdpp", "TimeSVDPP", "ratings.py", "TimeSVDPP"),
    _ours("nmf", "NonNegativeMF", "ratings.py", "NonNegativeMF"),
    _ours("explicit-als", "ExplicitALS", "ratings.py", "ExplicitALS"),
    _ours("autorec", "AutoRec", "ratings.py", "AutoRec"),
    Contender(
        "cornac-mf", "Cornac MF", "cornac", "mf.py",
        {"k": 128, "learning_rate": 0.00762, "lambda_reg": 0.0608, "max_iter": 60},
        "random search on a validation part of movielens-100k, 25 trials; taken over for "
        "movielens-1m, which had no search of its own",
    ),
    Contender(
        "cornac-mf-default", "Cornac MF, as it comes", "cornac", "mf.py",
        {"k": 10, "learning_rate": 0.01, "lambda_reg": 0.02, "max_iter": 20}, "defaults",
    ),
    Contender(
        "surprise-svd", "Surprise SVD", "surprise", "svd.py", {},
        "random search on a validation part of movielens-100k, 12 trials; defaults on "
        "movielens-1m, which had no search of its own",
        {
            "movielens-100k": {
                "n_factors": 200, "lr_all": 0.00647, "reg_all": 0.0835, "n_epochs": 60,
            },
        },
    ),
    Contender(
        "surprise-svdpp", "Surprise SVD++", "surprise", "svd.py", {"algorithm": "SVDpp"},
        "defaults",
    ),
    Contender(
        "surprise-nmf", "Surprise NMF", "surprise", "svd.py", {"algorithm": "NMF"}, "defaults",
    ),
)  # fmt: skip

_PLAIN_BODY: dict[str, Any] = {
    "block": "pre_norm", "feed_forward": "relu", "widening": 1, "positions": "learned",
}  # fmt: skip
_PLAIN_SASREC = {**_PLAIN_BODY, "item2vec_epochs": 0}
SEQUENCES = (
    _ours("popularity-next", "Popularity", "sequences.py", "Popularity"),
    _ours("item2vec", "Item2Vec", "sequences.py", "Item2Vec"),
    _ours("gru4rec", "GRU4Rec", "sequences.py", "GRU4Rec"),
    _ours("sasrec", "SASRec", "sequences.py", "SASRec"),
    _ours("sasrec-short", "SASRec, 4 passes", "sequences.py", "SASRec", epochs=4),
    _ours("sasrec-bfloat16", "SASRec in bfloat16", "sequences_bfloat16.py", "SASRec"),
    _ours(
        "sasrec-plain", "SASRec, plain body and random start", "sequences.py", "SASRec",
        **_PLAIN_SASREC,
    ),
    _ours("sasrec-plain-body", "SASRec, plain body", "sequences.py", "SASRec", **_PLAIN_BODY),
    # It learns more slowly from its random start.
    _ours(
        "sasrec-plain-long", "SASRec, plain body and random start, 40 passes", "sequences.py",
        "SASRec", epochs=40, **_PLAIN_SASREC,
    ),
    _ours(
        "sasrec-plain-longer", "SASRec, plain body and random start, 64 passes", "sequences.py",
        "SASRec", epochs=64, **_PLAIN_SASREC,
    ),
    _ours("bert4rec", "BERT4Rec", "sequences.py", "BERT4Rec"),
    _ours("hstu", "HSTU", "sequences.py", "HSTU"),
    _ours("memory-network", "MemoryNetwork", "sequences.py", "MemoryNetwork"),
    _ours("youtube-dnn", "YouTubeDNN", "sequences.py", "YouTubeDNN"),
    _ours("two-tower", "TwoTower", "sequences.py", "TwoTower"),
    # The same model, trained and asked as ours.
    Contender(
        "gensim-word2vec", "gensim Word2Vec", "gensim", "word2vec.py",
        {
            "vector_size": 128, "window": 5, "negative": 5, "sample": 1e-3, "alpha": 0.025,
            "epochs": 10, "half_life": 1.5, "popularity_weight": 0.5,
        },
        "the defaults of tastemap's Item2Vec, and its rule of recommending",
    ),
    Contender(
        "rectools-sasrec", "RecTools SASRec", "rectools", "sequences.py",
        # As long and as deep as ours.
        {"model": "SASRecModel", "n_factors": 64, "n_heads": 2, "session_max_len": 200},
        "defaults, with our sizes (64 dimensions, 2 heads, 200 events); epochs: 20 on "
        "movielens-100k, 12 on movielens-1m, 10 on amazon-beauty",
        {
            "movielens-100k": {"epochs": 20},
            "movielens-1m": {"epochs": 12},
            "amazon-beauty": {"epochs": 10},
        },
    ),
    Contender(
        "recbole-sasrec", "RecBole SASRec", "recbole", "sequences.py",
        {"model": "SASRec", "epochs": 9},
        "defaults but for the number of epochs",
    ),
)  # fmt: skip

# Of the same length as implicit's, for the comparison of speed.
_ALS_64 = _ours("als-64", "ALS", "topn.py", "ALS", factors=64)
# The trees' settings are searched among these, by the log-loss of the validation rows, in each run.
_GRID = {"depth": [4, 6, 8], "learning_rate": [0.03, 0.1]}


def _refitted(contenders: tuple[Contender, ...], *packages: str) -> tuple[Contender, ...]:
    """Those of some packages, which learn once more, from the validation rows too."""
    return tuple(
        replace(
            each,
            name=f"{each.name}-refit",
            title=f"{each.title}, refitted",
            parameters={**each.parameters, "refit": True},
            note=f"{each.note}; refit=True",
        )
        for each in contenders
        if each.package in packages
    )


_RANKING = (
    _ours("fm", "FM", "ranking.py", "FM"),
    _ours("ffm", "FFM", "ranking.py", "FFM"),
    _ours("wide-deep", "WideDeep", "ranking.py", "WideDeep"),
    _ours("deep-fm", "DeepFM", "ranking.py", "DeepFM"),
    # As large as the others' is, for the rows that each learns from in a second.
    _ours(
        "deep-fm-16", "DeepFM, as large as the others'", "ranking.py", "DeepFM",
        dim=16, numbers="scaled",
    ),
    _ours("dcn-v2", "DCNv2", "ranking.py", "DCNv2"),
    _ours("final-mlp", "FinalMLP", "ranking.py", "FinalMLP"),
    _ours("gdcn", "GDCN", "ranking.py", "GDCN"),
    _ours("neumf-ranker", "NeuMFRanker", "ranking.py", "NeuMFRanker"),
    Contender(
        "catboost", "CatBoost", "tastemap", "ranking.py",
        {"model": "CatBoostRanker", "grid": _GRID},
        "1,000 trees, early stopping; depth and rate chosen on the validation part",
    ),
    Contender(
        "lightgbm", "LightGBM", "tastemap", "ranking.py",
        {"model": "LightGBMRanker", "grid": _GRID},
        "1,000 trees, early stopping; depth and rate chosen on the validation part",
    ),
    Contender(
        "deepctr-deep-fm", "DeepCTR-Torch DeepFM", "deepctr", "deep_fm.py",
        {"embedding": 16, "hidden": [128, 128], "dropout": 0.2, "batch_size": 1024, "epochs": 10},
        "sizes as ours, its regularisation; the epoch is chosen on the validation part",
    ),
    Contender(
        "rechub-deep-fm", "torch-rechub DeepFM", "rechub", "deep_fm.py",
        {"embedding": 16, "hidden": [128, 128], "dropout": 0.2, "batch_size": 1024, "epochs": 30},
        "sizes as ours, its rate and decay; the epoch is chosen on the validation part",
    ),
)  # fmt: skip

RANKING = (*_RANKING, *_refitted(_RANKING, "tastemap", "rechub"))

# With totals a setting of CatBoost takes 90 seconds of a processor on movielens-100k, so that three
# seeds of all of `_GRID` would take half an hour, for CatBoost alone.
_GRID_WITH_HISTORY = {"depth": [6], "learning_rate": [0.05, 0.1]}
# The same history for all: networks take it as the lists that it is, and trees, which cannot, as
# totals too.
_TREES_WITH_HISTORY = (
    "1,000 trees, early stopping; the rate chosen on the validation part; the history as totals "
    "and as lists"
)
_SEQUENCES = {name: "sequence of item" for name in LISTS}
# Which members blends have was chosen on parts of the training rows.
_DEEP_FM = f"deepfm(members=4, without={'|'.join(TOTALS)})"
_OF_NETWORKS = (
    f"{_DEEP_FM} + stagedfm(regularization=0.03, without=zip_code) + "
    "dcnv2(members=2, without=user|item|zip_code)"
)
_WITH_TREES = f"{_DEEP_FM} + catboost(learning_rate=0.1)"
# Where most users are new, all do better without users, films and postal codes, by the validation
# rows.
_IDS = ["user", "item", "zip_code"]
_NEWCOMERS = f"widedeep(without={'|'.join(_IDS)}) + catboost(without={'|'.join(_IDS)})"
_RANKING_WITH_HISTORY = (
    *(
        _ours(f"{name}-history", model, "ranking.py", model, without=list(TOTALS))
        for name, model in (("fm", "FM"), ("deep-fm", "DeepFM"), ("dcn-v2", "DCNv2"))
    ),
    Contender(
        "tastemap-deep-fm-members-history", "tastemap DeepFM, four members", "tastemap",
        "ranking.py", {"model": "DeepFM", "members": 4, "without": list(TOTALS)},
        "defaults, members=4",
    ),
    # Chosen on a part of the training rows: nearly as many postal codes as users blur the pairs.
    _ours("staged-fm-history", "StagedFM", "ranking.py", "StagedFM", without=["zip_code"]),
    Contender(
        "tastemap-blend-networks-history", "tastemap DeepFM + StagedFM + DCNv2 without ids",
        "tastemap", "ranking.py", {"model": "BlendRanker", "models": _OF_NETWORKS},
        "the mean of their log-odds; DeepFM sees the lists, StagedFM these and the totals, DCNv2 "
        "both, but neither user nor film",
    ),
    Contender(
        "tastemap-blend-trees-history", "tastemap DeepFM + CatBoost", "tastemap", "ranking.py",
        {"model": "BlendRanker", "models": _WITH_TREES},
        "the mean of their log-odds; DeepFM sees the lists, CatBoost these and the totals",
    ),
    Contender(
        "tastemap-din-history", "tastemap DIN", "tastemap", "ranking.py",
        {"model": "DIN", "without": list(TOTALS), "kinds": _SEQUENCES},
        "defaults; the lists as sequences of films",
    ),
    Contender(
        "tastemap-dcn-v2-attention-history", "tastemap DCNv2", "tastemap", "ranking.py",
        {"model": "DCNv2", "history": "dot", "without": list(TOTALS), "kinds": _SEQUENCES},
        "defaults, history=dot; the lists as sequences of films",
    ),
    Contender(
        "catboost-history", "CatBoost", "tastemap", "ranking.py",
        {"model": "CatBoostRanker", "grid": _GRID_WITH_HISTORY}, _TREES_WITH_HISTORY,
    ),
    Contender(
        "lightgbm-history", "LightGBM", "tastemap", "ranking.py",
        {"model": "LightGBMRanker", "grid": _GRID_WITH_HISTORY}, _TREES_WITH_HISTORY,
    ),
    _ours("wide-deep-totals", "WideDeep without ids", "ranking.py", "WideDeep", without=_IDS),
    Contender(
        "tastemap-blend-totals", "tastemap WideDeep + CatBoost without ids", "tastemap",
        "ranking.py", {"model": "BlendRanker", "models": _NEWCOMERS},
        "the mean of their log-odds; both see the totals and the lists",
    ),
    Contender(
        "catboost-totals", "CatBoost without ids", "tastemap", "ranking.py",
        {"model": "CatBoostRanker", "grid": _GRID_WITH_HISTORY, "without": _IDS},
        _TREES_WITH_HISTORY,
    ),
    Contender(
        "lightgbm-totals", "LightGBM without ids", "tastemap", "ranking.py",
        {"model": "LightGBMRanker", "grid": _GRID_WITH_HISTORY, "without": _IDS},
        _TREES_WITH_HISTORY,
    ),
    Contender(
        "deepctr-deep-fm-history", "DeepCTR-Torch DeepFM", "deepctr", "deep_fm.py",
        {
            "embedding": 16, "hidden": [128, 128], "dropout": 0.2, "batch_size": 1024, "epochs": 10,
            "without": list(TOTALS),
        },
        "sizes as ours, its regularisation; the epoch is chosen on the validation part",
    ),
    Contender(
        "rechub-deep-fm-history", "torch-rechub DeepFM", "rechub", "deep_fm.py",
        {
            "embedding": 16, "hidden": [128, 128], "dropout": 0.2, "batch_size": 1024, "epochs": 30,
            "without": list(TOTALS),
        },
        "sizes as ours, its rate and decay; the epoch is chosen on the validation part",
    ),
    *(
        replace(
            each,
            name=f"{each.name}-totals",
            title=f"{each.title} without ids",
            parameters={**each.parameters, "without": _IDS},
            note=f"{each.note}; it sees the totals and the lists",
        )
        for each in _RANKING
        if each.package in ("deepctr", "rechub")
    ),
)  # fmt: skip
RANKING_WITH_HISTORY = (*_RANKING_WITH_HISTORY, *_refitted(_RANKING_WITH_HISTORY, "tastemap"))

_RACERS = (
    _ALS_64,
    _ours("ials-pp-64", "IALSPP", "topn.py", "IALSPP", factors=64),
    # Regularised as irspack's of the same length.
    _ours(
        "ials-pp-128", "IALSPP", "topn.py", "IALSPP",
        factors=128, regularization=0.35, unobserved_weight=0.1, frequency_exponent=0.5,
    ),
    # One iteration, to compare its cost.
    _ours("ials-pp-512", "IALSPP", "topn.py", "IALSPP", factors=512, iterations=1),
    _ours("als-512", "ALS", "topn.py", "ALS", factors=512, iterations=1),
)  # fmt: skip

ALL = {
    contender.name: contender
    for contender in (
        *TOP_N,
        *RATINGS,
        *SEQUENCES,
        *RANKING,
        *RANKING_WITH_HISTORY,
        *_RACERS,
    )
}
