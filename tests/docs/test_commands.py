"""Every command line in README.md and docs/ is one that the programs take; those of seconds are run."""

import importlib.util
import re
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hiddenmix import evaluate, layers, networks
from hiddenmix.config import (
    MODELS,
    AdamConfig,
    DatasetConfig,
    SgdConfig,
    check_meaning,
    configurations,
    read_space,
    without_log,
)
from hiddenmix.report import __main__ as report
from hiddenmix.terminal import as_hydra_reads
from tests.docs.pages import PAGES, ROOT, blocks, commands, spans
from tests.support.commands import ALONE, command
from tests.support.image_folders import make_folder

NAMED = [(page, each) for page in PAGES for each in commands(page) if each[:2] == ["python", "-m"]]
OURS = {" ".join(each[2:]): (page, each) for page, each in NAMED if each[2].startswith("hiddenmix")}
"""By what is typed, once, however many pages have it."""


def test_pages_have_commands_and_a_wrong_one_is_found() -> None:
    assert len(OURS) >= 25
    with pytest.raises(Exception, match="no_such"):
        composed("layer=conv1", "no_such=1")


def composed(*arguments: str) -> None:
    """Raises where the arguments are not a configuration that `train` takes."""
    check_meaning(configurations(as_hydra_reads(["-m", *arguments])[1:]))


def parsed(program: ModuleType, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Raises where `program` does not take the arguments; nothing is done."""
    monkeypatch.setattr(program, "guarded", lambda action: 0)
    assert program.main(arguments) == 0


@pytest.mark.parametrize(("page", "arguments"), OURS.values(), ids=list(OURS))
def test_a_command_is_understood(
    page: Path, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pretrained.safetensors").touch()
    write_files(page, tmp_path)
    name, given = arguments[2], arguments[3:]
    if "hydra/launcher=ray" in given:  # not among what developers install
        pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    if name == "hiddenmix.train":
        shown = given.index("--cfg") if "--cfg" in given else len(given)
        composed(*(each for each in given[:shown] if each not in ("-m", "--help")))
    elif name == "hiddenmix.layers":
        flags = {each for each in given if each.startswith("-")}
        assert flags <= set(re.findall(r"--\w+", layers.USAGE))
        composed(*(each for each in given if each not in flags))
    elif name == "hiddenmix.tune":
        own = [each for each in given if each.partition("=")[0] not in ("trials", "final_repeats")]
        read_space(as_hydra_reads(["-m", *without_log(own)])[1:])
    elif name in ("hiddenmix.report", "hiddenmix.evaluate"):
        program = report if name == "hiddenmix.report" else evaluate
        if given:
            parsed(program, given, monkeypatch)
    else:
        assert importlib.util.find_spec(name)


def write_files(page: Path, folder: Path) -> list[str]:
    """The Python blocks of `page` that begin with a file's name, as files; their names."""
    named = {
        found[1]: block.text
        for block in blocks(page)
        if block.language == "python" and (found := re.match(r"# (\w+\.py)\b", block.text))
    }
    for name, text in named.items():
        (folder / name).write_text(text)
    return list(named)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_other_commands_are_known_and_scripts_are_there(page: Path) -> None:
    known = {"python", "pip", "pytest", "tensorboard", "sbatch", "."}
    for each in commands(page):
        script = each[1] if each[0] == "python" and each[1] != "-m" else each[0]
        assert script in known or (ROOT / script).exists(), each
    for span in spans(page):
        if found := re.match(r"(scripts/[\w.]+)", span):
            assert (ROOT / found[1]).exists(), span


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_keys_that_are_named_are_keys(page: Path) -> None:
    groups: dict[str, tuple[Any, ...]] = {
        **{"dataset": (DatasetConfig,), "model": MODELS, "optimizer": (SgdConfig, AdamConfig)}
    }
    for span in spans(page):
        if found := re.match(r"(dataset|model|optimizer)\.(\w+)(=|$)", span):
            known = {field.name for each in groups[found[1]] for field in fields(each)}
            assert found[2] in known, span


def test_ci_runs_the_set_up_that_the_pages_name() -> None:
    script = " ".join((ROOT / ".ci/run").read_text().replace("\\\n", " ").split())
    for page in (ROOT / "README.md", ROOT / "docs/index.md"):
        [line] = [
            line
            for block in blocks(page)
            for line in block.text.splitlines()
            if line.startswith("python -m venv")
        ]
        assert line.replace("python -m venv", "python3 -m venv") in script


def test_every_extra_is_on_the_first_page() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs/index.md").read_text()
    table = page[page.index("| extra | for |") :].split("\n\n", maxsplit=1)[0]
    named = [
        name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])
    ]
    assert sorted(named) == sorted(project["optional-dependencies"])


def test_the_network_of_the_page_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = ROOT / "docs/own_network.md"
    assert write_files(page, tmp_path) == ["mynet.py"]
    lines = [each[3:] for each in commands(page) if each[2] == "hiddenmix.train"]
    run = command(tmp_path, monkeypatch, capsys)
    small = [each for each in ALONE if not each.startswith(("model.", "dataset."))]
    own = [each for each in lines if "model.target=mynet.MyNet" in each]
    assert len(own) == 3
    few = "dataset.train_size=200"
    assert run(*own[1], *small, few, "epochs=1").code == 0
    make_folder(tmp_path / "my_photos", images=4)
    ended = run(*own[2], *small, "epochs=1", "batch_size=4")
    assert ended.code == 0, ended.errors


def test_the_lists_of_layers_are_what_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = ROOT / "docs/layers.md"
    [whole, part, *_] = [block.text for block in blocks(page) if block.language == "text"]
    [asked, *_] = [each[3:] for each in commands(page) if each[2] == "hiddenmix.layers"]
    monkeypatch.setattr(sys, "argv", ["layers", *asked])
    surveyed: list[networks.Survey] = []
    survey_of = networks.survey_of

    def noted(*given: Any, **options: Any) -> networks.Survey:
        surveyed.append(survey_of(*given, **options))
        return surveyed[0]

    monkeypatch.setattr(networks, "survey_of", noted)
    assert layers.main() == 0
    assert capsys.readouterr().out.split() == whole.split()
    against = networks.reasons(surveyed[0].layers)
    lines = [line.split("  ") for line in part.splitlines()[2:]]
    assert len(lines) == 5
    for name, *_, reason in lines:
        # The share that is left is measured with --all, and takes longer than all else.
        assert re.sub(r": leaves \d\.\d\d", "", reason.strip()) == against[name]
