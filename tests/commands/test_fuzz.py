"""Any values of the configuration: a valid command, or a clear error of at most two lines."""

import io
import math
import os
from contextlib import redirect_stderr
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hiddenmix.config.checks import check
from hiddenmix.config.composition import config_folder, from_hydra, from_plain, register
from hiddenmix.config.schema import Config
from hiddenmix.study import check_requests
from hiddenmix.study.cells import cell_id
from hiddenmix.study.planning import make_plan
from hiddenmix.terminal.command_line import guarded
from tests.support.commands import ALONE, Command, command

KEYS = (
    *("layer", "mode", "alpha", "lam", "partners", "originals", "seed", "repeats", "baseline"),
    *("study", "epochs", "batch_size", "precision", "compile", "device", "evaluation"),
    *("evaluate_every", "checkpoint_seconds", "dataset", "dataset.name", "dataset.root"),
    *("dataset.augment", "dataset.validation", "dataset.train_size", "dataset.split_seed"),
    *("dataset.title", "dataset.resize", "dataset.download", "model", "model.name"),
    *("dataset.train", "dataset.test", "dataset.test_fraction", "dataset.target"),
    "dataset.resize_mode",
    *("model.channels", "model.width", "model.batch_norm", "model.dropout", "model.small_stem"),
    *("model.weights", "model.weights_digest", "model.arch", "model.target", "model.arguments"),
    *("optimizer", "optimizer.name", "optimizer.lr", "optimizer.weight_decay"),
    *("optimizer.schedule", "optimizer.warmup", "optimizer.milestones", "optimizer.gamma"),
    *("optimizer.momentum", "optimizer.nesterov", "optimizer.betas", "experiment", "nope"),
    *("+nope", "++alpha", "~alpha", "~dataset", "hydra.nope", "a.b.c", "layer.x", ""),
)
WORDS = (
    *("none", "input", "conv1", "conv2.relu", "fc1", "siamese", "triplet", "batch", "sample"),
    *("permutation", "independent", "cpu", "auto", "cuda:7", "float32", "bf16", "clean", "full"),
    *(
        "digits",
        "image_folder",
        "arrays",
        "import",
        "crop",
        "cnn",
        "preact_resnet18",
        "sgd",
        "adam",
        "one_cycle",
        "step",
    ),
    *("true", "false", "null", "nan", "inf", "-inf", "1e400", "0x10", "1_000", "flip_crop", ""),
    *(
        "[]",
        "{}",
        "[input,conv1]",
        "[1,2,3]",
        "{a:1}",
        "[[]]",
        "${alpha}",
        "${nope}",
        "${oc.env:X}",
    ),
    *("..", "/", "a/b", "~", "*", "'", '"', "\\", "a b", "a=b", "a,b", "choice(1,2)", "[", "]"),
)
values = st.one_of(
    st.sampled_from(WORDS),
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(str),
    st.lists(st.one_of(st.sampled_from(WORDS), st.integers(-9, 99).map(str)), max_size=4).map(
        lambda items: "[" + ",".join(items) + "]"
    ),
    st.text(max_size=20),
)
overrides = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(KEYS), values).map("=".join),
        st.text(max_size=20),
    ),
    min_size=1,
    max_size=3,
)

# The same examples on every run; HIDDENMIX_FUZZ=<number> tries so many others.
MORE = int(os.environ.get("HIDDENMIX_FUZZ", "0"))
ENDLESS: dict[str, Any] = {
    **{"deadline": None, "suppress_health_check": list(HealthCheck)},
    **{"derandomize": not MORE, "database": None},
}


@pytest.fixture(scope="module", autouse=True)
def _schema() -> None:
    register()


def outcome(arguments: list[str]) -> Config | None:
    """The configuration, or None for an error, which is checked to be a clear one."""
    accepted: list[Config] = []

    def run() -> int:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = from_hydra(compose("config", overrides=arguments))
        check_requests([config])
        accepted.append(config)
        return 0

    said = io.StringIO()
    with redirect_stderr(said):
        code = guarded(run)
    if accepted:
        assert code == 0
        assert said.getvalue() == ""
        return accepted[0]
    assert code == 2, said.getvalue()
    assert 1 <= len(said.getvalue().splitlines()) <= 2
    assert said.getvalue().endswith("\n")
    assert all(character.isprintable() or character == "\n" for character in said.getvalue())
    assert len(said.getvalue()) < 2000
    return None


@settings(max_examples=MORE or 50, **ENDLESS)
@example(["seed=" + "9" * 5000])
@example(["layer=" + "[" * 300 + "]" * 300])
@example(["dataset.title=\ud800"])
@example(["alpha=1", "~alpha"])
@example(["dataset=[0]"])
@example(["optimizer.milestones=[[]]"])
@example(["optimizer.milestones=${alpha}"])
@example(["model.channels=${alpha}"])
@example(["model.width=65536", "model.channels=[65536,65536,65536]"])
@given(overrides)
def test_any_overrides_are_accepted_or_refused_in_two_lines(
    tmp_path_factory: pytest.TempPathFactory, arguments: list[str]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    former = Path.cwd()
    os.chdir(folder)
    try:
        config = outcome(arguments)
        assert list(folder.iterdir()) == []
    finally:
        os.chdir(former)
    if config is not None:
        check(config)
        assert 0 < config.alpha < math.inf
        assert len(cell_id(config, "").encode()) <= 200
        assert config.repeats > 100 or make_plan([(config, "")]).cells


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=MORE or 60, **ENDLESS)
@given(st.sampled_from(KEYS), json_values)
def test_any_stored_configuration_is_read_or_refused(key: str, value: Any) -> None:
    """As result.json may hold it, damaged or edited."""
    content = asdict(Config())
    group, _, name = key.partition(".")
    if name and isinstance(content.get(group), dict):
        content[group][name] = value
    else:
        content[key] = value

    def run() -> int:
        from_plain(content)
        return 0

    said = io.StringIO()
    with redirect_stderr(said):
        assert guarded(run) in (0, 2)
    assert len(said.getvalue().splitlines()) <= 2


small = st.fixed_dictionaries(
    {},
    optional={
        "layer": st.sampled_from(["none", "input", "conv1", "fc1", "[input,conv2]", "conv9"]),
        "mode": st.sampled_from(["siamese", "triplet", "2", "5"]),
        "alpha": st.one_of(st.floats(1e-3, 1e6), st.sampled_from([0.0, 1e-300])),
        "lam": st.sampled_from(["batch", "sample"]),
        "partners": st.sampled_from(["permutation", "independent"]),
        "originals": st.floats(0, 2),
        "seed": st.integers(-1, 2**32),
        "batch_size": st.integers(1, 201),
        "precision": st.sampled_from(["float32", "bf16"]),
        "dataset.validation": st.sampled_from([0, 0.1, 0.9]),
        "dataset.augment": st.sampled_from(["none", "flip_crop"]),
        "model.batch_norm": st.booleans(),
        "model.dropout": st.floats(0, 0.99),
        "optimizer.lr": st.floats(1e-6, 1e6),
        "optimizer.schedule": st.sampled_from(["one_cycle", "cosine", "step", "constant"]),
        "optimizer.momentum": st.floats(0, 0.99),
        "evaluation": st.sampled_from(["clean", "full"]),
    },
)


@pytest.mark.slow
def test_any_accepted_values_train_or_fail_clearly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    run: Command = command(tmp_path, monkeypatch, capsys)

    @settings(max_examples=MORE or 8, **ENDLESS)
    @given(small)
    def trains(chosen: dict[str, Any]) -> None:
        arguments = [f"{key}={str(value).lower()}" for key, value in chosen.items()]
        settings_given = [
            each for each in ALONE if each.partition("=")[0] not in {*chosen, "checkpoint_seconds"}
        ]
        ended = run(*settings_given, *arguments)
        if ended.code == 2:
            assert len(ended.errors.splitlines()) == 2
        elif ended.code == 1:
            assert "is not finite" in ended.output or "are not finite" in ended.output
        else:
            assert ended.code == 0
            assert "accuracy" in ended.output

    trains()
