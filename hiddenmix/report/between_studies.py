"""What tells questions of several studies apart that have one data title and network: the keys of their
configurations, and the data's content, that differ between the studies."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from hiddenmix.config import Config
from hiddenmix.report.comparison import PLAIN, model_defaults, told_keys
from hiddenmix.report.fields import mapping
from hiddenmix.report.questions import Question
from hiddenmix.report.reading import Study

Network = tuple[str, str]
"""Title of the data, and the network's name."""

Keys = Mapping[str, str]
"""Key of the configuration -> value, both as they are typed."""

_DATA = "data"
"""Stands for the data's content, which is no key."""


def differences(studies: Mapping[str, Study]) -> dict[str, dict[str, Keys]]:
    """Study -> setting -> those of its keys that differ between the studies with its data title and
    network. A key that older results lack has its default; of one without any, nothing is said."""
    found: dict[Network, dict[str, dict[str, Keys]]] = {}
    for name, study in studies.items():
        mixing = study.cells[study.cells["layer"] != PLAIN].drop_duplicates("setting")
        for _, first in mixing.iterrows():
            own = found.setdefault((first["title"], first["model"]), {}).setdefault(name, {})
            own[first["setting"]] = _complete(first["config"]) | {_DATA: first["digest"][:8]}
    told: dict[str, dict[str, Keys]] = {name: {} for name in studies}
    for network in found.values():
        differing = _differing([[*settings.values()] for settings in network.values()])
        for name, settings in network.items():
            for setting, keys in settings.items():
                told[name][setting] = {key: keys[key] for key in keys if key in differing}
    return told


def _complete(config: Mapping[str, Any]) -> dict[str, str]:
    """`told_keys` with the defaults of those that are missing, where they are of the same kind."""
    usual = asdict(Config())
    model = mapping(config.get("model")).get("name", usual["model"]["name"])
    optimizer = mapping(config.get("optimizer")).get("name", usual["optimizer"]["name"])
    if optimizer != usual["optimizer"]["name"]:
        usual["optimizer"] = {}
    return told_keys(usual | {"model": {}}) | model_defaults(str(model)) | told_keys(config)


def _differing(studies: Sequence[Sequence[Keys]]) -> set[str]:
    """The keys that all settings have, with other values in one study than in another."""
    common = set.intersection(*(set(keys) for settings in studies for keys in settings))
    return {
        key
        for key in common
        if len({frozenset(keys[key] for keys in settings) for settings in studies}) > 1
    }


def told_apart(question: Question, settings: Mapping[str, Keys]) -> Question:
    """The question with `differences` of its settings in its variant; those that stand there, once."""
    stand = question.variant.split(", ") if question.variant else []
    keys = settings.get(question.settings[0], {}) if question.settings else {}
    more = [text for text in map("=".join, keys.items()) if text not in stand]
    return replace(question, variant=", ".join([*stand, *more]))


def in_common(study: Study, settings: Mapping[str, Keys]) -> dict[Network, str]:
    """Network -> `differences` that all of its settings in the study share."""
    found: dict[Network, set[tuple[str, str]]] = {}
    order: dict[tuple[str, str], None] = {}
    for _, first in study.cells.drop_duplicates("setting").iterrows():
        if (keys := settings.get(first["setting"])) is not None:
            place, pairs = (first["title"], first["model"]), keys.items()
            order |= dict.fromkeys(pairs)
            found[place] = found.get(place, {*pairs}) & {*pairs}
    return {
        place: ", ".join("=".join(pair) for pair in order if pair in pairs)
        for place, pairs in found.items()
    }
