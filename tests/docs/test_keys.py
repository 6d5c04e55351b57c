"""The tables of keys in docs/reference.md have every key of the code, with its default and what it may
be, in the groups of `train --help`."""

import re
from dataclasses import fields
from typing import Any

from omegaconf import OmegaConf

from hiddenmix.config import GROUPS, Config, all_keys, allowed, config_folder, show
from tests.docs.pages import ROOT

FILLED_IN = {"model.weights_digest", "model.source"}
"""By the program, in each network's configuration."""

SECTION = (ROOT / "docs/reference.md").read_text().partition("\n## Keys\n")[2].partition("\n## ")[0]


def rows() -> dict[str, list[str]]:
    """Of each key that the page lists: default, allowed, meaning."""
    lines = [line for line in SECTION.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert all(len(each) == 4 for each in cells)
    found = {key.strip("`"): rest for key, *rest in cells}
    assert len(found) == len(cells)
    return found


def typed(key: str) -> str:
    """A key as it is typed: a group's name chooses its file."""
    return key.removesuffix(".name")


def test_every_key_is_there() -> None:
    keys = {typed(key) for key in all_keys()} - FILLED_IN
    assert rows().keys() == keys


def test_groups_are_those_of_the_help() -> None:
    config: Any = OmegaConf.load(ROOT / "conf/config.yaml")
    labels = re.findall(r"^([A-Z][a-z ]+?)  +", config.hydra.help.header, re.MULTILINE)
    # A launcher is a file of Hydra's, no key of the configuration.
    labels.remove("Elsewhere")
    assert re.findall(r"^### (.+)$", SECTION, re.MULTILINE) == labels


def values(key: str) -> dict[str, str]:
    """The default of a key, by the name of each file of its group that has the key."""
    group, _, name = key.rpartition(".")
    if not group:
        value = getattr(Config(), key)
        return {"": show(value.name if key in GROUPS else value)}
    found = {}
    for path in sorted((config_folder() / group).glob("*.yaml")):
        kinds: tuple[Any, ...] = GROUPS[group]
        [kind] = [each for each in kinds if len(kinds) == 1 or each().name == path.stem]
        own = {field.name: getattr(kind(), field.name) for field in fields(kind)}
        chosen: Any = OmegaConf.load(path)
        own |= {key: chosen[key] for key in chosen}
        if name in own:
            found[path.stem] = show(own[name]) or "none: it must be given"
    return found


def default(key: str) -> str:
    """That of the file that is chosen by default, and others that differ: `0.05 (adam: 0.001)`."""
    found = values(key)
    group = key.partition(".")[0]
    chosen = getattr(Config(), group).name if "." in key else ""
    usual = found.get(chosen, next(iter(found.values())))
    other: dict[str, list[str]] = {}
    for name, value in found.items():
        if value != usual:
            other.setdefault(value, []).append(name)
    listed = "; ".join(f"{', '.join(names)}: {value}" for value, names in other.items())
    return f"{usual} ({listed})" if other else usual


def values_allowed(key: str) -> str:
    text = allowed(f"{key}.name" if key in GROUPS else key)
    if str(all_keys()[key]).startswith("list["):
        return f"list, each {text}"
    return text.removeprefix("a ").replace("text of 1 to 4096 characters without NUL", "text")


def test_defaults_and_allowed_values_are_those_of_the_code() -> None:
    shown = {key: [each.replace("`", "") for each in cells[:2]] for key, cells in rows().items()}
    ours = {key: [default(key), values_allowed(key)] for key in shown}
    # `a name`, `a side`: words that begin a sentence keep their article.
    assert {key: [one, two.removeprefix("a ")] for key, (one, two) in shown.items()} == ours


def test_a_key_of_some_files_alone_begins_with_their_names() -> None:
    for key, (_, _, meaning) in rows().items():
        group = key.partition(".")[0]
        names = list(values(key))
        if group in ("model", "optimizer") and "." in key and len(names) < len(GROUPS[group]):
            named = re.match(r"(`\w+`(, `\w+`)*): ", meaning)
            assert named, key
            assert sorted(re.findall(r"\w+", named[1])) == names, key


def test_no_key_falls_back_on_no_words() -> None:
    assert [key for key in all_keys() if "right type" in allowed(key)] == list(GROUPS)
