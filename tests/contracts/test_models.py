"""Every model of the table passes the contract; a new one adds its class here."""

from __future__ import annotations

from contract import ModelContract

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


class TestMatrixFactorization(ModelContract):
    model = "matrixfactorization"
    settings = {"loss": "bpr"}
    small_settings = {"factors": 8}
    ndcg_band = (0.20, 0.33)


def test_no_model_goes_untested() -> None:
    tested = {contract.model for contract in ModelContract.__subclasses__()}
    assert tested == set(_MODELS)
