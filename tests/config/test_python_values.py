"""Values from Python: the same cell as from the command line, and what is of a wrong type refused."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiddenmix.config import (
    AdamConfig,
    CnnConfig,
    Config,
    ConfigError,
    DatasetConfig,
    SgdConfig,
    WrongValuesError,
    check,
    from_plain,
    normalised,
)
from hiddenmix.study.cells import cell_id


@pytest.mark.parametrize(
    ("python", "typed"),
    [
        (Config(alpha=1, originals=0), Config(alpha=1.0, originals=0.0)),
        (Config(optimizer=SgdConfig(weight_decay=0)), Config(optimizer=SgdConfig(weight_decay=0.0))),
        (Config(epochs=30.0, seed=np.int64(3)), Config(epochs=30, seed=3)),  # type: ignore[arg-type]
        (Config(alpha=np.float32(0.5)), Config(alpha=0.5)),  # type: ignore[arg-type]
        (Config(layer=("input", "conv1")), Config(layer=["input", "conv1"])),
        (Config(layer=3), Config(layer="3")),
        (Config(model=CnnConfig(channels=(8, 8.0, 8))), Config(model=CnnConfig(channels=[8, 8, 8]))),  # type: ignore[arg-type]
        (
            Config(optimizer=AdamConfig(betas=(0, np.float64(0.5)))),  # type: ignore[arg-type]
            Config(optimizer=AdamConfig(betas=[0.0, 0.5])),
        ),
        (
            Config(dataset=DatasetConfig(resize=(32, 32.0), root=Path("a"), outside={"b": Path("c")})),  # type: ignore[arg-type]
            Config(dataset=DatasetConfig(resize=[32, 32], root="a", outside={"b": "c"})),
        ),
        (
            Config(dataset=DatasetConfig(outside={0: "a", np.int64(12): Path("c"), "b": "d"})),
            Config(dataset=DatasetConfig(outside={"0": "a", "12": "c", "b": "d"})),
        ),
    ],
)  # fmt: skip
def test_a_value_from_python_makes_the_cell_of_the_command_line(
    python: Config, typed: Config
) -> None:
    found = normalised(python)
    assert repr(found) == repr(typed)  # 1 == 1.0, whose texts differ
    assert cell_id(found, "") == cell_id(typed, "")
    if not typed.dataset.outside:
        check(found)


def test_what_the_command_line_makes_stays_as_it_is() -> None:
    config = Config(
        layer=["input", "0.1"], repeats="auto", compile=True, model=CnnConfig(dropout=0.1)
    )
    assert repr(normalised(config)) == repr(config)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (Config(epochs=1.5), "epochs=1.5 is not allowed\n  allowed: a whole number from 1"),  # type: ignore[arg-type]
        (Config(baseline="false"), "baseline='false' is not allowed\n  allowed: true, false"),  # type: ignore[arg-type]
        (Config(baseline=0), "baseline=0 is not allowed\n  allowed: true, false"),  # type: ignore[arg-type]
        (Config(alpha=True), "alpha=true is not allowed\n  allowed: a number above 0"),
        (Config(alpha="1"), "alpha='1' is not allowed"),  # type: ignore[arg-type]
        (Config(alpha=10**400), "alpha=1000"),
        (Config(seed=True), "seed=true is not allowed"),
        (Config(study=3), "study=3 is not allowed\n  allowed: a name"),  # type: ignore[arg-type]
        (Config(layer=1.1), "layer=1.1 is not allowed"),
        (
            Config(dataset=DatasetConfig(outside={1.1: "a"}), evaluation="full"),
            "dataset.outside=1.1 is not allowed\n  allowed: names that are read as texts, such as",
        ),
        (Config(dataset="cifar10"), "dataset=cifar10 is not allowed\n  allowed: a DatasetConfig"),  # type: ignore[arg-type]
        (Config(dataset=DatasetConfig(title=5)), "dataset.title=5 is not allowed\n  allowed: a text"),  # type: ignore[arg-type]
        (Config(model=CnnConfig(channels=5)), "model.channels=5 .*\n  allowed: a list, each a whole"),  # type: ignore[arg-type]
        (Config(model=CnnConfig(batch_norm=1)), "model.batch_norm=1 is not allowed"),  # type: ignore[arg-type]
    ],
    ids=lambda each: each.splitlines()[0] if isinstance(each, str) else "",
)  # fmt: skip
def test_a_wrong_type_is_refused(config: Config, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{said}"):
        check(normalised(config))


def test_all_wrong_values_are_told_at_most_ten() -> None:
    wrong: dict[str, Any] = {"epochs": 0, "batch_size": 1, "alpha": -1.0}
    with pytest.raises(WrongValuesError) as refused:
        check(Config(**wrong))
    typed = str(refused.value.as_typed(["batch_size", "model", "alpha", "epochs", "alpha"]))
    told = [line.partition("=")[0] for line in typed.splitlines()[::2]]
    assert told == ["batch_size", "alpha", "epochs"]
    assert all(line.startswith("  allowed: ") for line in typed.splitlines()[1::2])
    texts = ("lam", "partners", "operation", "precision", "evaluation", "device", "mode", "compile")
    with pytest.raises(WrongValuesError) as refused:
        check(replace(Config(**wrong), **dict.fromkeys(texts, "??")))  # type: ignore[arg-type]
    lines = str(refused.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 1 more"


def test_of_what_a_mistake_spoils_nothing_more_is_said() -> None:
    """As of the seeds where `repeats` is none."""
    with pytest.raises(ConfigError, match=r"^repeats=many is not"):
        check(Config(repeats="many", seed=2**32 - 1))


def test_a_former_cell_from_python_is_read_as_it_was_stored() -> None:
    """Its id, which `evaluate` checks, is of a whole number."""
    stored = asdict(Config(alpha=1))
    assert repr(from_plain(stored).alpha) == "1"
