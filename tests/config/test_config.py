"""Composition, schema and documentation of the configuration."""

import ast
import inspect
from dataclasses import asdict
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from hiddenmix.config import schema
from hiddenmix.config.composition import config_folder, from_hydra, from_plain, register
from hiddenmix.config.schema import (
    DATASETS,
    AdamConfig,
    CnnConfig,
    Config,
    DatasetConfig,
    ImportConfig,
    PreactResNet18Config,
    TimmConfig,
    TorchvisionConfig,
)
from hiddenmix.config.sweeps import compose_jobs, configurations
from hiddenmix.study.planning import make_plan

CONF = Path(__file__).parents[2] / "conf"


def composed(*overrides: str) -> Config:
    register()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return from_hydra(compose(config_name="config", overrides=list(overrides)))


def test_defaults_are_those_of_the_dataclasses() -> None:
    assert composed() == Config()


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_composes(name: str) -> None:
    config = composed(f"dataset={name}")
    augment = "flip_crop" if name.startswith("cifar") else "none"
    assert config.dataset == DatasetConfig(name=name, augment=augment)


@pytest.mark.parametrize(
    "node", [CnnConfig(), PreactResNet18Config(), TorchvisionConfig(), TimmConfig()]
)
def test_every_model_composes(node: object) -> None:
    config = composed(f"model={node.name}")  # type: ignore[attr-defined]
    assert config.model == node
    assert composed("optimizer=adam").optimizer == AdamConfig()


def test_an_imported_network_composes() -> None:
    target = "model.target=torchvision.models.resnet18"
    config = composed("model=import", target, "model.arguments={width: 64, more: [1, 2]}")
    assert isinstance(config.model, ImportConfig)
    assert config.model.arguments == {"width": 64, "more": [1, 2]}
    assert from_plain(asdict(config)) == config


def experiments() -> list[str]:
    return sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("name", experiments())
def test_every_experiment_composes(name: str) -> None:
    config = composed(f"experiment={name}")
    # The other reading of the triplet is part of its study.
    assert config.study == name.removesuffix("_originals")
    assert config.evaluation == "full"


@pytest.mark.parametrize("name", ["paper", "paper_small"])
def test_the_paper_is_150_networks(name: str) -> None:
    plan = make_plan((job, "") for job in configurations([f"experiment={name}"]))
    assert len(plan.requested) == 25
    assert len(plan.cells) == 150


def test_lists_and_special_values_arrive() -> None:
    config = composed("layer=[input,conv1]", "compile=true", "dataset.train_size=100", "seed=0")
    assert config.layer == ["input", "conv1"]
    assert config.compile is True
    assert config.dataset.train_size == 100
    assert config.seed == 0


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model=torchvision", "optimizer=adam"],
        ["model=preact_resnet18", "layer=[input,layer1]"],
    ],
)
def test_stored_configuration_comes_back(overrides: list[str]) -> None:
    import dataclasses
    import json

    config = composed(*overrides)
    assert from_plain(json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_every_field_has_a_docstring() -> None:
    tree = ast.parse(inspect.getsource(schema))
    fields = 0
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name.endswith("Config"):
            for field, after in zip(node.body, [*node.body[1:], None], strict=True):
                # A subclass or group field that only sets another default is described by its base.
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    fields += 1
                    described = isinstance(after, ast.Expr) and isinstance(
                        after.value, ast.Constant
                    )
                    inherited = field.target.id in {"name", "lr", "dataset", "model", "optimizer"}
                    assert described or inherited, f"{node.name}.{field.target.id}"
    assert fields >= 70


def test_a_sweep_composes_its_jobs_as_hydra_would() -> None:
    jobs = [
        [f"layer={layer}", f"alpha={alpha}", *more]
        for layer, alpha in (("none", "0.2"), ("[input,conv1]", "1"), ("conv2", "0.2"))
        for more in (
            [],
            ["mode=triplet", "optimizer.lr=0.05"],
            ["model=preact_resnet18", "compile=true"],
            ["experiment=paper", "epochs=3"],
        )
    ]
    jobs += [
        ["optimizer.lr=0.3", "optimizer=adam", "optimizer.betas=[0.8,0.99]"],
        ["model.arch=resnet34", "model=torchvision", "model.small_stem=false"],
        ["evaluation=full", "dataset.outside={far: a, near: b}", "dataset.title=${study}"],
        ["evaluation=full", "dataset.outside={0: a, 12: b}"],
        ["dataset.train_size=null", "dataset=fashion_mnist", "dataset.name=mnist"],
    ]
    register()
    with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
        found = compose_jobs(jobs, lambda job: compose("config", overrides=job))
        expected = [from_hydra(compose("config", overrides=job)) for job in jobs]
    assert found == expected
