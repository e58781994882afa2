"""Every model of the table passes the contract; a new one adds its class here."""

from __future__ import annotations

from contract import ModelContract, RatingContract

from tastemap.retrieval.table import _MODELS


class TestPopularity(ModelContract):
    model = "popularity"
    personal = False
    ndcg_band = (0.12, 0.17)


class TestItemKNN(ModelContract):
    model = "itemknn"
    ndcg_band = (0.22, 0.31)


class TestEASE(ModelContract):
    model = "ease"
    small_settings = {"regularization": 1.0}
    ndcg_band = (0.30, 0.36)


class TestALS(ModelContract):
    model = "als"
    small_settings = {"factors": 8}
    ndcg_band = (0.30, 0.36)


class TestIALSPP(ModelContract):
    model = "ialspp"
    settings = {"factors": 64}
    small_settings = {"factors": 8}
    ndcg_band = (0.30, 0.36)


class TestSLIM(ModelContract):
    model = "slim"
    small_settings = {"l1": 0.1, "l2": 1.0}
    ndcg_band = (0.30, 0.36)


class TestRP3Beta(ModelContract):
    model = "rp3beta"
    ndcg_band = (0.27, 0.33)


class TestUserKNN(ModelContract):
    model = "userknn"
    ndcg_band = (0.27, 0.33)


class TestBlend(ModelContract):
    model = "blend"
    settings = {"models": "0.6 ialspp(factors=64) + 0.4 ease"}
    small_settings = {"models": "ialspp(factors=8) + ease(regularization=1)"}
    ndcg_band = (0.30, 0.36)


class TestContextPreFilter(ModelContract):
    model = "contextprefilter"
    settings = {"model": "als(factors=64)"}
    small_settings = {"model": "als(factors=8)"}
    ndcg_band = (0.30, 0.36)


class TestContextPostFilter(ModelContract):
    model = "contextpostfilter"
    settings = {"model": "als(factors=64)"}
    small_settings = {"model": "als(factors=8)"}
    ndcg_band = (0.30, 0.36)


class TestMatrixFactorization(ModelContract):
    model = "matrixfactorization"
    settings = {"loss": "bpr"}
    small_settings = {"factors": 8}
    ndcg_band = (0.20, 0.33)


class TestMatrixFactorizationSoftmax(ModelContract):
    model = "matrixfactorization"
    settings = {"loss": "softmax"}
    small_settings = {"factors": 8, "epochs": 200, "batch_size": 4}
    ndcg_band = (0.29, 0.34)


class TestMultDAE(ModelContract):
    model = "multdae"
    small_settings = {"hidden_dim": 32, "latent_dim": 16, "epochs": 120, "learning_rate": 0.01}
    ndcg_band = (0.28, 0.36)


class TestMultVAE(ModelContract):
    model = "multvae"
    small_settings = {"hidden_dim": 32, "latent_dim": 16, "epochs": 120, "learning_rate": 0.01}
    ndcg_band = (0.28, 0.36)


class TestRecVAE(ModelContract):
    model = "recvae"
    settings = {"epochs": 20, "learning_rate": 0.002}
    small_settings = {"hidden_dim": 32, "latent_dim": 16, "epochs": 45, "learning_rate": 0.01}
    ndcg_band = (0.28, 0.36)


class TestMatrixFactorizationOfRatings(RatingContract):
    model = "matrixfactorization"
    settings = {"loss": "mse"}
    small_settings = {"factors": 8, "epochs": 60}
    rmse_band = (0.88, 0.92)


class TestFunkSVD(RatingContract):
    model = "funksvd"
    settings = {"factors": 20}
    small_settings = {"factors": 6, "epochs": 200, "learning_rate": 0.05, "regularization": 0.1}
    rmse_band = (0.88, 0.93)


class TestSVDPP(RatingContract):
    model = "svdpp"
    settings = {"factors": 64}
    small_settings = {"factors": 8, "epochs": 100, "learning_rate": 0.05}
    rmse_band = (0.88, 0.91)


class TestTimeSVDPP(RatingContract):
    model = "timesvdpp"
    settings = {"factors": 64}
    small_settings = {"factors": 8, "epochs": 100, "learning_rate": 0.05}
    rmse_band = (0.88, 0.91)


class TestNonNegativeMF(RatingContract):
    model = "nonnegativemf"
    small_settings = {"factors": 8}
    rmse_band = (0.89, 0.94)


class TestExplicitALS(RatingContract):
    model = "explicitals"
    settings = {"factors": 32}
    small_settings = {"factors": 8}
    rmse_band = (0.89, 0.93)


class TestAutoRec(RatingContract):
    model = "autorec"
    settings = {"hidden_units": 100, "epochs": 15}
    small_settings = {
        "hidden_units": 16,
        "regularization": 0.1,
        "learning_rate": 0.02,
        "batch_size": 8,
    }
    rmse_band = (0.86, 0.91)


class TestAutoRecOfUsers(RatingContract):
    model = "autorec"
    settings = {"based_on": "user", "hidden_units": 100, "learning_rate": 0.003}
    small_settings = {
        "hidden_units": 16,
        "regularization": 0.1,
        "learning_rate": 0.02,
        "batch_size": 8,
    }
    rmse_band = (0.92, 0.97)


class TestBPR(ModelContract):
    model = "bpr"
    small_settings = {"factors": 8}
    ndcg_band = (0.29, 0.34)


class TestWARP(ModelContract):
    model = "warp"
    small_settings = {"factors": 8}
    ndcg_band = (0.29, 0.34)


class TestLogisticMF(ModelContract):
    model = "logisticmf"
    small_settings = {"factors": 8, "regularization": 1.0}
    ndcg_band = (0.28, 0.34)


class TestGMF(ModelContract):
    model = "gmf"
    settings = {"factors": 16, "epochs": 12, "learning_rate": 0.01, "batch_size": 512}
    small_settings = {"factors": 8, "epochs": 30, "batch_size": 16}
    ndcg_band = (0.20, 0.32)


class TestNCFMLP(ModelContract):
    model = "ncfmlp"
    settings = {"factors": 8, "epochs": 8, "learning_rate": 0.005, "batch_size": 512}
    small_settings = {"factors": 8, "epochs": 40, "learning_rate": 0.01, "batch_size": 16}
    ndcg_band = (0.20, 0.32)


class TestNeuMF(ModelContract):
    model = "neumf"
    settings = {
        "factors": 8, "epochs": 2, "pretraining_epochs": 8,
        "learning_rate": 0.015, "batch_size": 512,
    }  # fmt: skip
    small_settings = {"factors": 4, "epochs": 5, "pretraining_epochs": 60, "batch_size": 16}
    ndcg_band = (0.20, 0.32)


class TestSASRec(ModelContract):
    model = "sasrec"
    settings = {"epochs": 4, "max_length": 50, "dim": 32, "batch_size": 1024, "min_steps": 1}
    small_settings = {"dim": 16, "epochs": 40, "batch_size": 28, "learning_rate": 0.005}
    # Of one that is asked what comes next, and judged by what was left out at random.
    ndcg_band = (0.13, 0.21)


class TestMemoryNetwork(ModelContract):
    model = "memorynetwork"
    settings = {"epochs": 4, "dim": 32, "negatives": 64, "learning_rate": 0.01}
    small_settings = {"dim": 16, "epochs": 40, "batch_size": 28, "negatives": 20}
    ndcg_band = (0.12, 0.18)


class TestMemoryNetworkOfFeatures(ModelContract):
    model = "memorynetwork"
    settings = {"level": "feature", **TestMemoryNetwork.settings}
    small_settings = TestMemoryNetwork.small_settings
    ndcg_band = (0.10, 0.16)


class TestHSTU(ModelContract):
    model = "hstu"
    settings = {"epochs": 4, "max_length": 50, "dim": 32, "batch_size": 1024, "min_steps": 1}
    small_settings = {"dim": 16, "epochs": 40, "batch_size": 28, "learning_rate": 0.005}
    ndcg_band = (0.13, 0.21)


class TestGRU4Rec(ModelContract):
    model = "gru4rec"
    settings = {"epochs": 5, "max_length": 50, "dim": 32, "batch_size": 1024}
    small_settings = {"dim": 16, "epochs": 60, "batch_size": 28, "embedding_dropout": 0.5}
    # Of one that is asked what comes next, and judged by what was left out at random.
    ndcg_band = (0.12, 0.19)


class TestBERT4Rec(ModelContract):
    model = "bert4rec"
    settings = {"epochs": 6, "max_length": 50, "dim": 32, "batch_size": 1024, "min_steps": 1}
    small_settings = {"dim": 16, "epochs": 80, "batch_size": 28, "learning_rate": 0.005}
    # As of SASRec.
    ndcg_band = (0.13, 0.21)


class TestTwoTower(ModelContract):
    model = "twotower"
    settings = {"epochs": 3}
    small_settings = {
        "dim": 16,
        "hidden": 32,
        "epochs": 30,
        "batch_size": 28,
        "learning_rate": 0.01,
    }
    # As for SASRec.
    ndcg_band = (0.15, 0.21)


class TestYouTubeDNN(ModelContract):
    model = "youtubednn"
    settings = {"epochs": 4}
    small_settings = {
        "dim": 16, "layers": 1, "epochs": 60, "batch_size": 28, "learning_rate": 0.005,
    }  # fmt: skip
    ndcg_band = (0.15, 0.23)


class TestCML(ModelContract):
    model = "cml"
    settings = {"epochs": 6, "factors": 64}
    small_settings = {"factors": 8, "epochs": 60, "batch_size": 32, "negatives": 5}
    ndcg_band = (0.25, 0.30)


class TestUser2Vec(ModelContract):
    model = "user2vec"
    settings = {"epochs": 15}
    small_settings = {"factors": 8, "epochs": 40, "batch_size": 4, "margin": 2.0}
    ndcg_band = (0.25, 0.31)


class TestIRGAN(ModelContract):
    model = "irgan"
    settings = {"pretraining_epochs": 15, "epochs": 1}
    small_settings = {
        "factors": 8,
        "pretraining_epochs": 100,
        "pretraining_rate": 0.02,
        "epochs": 5,
        "batch_size": 32,
    }
    ndcg_band = (0.28, 0.33)


class TestCFGAN(ModelContract):
    model = "cfgan"
    settings = {"hidden": 64, "discriminator_hidden": 32, "epochs": 15, "learning_rate": 0.001}
    small_settings = {
        "hidden": 32,
        "discriminator_hidden": 16,
        "epochs": 150,
        "batch_size": 8,
        "learning_rate": 0.003,
        "regularization": 0.01,
    }
    ndcg_band = (0.18, 0.26)


class TestItem2Vec(ModelContract):
    model = "item2vec"
    small_settings = {"factors": 16, "epochs": 60, "learning_rate": 0.1, "subsample": 0.0}
    ndcg_band = (0.125, 0.17)


def test_no_model_goes_untested() -> None:
    contracts = [*ModelContract.__subclasses__(), *RatingContract.__subclasses__()]
    tested = {contract.model for contract in contracts if contract is not RatingContract}
    assert tested == set(_MODELS)
