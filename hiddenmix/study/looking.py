"""`repeats=auto`: after so many seeds the study is looked at, and stops or goes on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hiddenmix.config import Config, UserError, counted, from_plain, layers, show
from hiddenmix.study.cells import question_key, setting_key
from hiddenmix.study.planning import Plan, question_layers
from hiddenmix.study.store import read_results, read_study
from hiddenmix.terminal import Display


def looks(most: int) -> tuple[int, ...]:
    """Seeds at every look of a study of at most `most`."""
    from hiddenmix import report  # loads pandas and scipy, which nobody else waits for

    return report.looks(most)


def look(study: Path, plan: Plan, display: Display) -> bool:
    """Whether a planned look answers the questions of `plan`, or finds no look left. Says what was seen,
    and records it in study.json."""
    from hiddenmix import report

    found = report.find(report.read_study(study))
    asked = [
        each
        for each in found.questions
        if each.what == "clean" and set(each.rows["setting"]) & plan.requested.keys()
    ]
    report.record_looks(study, asked)
    for question in asked:
        display.say(report.look_text(question))
    if not asked:
        display.say("warning: no look: the study's question is about other settings than these")
    return bool(asked) and all(each.look is not None and each.look.stop for each in asked)


def check_looks(study: Path, configs: Sequence[tuple[Config, str]], command: str = "") -> None:
    """Refuse a study that holds what its planned looks could not allow for; `configs`, each with the
    digest of its data, are the settings that are asked of it, beside those that other jobs of `command`
    ask. Raises `UserError`."""
    results = [found for found in read_results(study).values() if found is not None]
    entries = read_study(study)["commands"]
    asked = {setting_key(*each) for each in configs}
    # An engine runs each setting of one command in a process of its own.
    asked |= {
        key
        for each in entries
        if each.get("command") == command
        for key in each.get("requested", ())
    }
    questions = {key: _question(each) for key, each in {e["setting"]: e for e in results}.items()}
    trained = {(each["setting"], each["seed"]) for each in results}
    for config, digest in configs:
        for found in results:
            if (margin := found["config"].get("margin", config.margin)) != config.margin:
                instead = f"margin={show(margin)}, or another study=<name>"
                raise _refused(study, f"it was begun with margin={show(margin)}", instead)
        own = question_key(config, digest)
        same = [each for each in results if questions[each["setting"]] == own]
        _check_layer(study, config, same)
        here = [each for each in same if [each["layer"]] == layers(config)]
        _check_number(study, config, here)
        paired = [each for each in here if (each.get("baseline"), each["seed"]) in trained]
        _check_plan(study, config, asked, paired)


def _check_layer(study: Path, config: Config, same: Sequence[Mapping[str, Any]]) -> None:
    """`same`: results of the question of `config`, mixing at any layer."""
    candidates = question_layers(config)
    below = candidates[: candidates.index(layers(config)[0])]
    lower = [each["layer"] for each in same if each["layer"] in below]
    if lower:
        holds = f"it mixes at {lower[0]} too, and its question is about the lowest hidden layer"
        raise _refused(study, holds, "another study=<name>")


def _check_number(study: Path, config: Config, here: Sequence[Mapping[str, Any]]) -> None:
    """`here`: results of that question at the layer of `config`."""
    seeds = {each["seed"] for each in here}
    planned = any(each["config"].get("repeats") == "auto" for each in here)
    if not planned and len(seeds) >= looks(config.max_repeats)[0]:
        holds = (
            f"it holds {counted(len(seeds), 'seed')} of a fixed number, whose verdict has no bounds"
        )
        instead = f"another study=<name> with other seeds, such as seed={max(seeds) + 1}"
        raise _refused(study, holds, instead)


def _check_plan(
    study: Path, config: Config, asked: set[str], paired: Sequence[Mapping[str, Any]]
) -> None:
    """`paired`: those that have their baseline beside them."""
    others = dict.fromkeys(
        f"mode={each['config']['mode']} alpha={each['config']['alpha']:g}"
        for each in paired
        if each["setting"] not in asked
    )
    if others:
        holds = f"its question is averaged over {'; '.join(others)} too, which is not asked for now"
        raise _refused(study, holds, "another study=<name>, or ask for these settings as well")
    for each in paired:
        most = each["config"].get("max_repeats")
        if each["config"].get("repeats") == "auto" and most != config.max_repeats:
            instead = f"max_repeats={show(most)}, or another study=<name>"
            raise _refused(study, f"its looks were planned with max_repeats={show(most)}", instead)
    own = range(config.seed, config.seed + config.max_repeats)
    if odd := sorted({each["seed"] for each in paired} - set(own)):
        holds = f"it holds seed {odd[0]}, and those to be looked at are {own[0]} to {own[-1]}"
        raise _refused(study, holds, "another study=<name>")


def _question(found: Mapping[str, Any]) -> str:
    """The `question_key` of a result; empty where its settings ask none."""
    if found["layer"] in ("none", "input") or found.get("disguised") or found.get("bypassed"):
        return ""
    try:
        return question_key(from_plain(found["config"]), found["data"]["digest"])
    except UserError:
        return ""  # of another version of this program


def _refused(study: Path, holds: str, instead: str) -> UserError:
    return UserError(
        f"repeats=auto is not allowed with study={show(study.name)}: {holds}\n  use {instead}"
    )
