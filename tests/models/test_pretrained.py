"""The models that come with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from semalign.errors import SemalignError
from semalign.models import pretrained

LIMIT = 9 * 2**20  # bytes of a shipped file


def test_shipped_models_go_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shipped = {"default": tmp_path / "default.safetensors", "small": tmp_path / "small.safetensors"}
    monkeypatch.setattr(pretrained, "available", lambda: shipped)
    assert pretrained.resolve("small") == shipped["small"]
    assert pretrained.resolve("default") == shipped["default"]
    assert pretrained.resolve("sub/default") == Path("sub/default")
    assert pretrained.resolve("mine.safetensors") == Path("mine.safetensors")
    assert pretrained.resolve(Path("small")) == Path("small")
    with pytest.raises(SemalignError, match="did you mean 'small'"):
        pretrained.resolve("smal")
    with pytest.raises(SemalignError, match="did you mean 'small'"):
        pretrained.card("smal")
    monkeypatch.setattr(pretrained, "available", dict)
    with pytest.raises(SemalignError, match="none came with this installation"):
        pretrained.load("default")


def test_default_is_one_of_the_shipped_models() -> None:
    assert pretrained.resolve("default") == pretrained.available()[pretrained.DEFAULT]


@pytest.mark.parametrize("name", pretrained.available())
def test_a_shipped_model_is_small_and_says_its_terms_and_its_figures(name: str) -> None:
    model, card = pretrained.load(name), pretrained.card(name)
    assert model.scheme.count == 68 and not model.network.training
    assert pretrained.resolve(name).stat().st_size <= LIMIT
    assert model.about["terms"] and f"# {name}\n" in card
    assert "Terms" in card and "nme_interpupil" in card
