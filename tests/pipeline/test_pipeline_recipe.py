"""Recipes of pipelines: what they say is what is made, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

import tastemap as tm
from tastemap.errors import DataError, ParameterError
from tastemap.pipeline.recipe import PipelineRecipe

TEXT = """
candidates = 50
[retrievers.ALS]
factors = 8
[retrievers.ease]
[ranker]
model = "dcnv2"
[ranker.hyperparameters]
dim = 4
[ranker.out_of_time]
horizon = 3
repeats = true
[ranker.features]
repeats = true
liking = "none"
[ranker.long_tail]
share = 0
[rules.stock]
kind = "deny"
items = ["x"]
"""


def read(text: str, tmp_path: Path) -> PipelineRecipe:
    (tmp_path / "recipe.toml").write_text(text)
    return tm.PipelineRecipe.read(tmp_path / "recipe.toml")


def test_what_it_says_is_what_is_made(tmp_path: Path) -> None:
    pipeline = read(TEXT, tmp_path).make()
    assert (pipeline.name, pipeline.candidates) == ("als+ease>dcnv2", 50)
    als, _ = pipeline.retrievers
    assert isinstance(als, tm.ALS) and als.factors == 8
    assert isinstance(pipeline.ranker, tm.DCNv2) and pipeline.ranker.dim == 4
    assert (pipeline.rows.horizon, pipeline.rows.repeats) == (3, True)
    assert (pipeline.features.repeats, pipeline.features.liking) == (True, None)
    assert pipeline.long_tail.share == 0
    assert pipeline.rules.to_tables().keys() == {"stock"}


def test_a_blend_is_one_line_of_it(tmp_path: Path) -> None:
    models = "0.7 deepfm(dim=4) + 0.3 lightgbm(without=item|history.items)"
    ranker = (
        read(
            f'model = "ease"\n[ranker]\nmodel = "blendranker"\n[ranker.hyperparameters]\n'
            f'models = "{models}"\n',
            tmp_path,
        )
        .make()
        .ranker
    )
    assert isinstance(ranker, tm.BlendRanker) and ranker.weights == [0.7, 0.3]
    assert isinstance(ranker.members[1], tm.LightGBMRanker)


def test_texts_of_a_command_line_replace_values(tmp_path: Path) -> None:
    settings = {"als": {"factors": "3"}, "dcnv2": {"dim": "2"}, "features": {"liking": "4"}}
    pipeline = read(TEXT, tmp_path).make(tm.Rules(), settings)
    assert isinstance(pipeline.retrievers[0], tm.ALS) and pipeline.retrievers[0].factors == 3
    assert isinstance(pipeline.ranker, tm.DCNv2) and pipeline.ranker.dim == 2
    assert pipeline.features.liking == 4
    assert not pipeline.rules


def test_the_recipe_of_a_model_is_one_of_a_pipeline(tmp_path: Path) -> None:
    tm.Recipe("als", {"factors": 5}, {"value": 1}).write(tmp_path / "als.toml")
    alone = tm.PipelineRecipe.read(tmp_path / "als.toml")
    ranker = read('[ranker]\nmodel = "fm"', tmp_path)
    both = PipelineRecipe.joined([alone, ranker]).make()
    assert (alone.make().name, both.name) == ("als", "als>fm")
    with pytest.raises(ParameterError, match="different names"):
        ranker.make()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("candidates = 3", 'says of which model it is. Write model = "als"'),
        ('modle = "als"', "a recipe has no 'modle'; did you mean 'model'"),
        ('model = "als"\n[retrievers.ease]', "names its models once"),
        ("[retrievers.alz]", "no model 'alz'; did you mean 'als'"),
        ("[retrievers]\nals = 3", "retrievers.als must be a table"),
        ("retrievers = 3", "retrievers must be a table"),
        ('candidates = "many"\n[retrievers.als]', "candidates must be a whole number from 1"),
        ("[retrievers.als]\n[ranker]", r"\[ranker\] says which it is"),
        ('[ranker]\nmodel = "deepfmm"', "no ranker 'deepfmm'; did you mean 'deepfm'"),
        ('[ranker]\nmodel = "fm"\n[ranker.out_of_tim]', "did you mean 'out_of_time'"),
        ('[ranker]\nmodel = "fm"\n[ranker.out_of_time]\nhorizen = 2', "did you mean 'horizon'"),
        ('[ranker]\nmodel = "fm"\nfeatures = 3', "ranker.features must be a table"),
        ('[ranker]\nmodel = "fm"\n[ranker.hyperparameters]\ndim = 0', "dim must be >= 1"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises((DataError, ParameterError), match=message) as caught:
        read(text, tmp_path)
    assert "recipe.toml" in str(caught.value)


def test_nothing_is_said_twice(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="a model is named twice in als, ease, als"):
        PipelineRecipe.joined([read(TEXT, tmp_path), PipelineRecipe({"als": {}})])
    with pytest.raises(ParameterError, match="candidates are said twice"):
        PipelineRecipe.joined([PipelineRecipe(candidates=3), PipelineRecipe(candidates=3)])
