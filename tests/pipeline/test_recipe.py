"""Recipes: TOML in and out, and clear words about mistakes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from semalign.errors import SemalignError
from semalign.models.hourglass import HourglassSettings
from semalign.models.mobile import MobileSettings
from semalign.pipeline import Recipe, dump_recipe, load_recipe, recipe_text, shipped_recipes
from semalign.pipeline.recipe import parse_recipe


def test_the_shipped_recipes_are_there():
    assert set(shipped_recipes()) >= {"demo", "300w-compact", "300w-paper"}
    for name in shipped_recipes():
        assert load_recipe(name).name == name and load_recipe(name).description


@pytest.mark.parametrize("name", ["demo", "300w-compact", "300w-paper"])
def test_a_recipe_survives_being_written_and_read(name):
    recipe = load_recipe(name)
    assert parse_recipe(dump_recipe(recipe), "text") == recipe
    awkward = replace(recipe, description='quotes " and \\ and\nnew lines\t\x7f é')
    assert parse_recipe(dump_recipe(awkward), "text") == awkward


def test_the_paper_recipe_is_the_papers():
    recipe = load_recipe("300w-paper")
    network, start, alignment, search = recipe.network, recipe.start, recipe.alignment, recipe.search
    assert (network.stacks, network.input_size, network.heatmap_size) == (4, 256, 256)
    assert (start.optimizer, start.batch_size, start.learning_rate) == ("rmsprop", 10, 2.5e-4)
    assert start.learning_rate / start.divisors[0] == pytest.approx(2.5e-6) and start.milestones == (120,)
    assert (alignment.learning_rate, alignment.milestones, alignment.divisors) == (2.5e-6, (30, 60, 90), (5, 2, 2))
    assert (search.region, search.template, search.likelihood_weight, search.precision) == (17, 19, 0.1, "integer")
    assert recipe.heatmap.sigma == 3.0 and recipe.alternation.searches == 10 and recipe.alternation.update


def test_overrides_are_toml_and_bare_words_are_strings():
    recipe = load_recipe("demo", ["start.epochs=3", "data.test=['afw']", "search.precision=integer", "name = my run"])
    assert recipe.start.epochs == 3 and recipe.data.test == ("afw",)
    assert recipe.search.precision == "integer" and recipe.name == "my run"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sead = 1", "'sead'.*'seed'"),
        ("[search]\nlikelyhood_weight = 1", r"'likelyhood_weight'.*\[search\].*'likelihood_weight'"),
        ("[synthesis.noise]\noccludet = 1.0", r"'occludet'.*\[synthesis.noise\].*'occluded'"),
        ("[start]\nepochs = 'many'", "start.epochs.*'many'"),
        ("[network]\nblock = 'big'", "network.block"),
        ("[network]\ninput_size = 100", "multiple of"),
        ("[network]\nstackz = 1", r"'stackz' in \[network\], of kind hourglass, of.*'stacks'"),
        ("[network]\nkind = 'hourglas'", r"kind of network 'hourglas' in \[network\].*'hourglass'"),
        ("[network]\nkind = 'resnet'", "'resnet'.*known are cascade, hourglass, mesh, mobile"),
        ("[network]\nkind = 3", "kind of network '3'"),
        ("[network]\nkind = 'mobile'\nstacks = 1", r"'stacks' in \[network\], of kind mobile, of"),
        ("[network]\nkind = 'mobile'\nwidth = 'wide'", r"mine\.toml: network\.width.*'wide'"),
        ("[network]\nkind = 'mobile'\nheatmap_size = 48", "mine.toml: network: .*heatmap_size must be"),
        ("network = 3", "mine.toml: network"),
        ("[search]\nlikelihood_weight = -1.0", "must not be negative"),
        ("seed = ", "not valid TOML"),
    ],
)
def test_mistakes_are_named(text, words):
    with pytest.raises(SemalignError, match=words) as caught:
        parse_recipe(text, "mine.toml")
    assert "mine.toml" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("override", ["epochs", "=3", "seed.inner=3", "start.epoch=3"])
def test_wrong_overrides_are_named(override):
    with pytest.raises(SemalignError):
        load_recipe("demo", [override])


def test_unknown_and_unreadable_recipes_are_named(tmp_path):
    with pytest.raises(SemalignError, match=r"'dmo'.*'demo'"):
        load_recipe("dmo")
    with pytest.raises(SemalignError, match=r"absent\.toml"):
        load_recipe(tmp_path / "absent.toml")
    path = tmp_path / "own.toml"
    path.write_text(recipe_text("demo"), encoding="utf-8")
    assert load_recipe(path) == replace(load_recipe("demo"), name="own")


def test_a_network_may_be_of_another_kind_and_is_a_hourglass_where_none_is_named():
    for text, settings in (
        ("[network]\nstacks = 1", HourglassSettings(stacks=1)),
        ("[network]\nkind = 'hourglass'\nstacks = 1", HourglassSettings(stacks=1)),
        ("[network]\nkind = 'mobile'\nwidth = 32", MobileSettings(width=32)),
        ("seed = 1", HourglassSettings()),
    ):
        recipe = parse_recipe(text, "text")
        assert recipe.network == settings and type(recipe.network) is type(settings)
        assert f'kind = "{settings.kind}"' in dump_recipe(recipe)
        assert parse_recipe(dump_recipe(recipe), "text") == recipe
    assert load_recipe("demo", ["network={kind='mobile'}"]).network == MobileSettings()


def test_the_default_recipe_is_complete():
    assert parse_recipe(dump_recipe(Recipe()), "text") == Recipe()


OLD = 'name = "old"\n[dialect]\nkind = "linear"\nmodes = [0, 7]\n[readout]\nviews = 2\n[alternation]\nviews = 3\nmodes = 5\n'


def test_a_name_of_version_0_1_is_refused_and_the_new_one_is_named():
    with pytest.raises(
        SemalignError, match=r"dialect is label_adaptation now.*readout\.views is decoding\.tta now.*rename"
    ):
        parse_recipe(OLD, "old.toml")
    with pytest.raises(SemalignError, match=r"alternation\.modes is alternation\.adaptation_components now"):
        load_recipe("demo", ["alternation.modes=4"])


def test_the_recipe_of_an_old_model_file_is_read_by_its_old_names():
    recipe = parse_recipe(OLD, "a model's own recipe", upgrade=True)
    assert recipe.label_adaptation.components == (0, 7) and recipe.decoding.tta == 2
    assert recipe.alternation.tta == 3 and recipe.alternation.adaptation_components == 5
    assert parse_recipe(dump_recipe(recipe), "new", upgrade=True) == recipe
