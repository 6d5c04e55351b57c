"""The head of report.md: warnings, what was run and on what; and the lists at its end."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from hiddenmix.config import counted, mode_words
from hiddenmix.report.comparison import model_defaults, told_keys
from hiddenmix.report.fields import finite, mapping
from hiddenmix.report.reading import Study
from hiddenmix.report.tables import LISTED, code, escaped, more
from hiddenmix.system import changed_code, commit
from hiddenmix.terminal import VERSION, clean, leaks_text

LEAKING = 0.001
"""Share of test images that are not new, above which a warning stands before the verdict."""


def warnings(study: Study) -> list[str]:
    """What a reader must know before the verdict: leaking data, and data that changed."""
    lines = []
    for title, cells in study.cells.groupby("title", sort=False):
        first = cells.iloc[0]
        leaking, tested = first["leaks"].get("test", 0), int(first["test_size"])
        if leaking > LEAKING * tested:
            lines.append(
                f"**Warning**: {escaped(title)}: {leaks_text(first['leaks'], tested)}. Accuracies on "
                "such images say nothing about new ones."
            )
        trained: dict[str, int] = {}
        for evaluated in cells["evaluated"]:
            trained |= mapping(evaluated.get("outside_in_training"))
        lines += [
            f"**Warning**: {escaped(title)}: {counted(int(count), 'image')} of the outside set "
            f"{escaped(clean(name))} {'stands' if count == 1 else 'stand'} in the training set. "
            "Accuracies on it say little of new images."
            for name, count in trained.items()
            if finite(count)
        ]
    if study.versions:
        told = "; ".join(
            f"{escaped(title)}: {counted(len(cells), 'network')}"
            for title, cells in study.versions.items()
        )
        lines.append(
            "**Warning**: the data changed between networks of this study, which are told apart and "
            f"never compared across versions: {told} (named at the end)."
        )
    return [part for line in lines for part in (line, "")]


def reproduction(study: Study) -> list[str]:
    lines = []
    commits = dict.fromkeys((command.commit, command.dirty) for command in study.commands)
    for trained_at, dirty in commits:
        at = f"commit `{code(trained_at)}`" if trained_at else "an unknown commit"
        lines += [f"Reproduce it at {at}{' with uncommitted changes' if dirty else ''}:", "", "```"]
        asked = [c.command for c in study.commands if (c.commit, c.dirty) == (trained_at, dirty)]
        lines += [text.replace("```", "") for text in asked[:LISTED]]
        if len(asked) > LISTED:
            lines.append(f"# and {len(asked) - LISTED} more: see cells/*/result.json")
        lines += ["```", ""]
    places: dict[str, int] = {}
    for about in study.cells["environment"]:
        known = {
            key: clean(about.get(key, "unknown"))
            for key in ("device", "threads", "torch", "python")
        }
        place = "{device}, threads: {threads}, torch {torch}, Python {python}".format(**known)
        places[place] = places.get(place, 0) + 1
    hours = float(study.cells["seconds"].sum()) / 3600
    spent = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"
    many = len(study.cells)
    trained = (
        f"{many} network{'s were' if many > 1 else ' was'} trained, {spent} of training added up"
    )
    machines = "; ".join(f"{escaped(place)} ({count})" for place, count in places.items())
    moved = sum(bool(about.get("resumed_from")) for about in study.cells["environment"])
    began = f"; {moved} of them began elsewhere (`resumed_from` in result.json)" if moved else ""
    return [*lines, f"{trained}, on: {machines}{began}.", ""]


def rules() -> list[str]:
    """The program whose rules give the words: not always the one that trained the networks."""
    found, _ = commit()
    at = f" at commit `{found[:7]}`{' with changes' if changed_code() else ''}" if found else ""
    return [f"The words of the verdicts are by the rules of {VERSION}{at}.", ""]


def networks(study: Study, table: pd.DataFrame) -> list[str]:
    """A line for each data set and network: what stands beside it in no table."""
    lines = []
    for (title, model), rows in table.groupby(["title", "model"], sort=False):
        configs = study.cells.loc[study.cells["setting"].isin(rows["setting"]), "config"]
        sizes = [
            " or ".join(f"{number:,}" for number in sorted(set(rows[column])))
            for column in ("train_size", "test_size", "parameters", "epochs")
        ]
        lines.append(
            "{}: {} training and {} test images. Network: {}, {} parameters, {} epoch{}.".format(
                *(escaped(title), *sizes[:2], escaped(model) + _no_defaults(configs), *sizes[2:]),
                "" if sizes[-1] == "1" else "s",
            )
        )
    return ["  \n".join(lines), ""]


_NAMED = ("model.name", "model.arch", "model.target", "model.source")
"""What the network's name says, and the digest of its code."""


def _no_defaults(configs: Iterable[Mapping[str, Any]]) -> str:
    """` (model.batch_norm=false)`: the keys of a network that differ from its defaults."""
    found: dict[str, dict[str, None]] = {}
    usual: dict[str, str] = {}
    for config in configs:
        usual |= model_defaults(str(mapping(config.get("model")).get("name")))
        for key, text in told_keys(config).items():
            if key.startswith("model.") and key not in _NAMED:
                found.setdefault(key, {})[text] = None
    told = [
        f"{key}={' or '.join(texts)}"
        for key, texts in found.items()
        if [*texts] != [usual.get(key)]
    ]
    return f" ({escaped(', '.join(told))})" if told else ""


def data(study: Study) -> list[str]:
    """A line for each data set: its content, equal images, and its smallest class."""
    lines = []
    for title, cells in study.cells.groupby("title", sort=False):
        first = cells.iloc[0]
        text = f"{escaped(title)}: {leaks_text(first['leaks'], int(first['test_size']))}"
        counts = first["class_count"]
        if counts:
            smallest = min(range(len(counts)), key=counts.__getitem__)
            name = first["classes"][smallest] if first["classes"] else str(smallest)
            text += (
                f"; the smallest class of the test set, {escaped(name)}, has {counts[smallest]:,}"
            )
        caps = {each.get("images") for each in cells["evaluated"] if each} - {None}
        if caps:
            size = " or ".join(f"{cap:,}" for cap in sorted(caps))
            text += (
                f"; shifts, attacks and outside sets were measured on a fixed stratified {size} of the "
                "images (evaluation_images)"
            )
        lines.append(f"{text} (content {first['digest'][:8]}).")
        lines += _never_right(cells)
    return ["  \n".join(lines), ""]


def _never_right(cells: pd.DataFrame) -> list[str]:
    """Name the classes that some setting never answers right, whatever its accuracy."""
    found: dict[str, int] = {}
    for _, group in cells.groupby("setting", sort=False):
        names = group.iloc[0]["classes"]
        right = [sum(each) for each in zip(*group["class_right"], strict=False)]
        for label, count in enumerate(group.iloc[0]["class_count"]):
            if count and not right[label]:
                name = names[label] if label < len(names) else str(label)
                found[name] = found.get(name, 0) + 1
    if not found:
        return []
    told = ", ".join(
        f"“{escaped(name)}” (by {counted(n, 'setting')})" for name, n in list(found.items())[:20]
    )
    return [f"**Never answered right**: {told}."]


def unfinished(study: Study, table: pd.DataFrame) -> list[str]:
    lines = []
    counts = [(len(study.missing), "missing"), (len(study.failures), "failed")]
    cells = ", ".join(f"{count} {state}" for count, state in counts if count)
    files = f"{counted(len(study.problems), 'remark')} on result files" if study.problems else ""
    if cells:
        state = "; ".join(filter(None, [f"cells: {cells}", files]))
        lines += [f"**This study is incomplete** ({state}; named at the end).", ""]
    elif files:
        lines += [f"**{files}**, at the end.", ""]
    unpaired = table[table["unpaired"].str.len() > 0]
    if not unpaired.empty:
        names = [
            f"{_setting_name(row)}: {row['unpaired']}"
            for _, row in unpaired.head(LISTED).iterrows()
        ]
        names += more(len(unpaired))
        lines += [
            f"Seeds that only one side of a comparison has are left out of it: {'; '.join(names)}."
        ]
        lines.append("")
    return lines


def _setting_name(row: pd.Series) -> str:
    alpha = "" if math.isnan(row["alpha"]) else f"α = {row['alpha']:g}"
    parts = [
        row["title"],
        row["model"],
        row["layer"],
        mode_words(row["mode"] or ""),
        alpha,
        row["variant"],
    ]
    return escaped(" ".join(part for part in parts if part))


def left_out(study: Study) -> list[str]:
    lines: list[str] = []
    if study.versions:
        lines += ["## Versions of the data", ""]
        for title, cells in study.versions.items():
            named = ", ".join(f"`{code(cell)}`" for cell in cells[:LISTED])
            lines.append(
                f"- {escaped(title)}: {named}{''.join(f', {x}' for x in more(len(cells)))}"
            )
        lines.append("")
    if study.missing:
        lines += [
            "## Missing",
            "",
            "Asked for or begun, without a usable result; the command resumes them.",
        ]
        lines += ["", *(f"- `{code(cell)}`" for cell in study.missing[:LISTED])]
        lines += [*(f"- {text}" for text in more(len(study.missing))), ""]
    if study.failures:
        lines += ["## Failures", ""]
        for failure in study.failures[:LISTED]:
            epoch = "" if failure.epoch is None else f" in epoch {failure.epoch}"
            text = escaped(f"{failure.error}{epoch}: {failure.message}")
            lines.append(f"- `{code(failure.cell)}`: {text}")
        lines += [*(f"- {text}" for text in more(len(study.failures))), ""]
    if study.problems:
        lines += ["## Result files that were not used in full", ""]
        lines += [f"- {escaped(problem)}" for problem in study.problems[:LISTED]]
        lines += [*(f"- {text}" for text in more(len(study.problems))), ""]
    return lines
