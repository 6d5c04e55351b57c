"""How to install what an extra brings."""

import importlib.metadata
import tomllib
from pathlib import Path

import pytest

from hiddenmix.system import extras, install_extra

WRITTEN = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("extra", ["timm", "tune", "wandb", "mlflow", "slurm", "joblib", "ray"])
def test_an_extras_packages_are_named(extra: str) -> None:
    said = install_extra(extra)
    assert said.startswith("pip install '")
    for need in WRITTEN["optional-dependencies"][extra]:
        assert f"'{need.partition('>')[0]}" in said


def test_without_metadata_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extras, "requires", unknown)
    assert install_extra("tune") == 'pip install -e ".[tune]" in the folder of hiddenmix'
