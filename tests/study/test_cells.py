"""Identities of cells, and the plan of a command."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import pytest

from hiddenmix.config import MIXING, NO_TRAINING
from hiddenmix.config.schema import (
    CnnConfig,
    Config,
    DatasetConfig,
    ImportConfig,
    SgdConfig,
    TimmConfig,
    TorchvisionConfig,
)
from hiddenmix.study import cells
from hiddenmix.study.cells import image_mixup, model_name, plain, two_images
from hiddenmix.study.planning import Plan, check_requests
from hiddenmix.study.planning import make_plan as plan_of

DATA = "0123456789abcdef0123456789abcdef"
PATHS = ("root", "train", "test", "target")  # where data lie, whose content is known


def cell_id(config: Config, data: str = DATA) -> str:
    return cells.cell_id(config, data)


def setting_key(config: Config) -> str:
    return cells.setting_key(config, DATA)


def identity(config: Config) -> dict[str, Any]:
    return cells.identity(config, DATA)


def make_plan(configs: Iterable[Config]) -> Plan:
    return plan_of((config, DATA) for config in configs)


def changed(**changes: Any) -> Config:
    return dataclasses.replace(Config(), **changes)


def test_id_is_readable() -> None:
    assert cell_id(changed(mode="triplet", alpha=0.2, seed=7)).startswith(
        "digits-cnn-conv1-triplet-a0.2-s7-"
    )
    assert cell_id(changed(layer="none")).startswith("digits-cnn-none-s0-")
    assert cell_id(changed(layer=["input", "conv1"])).startswith(
        "digits-cnn-input+conv1-siamese-a1-"
    )
    network = TorchvisionConfig(arch="vgg11_bn")
    assert cell_id(changed(model=network, layer="features.0")).startswith(
        "digits-vgg11_bn-features.0-"
    )
    many = [f"features.{number}" for number in range(40)]
    assert len(cell_id(changed(layer=many)).encode()) < 200
    assert cell_id(changed(layer=many)) != cell_id(changed(layer=many[:-1]))


@pytest.mark.parametrize(
    "changes",
    [
        {"study": "other"},
        {"device": "cpu"},
        {"evaluation": "full"},
        {"evaluate_every": 3},
        {"evaluation_images": 100},
        {"baseline": False},
        {"repeats": 9},
        {"checkpoint_seconds": 1.0},
        {"tracker": ["mlflow", "wandb"]},
        {"dataset": DatasetConfig(root="elsewhere", download=False, title="T", outside={"a": "b"})},
        {"dataset": DatasetConfig(train="a", test="b", target="mydata.make")},
    ],
    ids=str,
)
def test_where_and_what_else_is_measured_is_no_part_of_a_cell(changes: dict[str, Any]) -> None:
    assert cell_id(changed(**changes)) == cell_id(Config())


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"lam": "sample"},
        {"partners": "independent"},
        {"originals": 1.0},
        {"epochs": 31},
        {"batch_size": 64},
        {"precision": "bf16"},
        {"model": CnnConfig(dropout=0.1)},
        {"model": CnnConfig(weights="a.safetensors", weights_digest="1")},
        {"optimizer": SgdConfig(lr=0.1)},
        {"dataset": DatasetConfig(train_size=100)},
        {"dataset": DatasetConfig(split_seed=1)},
        {"dataset": DatasetConfig(leaks="drop")},
        {"dataset": DatasetConfig(resample=True)},
        {"dataset": DatasetConfig(test_fraction=0.2)},
        {"alpha": 1.0000001},
    ],
    ids=str,
)
def test_what_training_depends_on_is_part_of_a_cell(changes: dict[str, Any]) -> None:
    assert cell_id(changed(**changes)) != cell_id(Config())
    same = "seed" in changes
    assert (setting_key(changed(**changes)) == setting_key(Config())) is same


def test_networks_are_known_by_their_code_arguments_and_weights() -> None:
    def own(**changes: Any) -> str:
        return cell_id(changed(model=ImportConfig(target="mynet.Net", **changes), layer="input"))

    assert own().startswith("digits-mynet.Net-input-")
    assert len({own(), own(source="1"), own(source="2"), own(arguments={"width": 3})}) == 4
    weights = [CnnConfig(weights=path, weights_digest="1") for path in ("a", "moved/b")]
    assert cell_id(changed(model=weights[0])) == cell_id(changed(model=weights[1]))
    timm, other = TimmConfig(arch="resnet18"), TorchvisionConfig(arch="resnet18")
    assert cell_id(changed(model=timm)).startswith("digits-timm.resnet18-conv1-")
    assert model_name(changed(model=timm)) != model_name(changed(model=other))
    assert len(cell_id(changed(model=ImportConfig(target=f"mynet.{'N' * 300}"))).encode()) < 200


def test_requests_are_settled_with_what_their_files_are() -> None:
    """From Python too, where no command line fills it in; the caller's own configuration stays."""
    given = ImportConfig(target="torchvision.models.resnet18", arguments={"num_classes": 10})
    settled = changed(model=given, layer="layer1", dataset=DatasetConfig(name="cifar10"))
    check_requests([settled])
    assert isinstance(settled.model, ImportConfig)
    assert settled.model.source is not None
    assert given.source is None


def test_ids_stay_what_they_were_before_the_size_of_the_images_decided_the_stem() -> None:
    settled = changed(
        layer="input", model=TorchvisionConfig(), dataset=DatasetConfig(name="cifar10")
    )
    check_requests([settled])
    assert settled.model == TorchvisionConfig(small_stem=True)
    assert cell_id(settled, "d" * 64) == "cifar10-resnet18-input-siamese-a1-s0-3bfcfba8"


def test_data_are_known_by_their_content_not_by_their_path() -> None:
    one, moved = (
        changed(dataset=DatasetConfig(name="image_folder", root=root)) for root in ("a/b", "/c")
    )
    assert cell_id(one) == cell_id(moved)
    assert cell_id(one) != cell_id(one, DATA[::-1])


def resized(resize: Any, mode: str = "squash") -> Config:
    return changed(dataset=DatasetConfig(name="image_folder", resize=resize, resize_mode=mode))


def test_how_images_are_resized_is_part_of_a_cell() -> None:
    different = [
        (64, "squash"),
        (64, "crop"),
        (64, "pad"),
        ([64, 96], "squash"),
        ([96, 64], "squash"),
    ]
    assert len({cell_id(resized(*each)) for each in different}) == len(different)
    assert cell_id(resized([64, 64])) == cell_id(resized(64))
    assert cell_id(resized(None, "crop")) == cell_id(resized(None))


def test_newer_keys_leave_the_cells_of_former_versions_what_they_were() -> None:
    """As of commit ebfff87, which had neither of them."""
    assert cell_id(Config()) == "digits-cnn-conv1-siamese-a1-s0-5430c9d3"
    assert cell_id(resized(64)) == "image_folder-cnn-conv1-siamese-a1-s0-adbb7d80"


@pytest.mark.parametrize("layer", ["none", "conv1"])
@pytest.mark.parametrize(
    "field", sorted({each.name for each in dataclasses.fields(Config)} - set(NO_TRAINING))
)
def test_every_field_but_the_named_ones_is_part_of_every_cell(layer: str, field: str) -> None:
    """`epochs`, left out of a plain cell alone, once went unnoticed."""
    if layer == "none" and field in MIXING:
        return
    config = changed(layer=layer)
    value = getattr(config, field)
    changes: dict[str, Any]
    if dataclasses.is_dataclass(value):
        for inner in dataclasses.fields(value):
            # resize_mode means nothing without resize
            if inner.name in (*PATHS, "download", "title", "outside", "resize_mode", "weights"):
                continue
            changes = {
                field: dataclasses.replace(value, **{inner.name: "another"})  # type: ignore[type-var]
            }
            assert cell_id(dataclasses.replace(config, **changes)) != cell_id(config), inner
    else:
        changes = {field: 7.0 if field == "alpha" else "another"}
        other = dataclasses.replace(config, **changes)
        assert cell_id(other) != cell_id(config)


def test_a_seed_has_one_plain_cell_however_the_sweep_was_written() -> None:
    settings = [
        changed(layer="none", mode=mode, alpha=alpha, lam=lam, originals=originals)
        for mode in ("siamese", "triplet")
        for alpha in (0.2, 1.0)
        for lam in ("batch", "sample")
        for originals in (0.0, 1.0)
    ]
    assert len({cell_id(setting) for setting in settings}) == 1
    assert "alpha" not in identity(settings[0])


def test_baselines_differ_in_the_mixing_alone() -> None:
    config = changed(layer="conv2", mode="triplet", alpha=0.2, lam="sample", originals=0.5)
    ours, theirs = identity(config), identity(image_mixup(config))
    assert {key for key in ours if ours[key] != theirs[key]} == {"layer"}
    assert theirs["layer"] == ["input"]
    two = identity(two_images(config))
    assert {key for key in theirs if theirs[key] != two[key]} == {"mode"}
    assert two["mode"] == "siamese"
    assert identity(plain(config)).items() <= (identity(config) | {"layer": ["none"]}).items()


def test_plan_shares_baselines_and_goes_seed_by_seed() -> None:
    jobs = [
        changed(layer=layer, mode=mode, alpha=alpha, repeats=2)
        for layer in ("none", "input", "conv1", "conv2", "conv3")
        for mode in ("siamese", "triplet")
        for alpha in (0.2, 1.0)
    ]
    plan = make_plan(jobs)
    # One plain setting; four layers x two modes x two alphas.
    assert len(plan.requested) == 17
    assert len(plan.cells) == 34
    seeds = [cell.seed for cell in plan.cells.values()]
    assert seeds == sorted(seeds)
    first = list(plan.cells.values())[:3]
    assert [(cell.layer, cell.mode) for cell in first] == [
        ("none", "siamese"),
        ("input", "siamese"),
        ("input", "siamese"),
    ]
    assert sorted(make_plan(reversed(jobs)).cells) == sorted(plan.cells)


def test_plan_of_one_setting() -> None:
    plan = make_plan([changed(layer="conv1", mode="triplet", seed=5, repeats=3)])
    assert len(plan.requested) == 1
    # Plain, image mixup of two and of three images, and the setting.
    assert len(plan.cells) == 12
    assert [(cell.layer, cell.mode) for cell in list(plan.cells.values())[:4]] == [
        ("none", "siamese"),
        ("input", "siamese"),
        ("input", "triplet"),
        ("conv1", "triplet"),
    ]
    assert {cell.seed for cell in plan.cells.values()} == {5, 6, 7}
    alone = make_plan([changed(baseline=False, repeats=3)])
    assert len(alone.cells) == 3


def test_a_number_of_images_is_a_setting_with_baselines_of_its_own() -> None:
    assert cell_id(changed(mode="2")) == cell_id(changed(mode="siamese"))
    assert cell_id(changed(mode="3")) == cell_id(changed(mode="triplet"))
    plan = make_plan([changed(layer="conv1", mode=mode, repeats=1) for mode in ("2", "4")])
    assert [(cell.layer, cell.mode) for cell in plan.cells.values()] == [
        ("none", "siamese"),
        ("input", "siamese"),
        ("conv1", "siamese"),
        ("input", "4"),
        ("conv1", "4"),
    ]
    assert list(plan.cells)[-1].startswith("digits-cnn-conv1-4-a1-s0-")


def test_a_module_of_any_name_is_no_path_and_fits_into_a_folders_name() -> None:
    assert cell_id(changed(layer="res-1")).startswith("digits-cnn-res-1-siamese-")
    assert cell_id(changed(layer="été.0")).startswith("digits-cnn-été.0-siamese-")
    assert cell_id(changed(layer="a/b|c d")).startswith("digits-cnn-a_b_c_d-siamese-")
    assert cell_id(changed(layer="a/b")) != cell_id(changed(layer="a_b"))
    long = [cell_id(changed(layer=f"{'层' * 79}{end}")) for end in "ab"]
    assert max(len(each.encode()) for each in long) <= 200
    assert long[0] != long[1]


def test_the_operation_makes_another_setting_with_baselines_of_its_own() -> None:
    mixup, cut = changed(mode="triplet"), changed(mode="triplet", operation="cutmix")
    assert cell_id(cut).startswith("digits-cnn-conv1-cutmix-triplet-a1-s0-")
    # Networks of before there was the key are found again, and plain training is one for both.
    assert "operation" not in identity(mixup)
    assert identity(cut) == identity(mixup) | {"operation": "cutmix"}
    assert identity(plain(cut)) == identity(plain(mixup))
    assert identity(changed(layer="none", operation="cutmix")) == identity(changed(layer="none"))
    for baseline in (image_mixup, two_images):
        assert baseline(cut).operation == "cutmix"
        assert setting_key(baseline(cut)) != setting_key(baseline(mixup))
    plan = make_plan([dataclasses.replace(each, repeats=1) for each in (mixup, cut)])
    found = [(each.layer, each.operation, each.mode) for each in plan.cells.values()]
    assert sorted(found) == sorted(
        [
            ("none", "mixup", "siamese"),
            *(
                (layer, operation, mode)
                for operation in ("mixup", "cutmix")
                for layer, mode in (
                    ("input", "siamese"),
                    ("input", "triplet"),
                    ("conv1", "triplet"),
                )
            ),
        ]
    )
