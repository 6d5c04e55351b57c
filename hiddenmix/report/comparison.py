"""From cells to settings: one row for each setting, its gain over the baselines, paired by seed.

A setting is a cell without its seed. Settings are told apart by their key alone and never pooled;
where two share data, network, layer, mode and alpha, the column `variant` shows what differs. CutMix
always stands there: its settings are compared with image CutMix, and none of mixup.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from hiddenmix.config import MIXING, MODELS, NO_TRAINING, mode_rank, show
from hiddenmix.report.answers import family, family_means, mean
from hiddenmix.report.depth import Rank, by_depth, depths
from hiddenmix.report.fields import leaves
from hiddenmix.report.statistics import PairedGain, holm, mean_interval, paired_gain
from hiddenmix.terminal import clean

PLAIN = "none"
INPUT = "input"

TABLE = (
    *("dataset", "model", "layer", "mode", "alpha", "n"),
    *("accuracy_mean", "accuracy_low", "accuracy_high"),
    *("gain_mean", "gain_low", "gain_high", "p_value", "p_permutation", "p_holm", "gain_n"),
    *("unpaired", "variant", "title"),
    *("gain_over_plain_mean", "gain_over_plain_low", "gain_over_plain_high"),
    *("gain_over_plain_p_value", "gain_over_plain_n"),
    *("gain_over_two_mean", "gain_over_two_low", "gain_over_two_high"),
    *("gain_over_two_p_value", "gain_over_two_n"),
    *("validation_accuracy_mean", "validation_accuracy_low", "validation_accuracy_high"),
    *("nll_mean", "nll_low", "nll_high", "ece_mean", "ece_low", "ece_high"),
    *("shift_accuracy_mean", "shift_accuracy_low", "shift_accuracy_high", "shifts"),
    *("shift_gain_mean", "shift_gain_low", "shift_gain_high", "shift_p_value"),
    *(
        "shift_p_permutation",
        "shift_p_holm",
        "shift_gain_n",
        "loss_mean",
        "seconds_mean",
        "images_per_second_mean",
    ),
    *("epochs", "parameters", "train_size", "test_size", "seeds", "setting", "baseline", "plain"),
    *("two_images", "disguised", "bypassed"),
)
"""Columns of `settings_table`. Accuracies, gains and ECE are fractions, NLL and loss nats, times
seconds; `unpaired` lists the seeds that no comparison with the baseline could use. `gain` is over
image mixup (of operation=cutmix, image CutMix) of as many images, `gain_over_two` over that of two."""

_NO_VARIANT = {*NO_TRAINING, "layer", "mode", "alpha", "seed"}  # these are columns of their own


def operation(variant: str) -> str:
    """`mixup` or `cutmix`, by a setting's `variant`."""
    return "cutmix" if "operation=cutmix" in variant.split(", ") else "mixup"


def image_mixing(variants: Iterable[str]) -> str:
    """What settings of these variants are compared with, in words: image mixup, image CutMix or both."""
    found = {operation(variant) for variant in variants}
    if found == {"cutmix"}:
        return "image CutMix"
    return "image mixup" if "cutmix" not in found else "image mixup (of CutMix, image CutMix)"


def first_hidden_layer(rows: pd.DataFrame, executed: Iterable[Sequence[str]]) -> str | None:
    """The layer that the paper's claim is judged on: the lowest single hidden layer (`by_depth`) among
    `rows` (of `settings_table`, of one network) that is no image mixup in disguise and that no part of
    an image flows past, as its results record."""
    return min(judged_layers(rows), key=by_depth(executed), default=None)


def judged_layers(rows: pd.DataFrame) -> list[str]:
    """The layers that the claim may be judged on, each once."""
    hidden = [
        row["layer"]
        for _, row in rows.iterrows()
        if row["layer"] not in (PLAIN, INPUT)
        and "+" not in row["layer"]
        and not row["disguised"]
        and not row["bypassed"]
    ]
    return list(dict.fromkeys(hidden))


def settings_table(results: pd.DataFrame, settings: Collection[str] | None = None) -> pd.DataFrame:
    """A row for each setting of `results` (`Study.cells`), with the columns `TABLE`; the layers of a
    network by depth, and whoever lists layers keeps the order of these rows.

    `settings` keeps the rows with these keys alone; baselines are still found among all results,
    and Holm's correction is over the rows that are kept. Seeds that only one side of a comparison
    has are left out of it and listed in `unpaired`. Blanks (NaN) stand where n = 1 allows no
    interval or p, and where a setting has no baseline.
    """
    cells = {str(key): group for key, group in results.groupby("setting", sort=False)}
    shifts = {str(name): _common(group) for name, group in results.groupby("title")}
    variants = _variants(cells)
    rows = [
        _row(group, cells, shifts[str(group["title"].iloc[0])]) | {"variant": variants[key]}
        for key, group in cells.items()
        if settings is None or key in settings
    ]
    ranks = depths(results)
    rows.sort(key=lambda row: _place(row, ranks[row["title"], row["model"]]))
    for kind in ("", "shift_"):
        corrected = holm([row.get(f"{kind}p_value") for row in rows])
        for row, p in zip(rows, corrected, strict=True):
            row[f"{kind}p_holm"] = p
    table = pd.DataFrame(rows, columns=list(TABLE), dtype=object)
    texts = {"dataset", "model", "layer", "mode", "unpaired", "variant", "title", "seeds"}
    texts |= {"setting", "baseline", "plain", "two_images", "disguised", "bypassed"}
    whole = {"n", "epochs", "parameters", "train_size", "test_size"}
    numbers = {name: "int64" if name in whole else "float64" for name in TABLE if name not in texts}
    return table.astype(numbers)


def _place(row: Mapping[str, Any], rank: Rank) -> tuple[Any, ...]:
    alpha = -1.0 if math.isnan(row["alpha"]) else row["alpha"]
    place = (row["title"], row["model"], rank(row["layer"]), mode_rank(row["mode"] or ""))
    return (*place, alpha, row["variant"], row["setting"])


def _row(
    group: pd.DataFrame, cells: Mapping[str, pd.DataFrame], shifts: list[str]
) -> dict[str, Any]:
    first = group.iloc[0]
    same = ("dataset", "title", "model", "layer", "mode", "alpha", "epochs", "parameters")
    keys = (*same, "train_size", "test_size", "setting", "baseline", "plain", "two_images")
    row: dict[str, Any] = {key: first[key] for key in keys}
    row |= {key: "+".join(first[key]) for key in ("disguised", "bypassed")}
    row |= {"n": len(group), "seeds": " ".join(map(str, sorted(group["seed"]))), "unpaired": ""}
    for metric in ("accuracy", "nll", "ece"):
        row |= _interval(metric, group[metric])
    if group["validation_accuracy"].notna().all():
        row |= _interval("validation_accuracy", group["validation_accuracy"])
    for metric in ("loss", "seconds", "images_per_second"):
        row[f"{metric}_mean"] = float(group[metric].mean())
    outside = shift_means(group, shifts)
    if outside:
        row |= _interval("shift_accuracy", outside.values()) | {
            "shifts": len({*map(family, shifts)})
        }
    clean_accuracy = by_seed(group, "accuracy")
    baseline = None if first["baseline"] == first["setting"] else cells.get(first["baseline"])
    plain = None if first["plain"] == first["setting"] else cells.get(first["plain"])
    if baseline is not None:
        other = by_seed(baseline, "accuracy")
        row["unpaired"] = " ".join(map(str, sorted(set(clean_accuracy) ^ set(other))))
        gain = common_gain(clean_accuracy, other)
        row |= _gain("gain", "p_value", gain)
        row["p_permutation"] = gain and gain.p_permutation
        shifted = common_gain(outside, shift_means(baseline, shifts))
        row |= _gain("shift_gain", "shift_p_value", shifted)
        row["shift_p_permutation"] = shifted and shifted.p_permutation
    two = cells.get(first["two_images"])
    if two is not None and first["two_images"] not in (first["setting"], first["baseline"]):
        gain = common_gain(clean_accuracy, by_seed(two, "accuracy"))
        row |= _gain("gain_over_two", "gain_over_two_p_value", gain)
    elif two is not None and first["two_images"] != first["setting"]:
        row |= {
            f"gain_over_two_{end}": row.get(f"gain_{end}") for end in ("mean", "low", "high", "n")
        }
        row["gain_over_two_p_value"] = row.get("p_value")
    if plain is not None:
        gain = common_gain(clean_accuracy, by_seed(plain, "accuracy"))
        row |= _gain("gain_over_plain", "gain_over_plain_p_value", gain)
    return row


def _interval(metric: str, values: Iterable[float]) -> dict[str, Any]:
    found = mean_interval(values)
    names = (f"{metric}_mean", f"{metric}_low", f"{metric}_high")
    return dict(zip(names, (found.mean, found.low, found.high), strict=True))


def _gain(name: str, p_name: str, gain: PairedGain | None) -> dict[str, Any]:
    if gain is None:
        return {}
    numbers = {"mean": gain.mean, "low": gain.low, "high": gain.high, "n": gain.n}
    return {f"{name}_{key}": value for key, value in numbers.items()} | {p_name: gain.p_value}


def common_gain(treated: Mapping[int, float], baseline: Mapping[int, float]) -> PairedGain | None:
    """`paired_gain` over the seeds that both have; None where they share none."""
    seeds = treated.keys() & baseline.keys()
    if not seeds:
        return None
    return paired_gain({s: treated[s] for s in seeds}, {s: baseline[s] for s in seeds})


def by_seed(group: pd.DataFrame, column: str) -> dict[int, float]:
    """Seed -> number of one setting's cells."""
    return {
        int(seed): float(value) for seed, value in zip(group["seed"], group[column], strict=True)
    }


def shift_means(group: pd.DataFrame, shifts: Collection[str]) -> dict[int, float]:
    """Seed -> accuracy averaged over the families of `shifts`, of the cells that were evaluated on all
    of them. A family counts once, however many strengths it has."""
    return {
        int(seed): mean(family_means({name: found[name] for name in shifts}).values())
        for seed, found in zip(group["seed"], group["shift"], strict=True)
        if shifts and found.keys() >= set(shifts)
    }


def condition_means(group: pd.DataFrame) -> dict[str, float]:
    """Shift or attack -> mean accuracy of one setting's cells that were evaluated under it."""
    found: dict[str, list[float]] = {}
    for conditions in (*group["shift"], *group["adversarial"]):
        for name, accuracy in conditions.items():
            found.setdefault(name, []).append(accuracy)
    return {name: sum(values) / len(values) for name, values in found.items()}


def _common(results: pd.DataFrame) -> list[str]:
    """The shifts that all evaluated cells share: means over different ones do not compare."""
    evaluated = [found.keys() for found in results["shift"] if found]
    return sorted(set(evaluated[0]).intersection(*evaluated)) if evaluated else []


def told_keys(config: Mapping[str, Any], *, mixing: bool = True) -> dict[str, str]:
    """The keys of a cell's configuration that make another network and are no columns of the table, with
    their values as text; `mixing`: those of mixing too, which mean nothing to plain training."""
    skipped = _NO_VARIANT | (set() if mixing else {*MIXING})
    found: dict[str, str] = {}
    for key, value in leaves(config).items():
        if key in skipped or key.startswith("dataset.outside"):
            continue
        square = key == "dataset.resize" and isinstance(value, list) and len({*value}) == 1
        found[clean(key)] = show(value[0] if square else value)  # [64,64] is 64, to cells too
    return found


def model_defaults(name: str) -> dict[str, str]:
    """`model.<key>` -> default of the kind of network that `model=<name>` asks for."""
    found = [each() for each in MODELS if each().name == name]
    return {
        f"model.{key}": show(value) for each in found for key, value in leaves(asdict(each)).items()
    }


def _variants(cells: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Setting -> the configuration keys that vary among the settings of one data set and network.

    Where no key tells two equal-looking settings apart, the end of the setting's key does.
    """
    firsts = {key: group.iloc[0] for key, group in cells.items()}
    flat: dict[str, dict[str, str]] = {}
    values: dict[tuple[str, str, str], set[str]] = {}
    for setting, first in firsts.items():
        flat[setting] = told_keys(first["config"], mixing=first["layer"] != PLAIN)
        for key, value in flat[setting].items():
            values.setdefault((first["title"], first["model"], key), set()).add(value)
    variants: dict[str, str] = {}
    alike: dict[tuple[Any, ...], list[str]] = {}
    for setting, first in firsts.items():
        place = (first["title"], first["model"])
        pairs = [
            f"{key}={value}"
            for key, value in flat[setting].items()
            if (value == "cutmix" if key == "operation" else len(values[*place, key]) > 1)
        ]
        variants[setting] = ", ".join(pairs)
        mixed = (*place, first["layer"], first["mode"], str(first["alpha"]), variants[setting])
        alike.setdefault(mixed, []).append(setting)
    for settings in alike.values():
        if len(settings) > 1:
            for setting in settings:
                variants[setting] = ", ".join(filter(None, [variants[setting], setting[-8:]]))
    return variants
