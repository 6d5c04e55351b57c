"""The text of report.md: verdicts, what was run, tables, factors, settings, figures, and the gaps."""

import pandas as pd

from hiddenmix.report import distances, head
from hiddenmix.report.answers import CLEAN, deformed_images, family, family_means
from hiddenmix.report.comparison import PLAIN, condition_means, image_mixing
from hiddenmix.report.factors import Best, Effect
from hiddenmix.report.findings import Findings
from hiddenmix.report.question_tables import by_family, by_seed, looks, questions_section
from hiddenmix.report.reading import Study
from hiddenmix.report.tables import (
    escaped,
    gain_text,
    identity,
    interval,
    markdown_table,
    mean_text,
    outcome,
    p_text,
    points,
)
from hiddenmix.report.verdict import told

_READING = """\
Accuracies are means over seeds ± half the 95 % Student-t interval, in percent. A gain is the mean \
difference to {images} of as many images and the same α, in percentage points, paired by seed; its \
interval and p-values are over seeds alone, for this test set. p (t) is that of the paired t-test, \
p (flip) that of the exact sign-flip test, which cannot fall below 2^(1 − n): 0.25 with 3 seeds, 0.031 \
with 6. p (Holm) is p (t) after Holm's correction over this table. No spread: the gain is the same at \
every seed (accuracies are coarse), and the sign-flip p stands for p (t). Blank: no comparison, or a \
single seed. These rows carry no verdict."""

_FURTHER = """\
NLL is the negative log-likelihood of the labels, in nats, ECE the expected calibration error over 15 \
bins of confidence: means over seeds; of both, less is better. Validation: accuracy on the validation \
images. The gain over two images is that over image mixing of two with the same α, as above in points, \
over seeds alone, for this test set. These rows carry no verdict, and no p."""

_FACTORS = """\
Each effect is the mean over all pairs of settings that differ in nothing else, so that layer, number of \
images and α are not confounded. Intervals are for new seeds and new test images; p (Holm) is corrected \
over this table. The question above was fixed beforehand; what stands here was not, and explores."""

_SHIFTED = """\
The same on the mean of the families of shifts. p (Holm) is corrected over this table."""

_SHIFTS_READING = """\
Mean and gain are over the families of shifts, each counted once, the attacks (FGSM) aside. Intervals \
and p-values are over seeds alone, for this test set; p (Holm) is p (t) after Holm's correction over \
this table. These rows carry no verdict."""

_FAMILIES_READING = """\
Accuracy in percent, the mean over the strengths of each family and over seeds. summary.csv holds every \
strength."""

_TERMS = """\
K is the number of images that are mixed with each other: two (siamese), three (triplet), or as many as \
the mode says. Their weights are drawn from a Dirichlet distribution with the parameter α; two weights \
are uniform at α = 1. \
A cell is one trained network: a setting and a seed. Plain training mixes nothing; {images} mixes the \
images themselves. ±margin is the difference that is taken not to matter, set by the study's margin."""


def markdown(study: Study, found: Findings, title: str, figures: list[str]) -> str:
    """report.md of a study with what was `found`; `figures` are the lines that show them."""
    table = found.table
    lines = [f"# {escaped(title)}", "", *head.warnings(study)]
    summary = questions_section(found.questions)
    several = sum(question.what == CLEAN for question in found.questions) > 1
    lines += summary if several else []
    for question in found.questions:
        verdict, *rest = told(question, found.margin)
        lines += [verdict, "", *(f"- {text}" for text in rest), *([""] if rest else [])]
    lines += looks(study, found.questions)
    lines += [*head.reproduction(study), *head.rules()]
    lines += [*head.networks(study, table), *head.data(study)]
    lines += [*_covered(study), *head.unfinished(study, table)]
    lines += [] if several else summary
    if found.effects:
        lines += ["## Factors", "", _effects(found.effects), "", _FACTORS, ""]
        lines += _best(found.best)
    if found.shifted_effects:
        effects = _effects(found.shifted_effects)
        lines += ["## Factors on shifted images", "", effects, "", _SHIFTED, ""]
    lines += distances.section(found.places)
    lines += by_family(found.questions)
    lines += by_seed(found.questions)
    images = image_mixing(table.loc[table["layer"] != PLAIN, "variant"])
    reading = _READING.format(images=images)
    lines += ["## All settings", "", _main_table(table), "", reading, ""]
    lines += [
        "## Probabilities and further comparisons",
        "",
        _further_table(table),
        "",
        _FURTHER,
        "",
    ]
    lines += figures
    if table["shift_accuracy_mean"].notna().any():
        lines += _shift_section(study, table)
    lines += _outside_section(study, table)
    lines += [*head.left_out(study), "## Terms", "", _TERMS.format(images=images), ""]
    return "\n".join(lines).rstrip() + "\n"


def _covered(study: Study) -> list[str]:
    """Which sources of variation the intervals cover (Bouthillier et al. 2021)."""
    resampled = {bool(_dataset(config).get("resample")) for config in study.cells["config"]}
    seeds = "initial weights, the order of the images, augmentation, dropout and mixing"
    if resampled == {True}:
        text = f"Seeds cover the choice of training images, {seeds}; test images are the second factor."
    else:
        text = (
            f"Seeds cover {seeds}, but not the choice of training images (dataset.resample=true does); "
            "test images are the second factor."
        )
    return [f"{text} Not covered: other data sets, networks, and settings that were not run.", ""]


def _dataset(config: dict[str, object]) -> dict[str, object]:
    found = config.get("dataset")
    return found if isinstance(found, dict) else {}


def _effects(effects: list[Effect]) -> str:
    rows = [
        {
            **{"data": each.title, "network": each.model, "factor": each.factor},
            **{"level": each.level, "against": each.reference, "pairs": str(each.pairs)},
            **{"n": str(each.gain.seeds), "N": f"{each.gain.images:,}" if each.gain.images else ""},
            "effect, points [95 %]": interval(each.gain),
            **{"p": p_text(each.gain.p_value), "p (flip)": p_text(each.gain.p_flip)},
            "p (Holm)": p_text(each.p_holm),
        }
        for each in effects
    ]
    return markdown_table(rows)


def _best(found: list[Best]) -> list[str]:
    lines = [
        f"Best layer of {escaped(each.title)}, {escaped(each.model)}"
        f"{', operation=cutmix' if each.operation == 'cutmix' else ''}: `{each.layer}`, "
        f"{points(each.gain)} points over the input. {_flattered(each)} "
        f"(bootstrap over {each.seeds} seeds and {each.images:,} test images)."
        for each in found
    ]
    return [part for line in lines for part in (line, "")]


def _flattered(best: Best) -> str:
    picked = f"Picking the best of {best.among} flatters it"
    if points(best.corrected) == points(best.gain):
        return f"{picked} by less than 0.005 points"
    left = f"{points(best.corrected)} points are left"
    return f"{picked}: {left} once the optimism of the choice is taken off"


def _main_table(table: pd.DataFrame) -> str:
    rows = [
        identity(row) | outcome(row) | {"gain over plain": gain_text(row, "gain_over_plain")}
        for _, row in table.iterrows()
    ]
    return markdown_table(rows)


def _further_table(table: pd.DataFrame) -> str:
    rows = [
        identity(row)
        | {"validation, %": mean_text(row, "validation_accuracy")}
        | {"gain over two images": gain_text(row, "gain_over_two")}
        | {"NLL": f"{row['nll_mean']:.3f}", "ECE, %": f"{100 * row['ece_mean']:.1f}"}
        for _, row in table.iterrows()
    ]
    return markdown_table(rows)


def _shift_section(study: Study, table: pd.DataFrame) -> list[str]:
    means = {str(key): condition_means(group) for key, group in study.cells.groupby("setting")}
    families = dict.fromkeys(family(name) for found in means.values() for name in found)
    gains, accuracies = [], []
    for _, row in table[table["shift_accuracy_mean"].notna()].iterrows():
        found = family_means(means[row["setting"]])
        gains.append(
            identity(row)
            | {"n": str(row["n"]), "mean of shifts, %": mean_text(row, "shift_accuracy")}
            | {"gain, points [95 %]": gain_text(row, "shift_gain")}
            | {"p (t)": p_text(row["shift_p_value"]), "p (Holm)": p_text(row["shift_p_holm"])}
        )
        shown = {name: f"{100 * found[name]:.1f}" if name in found else "" for name in families}
        accuracies.append(identity(row) | shown)
    reading = _SHIFTS_READING
    if fewer := {
        f"{deformed_images(cell):,} of the {cell['test_size']:,} test images"
        for _, cell in study.cells.iterrows()
        if cell["shift"] and deformed_images(cell) < cell["test_size"]
    }:
        reading += (
            f" All of this is on {' or '.join(sorted(fewer))} (evaluation_images): to the accuracies on "
            "all of them it does not compare."
        )
    return [
        *("## Samples from outside", "", markdown_table(gains), "", reading, ""),
        *("### Accuracy by family", "", markdown_table(accuracies), "", _FAMILIES_READING, ""),
    ]


def _outside_section(study: Study, table: pd.DataFrame) -> list[str]:
    """Mean accuracy of each setting on each outside set, over its conditions."""
    sets = dict.fromkeys(
        condition.partition(":")[0] for found in study.cells["outside"] for condition in found
    )
    if not sets:
        return []
    by_setting = {str(key): group for key, group in study.cells.groupby("setting")}
    rows = []
    for _, row in table.iterrows():
        cells = identity(row)
        for name in sets:
            values = [
                accuracy
                for found in by_setting[row["setting"]]["outside"]
                for condition, accuracy in found.items()
                if condition.partition(":")[0] == name
            ]
            cells[name] = f"{100 * sum(values) / len(values):.1f}" if values else ""
        rows.append(cells)
    explained = "Accuracy in percent, the mean over an outside set's conditions and over seeds."
    return ["## Outside sets", "", markdown_table(rows), "", explained, ""]
