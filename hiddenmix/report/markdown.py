"""The text of report.md: the verdict, what was run, the tables, the figures and the gaps."""

import math
from typing import Any

import pandas as pd

from hiddenmix.report.comparison import condition_means
from hiddenmix.report.results import Study
from hiddenmix.report.verdict import Verdict, judge, p_text
from hiddenmix.terminal import clean, leaks_text

LEFT = ("data", "network", "layer", "mode", "differs in")
"""Columns of text, aligned to the left."""

LISTED = 50
"""Cells, commands or problems that are named before the rest is only counted."""

_READING = """\
Accuracies are means over seeds ± half the 95 % Student-t interval, in percent. A gain is the mean \
difference to image mixup (two images, the same α) in percentage points, paired by seed, with its \
95 % paired-t interval. p (t) is that of the paired t-test, p (flip) that of the exact sign-flip \
test, which cannot fall below 2^(1 − n): 0.25 with 3 seeds, 0.062 with 5, 0.031 with 6. p (Holm) \
is p (t) after Holm's correction over the whole table. No spread: the gain is the same at every \
seed (accuracies are coarse), and the sign-flip p stands for p (t). Blank: \
no comparison, or a single seed."""


def markdown(study: Study, table: pd.DataFrame, title: str, figures: list[str]) -> str:
    verdict = judge(table)
    evaluated = table["shift_accuracy_mean"].notna().any()
    shifted = judge(table, shifted=True) if evaluated else None
    lines = [f"# {escaped(title)}", "", *_warnings(study), verdict.sentence, ""]
    if shifted:
        lines += [shifted.sentence, ""]
    lines += [*_reproduction(study), *_networks(table), *_data(study)]
    lines += _unfinished(study, table)
    lines += _claims("The claim", verdict, "gain", "p_value")
    if shifted:
        lines += _claims(
            "The claim on samples from outside", shifted, "shift_gain", "shift_p_value"
        )
    lines += ["## All settings", "", _main_table(table), "", _READING, ""]
    lines += figures
    if evaluated:
        lines += _shift_section(study, table)
    lines += _left_out(study)
    return "\n".join(lines).rstrip() + "\n"


def _reproduction(study: Study) -> list[str]:
    lines = []
    commits = dict.fromkeys((command.commit, command.dirty) for command in study.commands)
    for commit, dirty in commits:
        at = f"commit `{_code(commit)}`" if commit else "an unknown commit"
        lines += [f"Reproduce it at {at}{' with uncommitted changes' if dirty else ''}:", "", "```"]
        asked = [c.command for c in study.commands if (c.commit, c.dirty) == (commit, dirty)]
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
    trained = f"{many} network{'s were' if many > 1 else ' was'} trained, {spent} in all"
    machines = "; ".join(f"{escaped(place)} ({count})" for place, count in places.items())
    return [*lines, f"{trained}, on: {machines}.", ""]


def _networks(table: pd.DataFrame) -> list[str]:
    """A line for each data set and network: what stands beside it in no table."""
    lines = []
    for (title, model), rows in table.groupby(["title", "model"], sort=False):
        sizes = [
            " or ".join(f"{number:,}" for number in sorted(set(rows[column])))
            for column in ("train_size", "test_size", "parameters", "epochs")
        ]
        lines.append(
            "{}: {} training and {} test images. Network: {}, {} parameters, {} epochs.".format(
                escaped(title), *sizes[:2], escaped(model), *sizes[2:]
            )
        )
    return ["  \n".join(lines), ""]


LEAKING = 0.001
"""Share of test images that are not new, above which a warning stands before the verdict."""


def _warnings(study: Study) -> list[str]:
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
    if study.versions:
        told = "; ".join(
            f"{escaped(title)}: {len(cells)} networks" for title, cells in study.versions.items()
        )
        lines.append(
            "**Warning**: the data changed between networks of this study, which are told apart and "
            f"never compared across versions: {told} (named at the end)."
        )
    return [part for line in lines for part in (line, "")]


def _data(study: Study) -> list[str]:
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
    told = ", ".join(f"{escaped(name)} (by {n} settings)" for name, n in list(found.items())[:20])
    return [f"**Never answered right**: {told}."]


def _unfinished(study: Study, table: pd.DataFrame) -> list[str]:
    lines = []
    if study.missing or study.failures or study.problems:
        counts = [(len(study.missing), "missing"), (len(study.failures), "failed")]
        cells = ", ".join(f"{count} {state}" for count, state in counts if count)
        files = f"{len(study.problems)} remarks on result files" if study.problems else ""
        state = "; ".join(filter(None, [f"cells: {cells}" if cells else "", files]))
        lines += [f"**This study is incomplete** ({state}; named at the end).", ""]
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
    parts = [row["title"], row["model"], row["layer"], row["mode"], alpha, row["variant"]]
    return escaped(" ".join(part for part in parts if part))


def more(total: int) -> list[str]:
    return [f"and {total - LISTED} more"] if total > LISTED else []


def _claims(heading: str, verdict: Verdict, gain: str, p_value: str) -> list[str]:
    if verdict.claims.empty:
        return []
    rows = [
        identity(row)
        | {"n": str(int(row[f"{gain}_n"])), "gain, points [95 %]": _gain_text(row, gain)}
        | {"p (t)": p_text(row[p_value])}
        | {"p (flip)": p_text(row[p_value.replace("value", "permutation")])}
        | {"p (Holm, these rows)": p_text(row["p_claim"])}
        for _, row in verdict.claims.iterrows()
    ]
    return [f"## {heading}", "", _table(rows), ""]


def identity(row: pd.Series) -> dict[str, str]:
    alpha = "" if math.isnan(row["alpha"]) else f"{row['alpha']:g}"
    names = {"data": row["title"], "network": row["model"], "layer": row["layer"]}
    return {**names, "mode": row["mode"] or "", "α": alpha, "differs in": row["variant"]}


def _gain_text(row: pd.Series, name: str) -> str:
    mean, low, high = (100 * row[f"{name}_{end}"] for end in ("mean", "low", "high"))
    if math.isnan(mean):
        return ""
    interval = "" if math.isnan(low) else f" [{low:+.2f}, {high:+.2f}]"
    # The same gain at every seed: an interval of no width would claim certainty.
    text = f"{mean:+.2f}" + (" [no spread]" if low == high else interval)
    return text.replace("-", "−")


def _mean_text(row: pd.Series, name: str) -> str:
    mean, high = 100 * row[f"{name}_mean"], 100 * row[f"{name}_high"]
    if math.isnan(mean):
        return ""
    return f"{mean:.2f}" if math.isnan(high) else f"{mean:.2f} ± {high - mean:.2f}"


def outcome(row: pd.Series) -> dict[str, str]:
    return {
        "n": str(row["n"]),
        "accuracy, %": _mean_text(row, "accuracy"),
        "gain, points [95 %]": _gain_text(row, "gain"),
        "p (t)": p_text(row["p_value"]),
        "p (flip)": p_text(row["p_permutation"]),
        "p (Holm)": p_text(row["p_holm"]),
    }


def _main_table(table: pd.DataFrame) -> str:
    rows = [
        identity(row)
        | outcome(row)
        | {"gain over plain": _gain_text(row, "gain_over_plain")}
        | {"NLL": f"{row['nll_mean']:.3f}", "ECE, %": f"{100 * row['ece_mean']:.1f}"}
        for _, row in table.iterrows()
    ]
    return _table(rows)


def columns(rows: list[dict[str, str]]) -> list[str]:
    """The columns worth showing: those that hold anything, data and network where they vary."""
    names: list[str] = []
    for name in rows[0] if rows else ():
        values = {row[name] for row in rows}
        if values != {""} and not (name in ("data", "network") and len(values) == 1):
            names.append(name)
    return names


def _table(rows: list[dict[str, str]]) -> str:
    frame = pd.DataFrame(rows)[columns(rows)].map(escaped)
    align = ["left" if name in LEFT else "right" for name in frame.columns]
    return str(frame.to_markdown(index=False, disable_numparse=True, colalign=align))


def _shift_section(study: Study, table: pd.DataFrame) -> list[str]:
    means = {str(key): condition_means(group) for key, group in study.cells.groupby("setting")}
    families = dict.fromkeys(name.rpartition("_")[0] for found in means.values() for name in found)
    rows = []
    for _, row in table[table["shift_accuracy_mean"].notna()].iterrows():
        found = means[row["setting"]]
        cells = identity(row)
        for family in families:
            values = [value for name, value in found.items() if name.rpartition("_")[0] == family]
            cells[family] = f"{100 * sum(values) / len(values):.1f}" if values else ""
        cells["mean of shifts"] = _mean_text(row, "shift_accuracy")
        cells["gain, points [95 %]"] = _gain_text(row, "shift_gain")
        rows.append(cells | {"p (t)": p_text(row["shift_p_value"])})
    explained = (
        "Accuracy in percent, averaged over the strengths of each family; mean and gain are over "
        "the families, each counted once, the attacks (FGSM) aside. summary.csv holds every strength."
    )
    return ["## Samples from outside", "", _table(rows), "", explained, ""]


def _left_out(study: Study) -> list[str]:
    lines: list[str] = []
    if study.versions:
        lines += ["## Versions of the data", ""]
        for title, cells in study.versions.items():
            named = ", ".join(f"`{_code(cell)}`" for cell in cells[:LISTED])
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
        lines += ["", *(f"- `{_code(cell)}`" for cell in study.missing[:LISTED])]
        lines += [*(f"- {text}" for text in more(len(study.missing))), ""]
    if study.failures:
        lines += ["## Failures", ""]
        for failure in study.failures[:LISTED]:
            epoch = "" if failure.epoch is None else f" in epoch {failure.epoch}"
            text = escaped(f"{failure.error}{epoch}: {failure.message}")
            lines.append(f"- `{_code(failure.cell)}`: {text}")
        lines += [*(f"- {text}" for text in more(len(study.failures))), ""]
    if study.problems:
        lines += ["## Result files that were not used in full", ""]
        lines += [f"- {escaped(problem)}" for problem in study.problems[:LISTED]]
        lines += [*(f"- {text}" for text in more(len(study.problems))), ""]
    return lines


def escaped(text: Any) -> str:
    """`text` for Markdown: nothing in it ends a table's cell or begins a tag, link or emphasis."""
    found = str(text)
    for sign, safe in (("|", "\\|"), ("<", "&lt;"), ("*", "\\*"), ("`", "\\`"), ("](", "]\\(")):
        found = found.replace(sign, safe)
    return found


def _code(text: str | None) -> str:
    return str(text).replace("`", "")
