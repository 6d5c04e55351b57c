"""The study's questions, fixed beforehand, each answered once: what mixing at the layer gains.

One question for each data set, network and variant, on the clean test images: accuracy when mixing at
the lowest hidden layer (in no disguise) minus accuracy of image mixup (of CutMix, image CutMix: the
operation is part of the variant, so that none are pooled) with as many images and the same
alpha, averaged over the study's (K, alpha) grid within a seed. The same is asked on samples from
outside: the shifts, and each outside set. Settings behind it carry no verdict.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hiddenmix.report.answers import CLEAN, SHIFTS, Answers, family
from hiddenmix.report.comparison import INPUT, PLAIN, first_hidden_layer
from hiddenmix.report.decision import FEWEST, Need, what_would_decide
from hiddenmix.report.sequential import Between, Look, judge
from hiddenmix.report.statistics import holm
from hiddenmix.report.two_way import Gain, seeds_alone, two_way

Pair = tuple[str, str]
"""Keys of two settings: the treated one and what it is compared with."""


@dataclass(frozen=True)
class Question:
    """One question and its answer."""

    title: str
    model: str
    variant: str
    layer: str | None
    """The lowest hidden layer; None where the study mixes at none."""

    what: str
    """`clean`, `shift` or `outside/<name>`."""

    rows: pd.DataFrame
    """The settings behind the answer, rows of `settings_table`."""

    gain: Gain | None
    """None where no seed has the whole grid and its baselines."""

    word: str
    need: Need | None
    """What would decide an undecided one."""

    mixup: Gain | None
    """What image mixup (or CutMix) itself gains over plain training, over the same grid and those of
    the same seeds that plain training has; None where a part of the grid has none beside it."""

    look: Look | None
    """With `repeats=auto`, what the planned look says: `word` is its word, at its level."""

    left_out: tuple[int, ...]
    """Seeds that lack a part of the grid or its baselines."""

    without_predictions: int
    """Cells of the question whose predictions are missing, so that test images are no factor."""

    by_seed: Mapping[int, float]
    """The gain of each seed, a fraction: the one number a seed that is tested."""

    between: Between | None = None
    """With `repeats=auto`, the planned looks around a number of seeds that is none of them."""

    changed: str = ""
    """How it was another question when a verdict was drawn before; empty: it was fixed beforehand."""

    settings: tuple[str, ...] = ()
    """Keys of all settings of its data set, network and variant that mix, at whatever layer."""

    alone: tuple[str, ...] = ()
    """Settings of K and α at the layer that are left out, as no network mixed as many images."""

    families: Sequence["Family"] = ()
    """Of shifts, what is found in each family; the answer is their mean."""

    passed_over: tuple[str, ...] = ()
    """Where `layer` is None: hidden layers that the study mixes at and no question is about."""


@dataclass(frozen=True)
class Family:
    """What mixing at the question's layer gains on one family of shifts: it explores."""

    name: str
    gain: Gain
    p_holm: float | None
    """Corrected over the question's families."""
    mixup: Gain | None
    """As of `Question`."""


def questions(
    table: pd.DataFrame, cells: pd.DataFrame, answers: Answers, margin: float
) -> list[Question]:
    """Every question of a study, `margin` as a fraction. The clean ones come first."""
    by_setting = {str(key): group for key, group in cells.groupby("setting", sort=False)}
    found: list[Question] = []
    for (title, model, variant), rows in _groups(table):
        executed = cells.loc[cells["setting"].isin(rows["setting"]), "layers"]
        layer = first_hidden_layer(rows, executed)
        asked = rows[rows["layer"] == layer]
        beside = asked["baseline"].isin(by_setting.keys())
        grid = asked[beside]
        kinds = _kinds(grid, by_setting, answers) if layer else [CLEAN]
        hidden = dict.fromkeys(each for each in rows["layer"] if each not in (PLAIN, INPUT))
        found += [
            replace(
                _ask((title, model, variant, layer, what), grid, by_setting, answers, margin),
                settings=tuple(rows["setting"]),
                passed_over=() if layer else tuple(hidden),
                alone=tuple(map(_grid_text, asked["mode"][~beside], asked["alpha"][~beside])),
            )
            for what in kinds
        ]
    return sorted(found, key=lambda each: (each.what != CLEAN, each.what != SHIFTS, each.what))


def _grid_text(mode: str, alpha: float) -> str:
    return f"{mode} α={alpha:g}"


def _groups(table: pd.DataFrame) -> Iterator[tuple[tuple[str, str, str], pd.DataFrame]]:
    mixing = table[table["layer"] != PLAIN]
    for (title, model, variant), rows in mixing.groupby(["title", "model", "variant"], sort=False):
        yield (str(title), str(model), str(variant)), rows


def _kinds(
    grid: pd.DataFrame, by_setting: Mapping[str, pd.DataFrame], answers: Answers
) -> list[str]:
    """What there are answers of, by any cell of the question; `clean` in any case."""
    found = [CLEAN]
    for setting in grid["setting"]:
        for _, cell in by_setting[setting].iterrows():
            found += answers.kinds(cell["cell"])
            found += [SHIFTS] if cell["shift"] else []
    return list(dict.fromkeys(found))


def _ask(
    about: tuple[str, str, str, str | None, str],
    grid: pd.DataFrame,
    by_setting: Mapping[str, pd.DataFrame],
    answers: Answers,
    margin: float,
) -> Question:
    title, model, variant, layer, what = about
    compared, over_plain = _compared(grid, what, by_setting, answers)
    gain = compared.gain
    verdict, look, between, need = "undecided", None, None, None
    if gain is not None:
        verdict, look, between = judge(gain, margin, _most_seeds(grid, by_setting))
        if verdict == "undecided" and between is None:
            need = what_would_decide(gain, margin)
    return Question(
        title=title,
        model=model,
        variant=variant,
        layer=layer,
        what=what,
        rows=grid,
        gain=gain,
        word=verdict,
        need=need,
        mixup=over_plain,
        look=look,
        between=between,
        left_out=compared.left_out,
        without_predictions=compared.without_predictions,
        by_seed=compared.by_seed,
        families=_families(grid, by_setting, answers) if what == SHIFTS else (),
    )


def _compared(
    grid: pd.DataFrame, what: str, by_setting: Mapping[str, pd.DataFrame], answers: Answers
) -> tuple["Compared", Gain | None]:
    """The settings of `grid` against mixing images, and that against plain training."""
    pairs = [(row["setting"], row["baseline"]) for _, row in grid.iterrows()]
    plain = [(row["baseline"], row["plain"]) for _, row in grid.iterrows()]
    compared = compare(pairs, what, by_setting, answers)
    # The baselines of several K or alpha share one plain training.
    over_plain = compare(list(dict.fromkeys(plain)), what, by_setting, answers, compared.by_seed)
    return compared, over_plain.gain


def _families(
    grid: pd.DataFrame, by_setting: Mapping[str, pd.DataFrame], answers: Answers
) -> list[Family]:
    """By gain, the largest first."""
    conditions = [
        name for each in grid["setting"] for found in by_setting[each]["shift"] for name in found
    ]
    compared = {
        name: _compared(grid, f"{SHIFTS}/{name}", by_setting, answers)
        for name in dict.fromkeys(map(family, conditions))
    }
    gains = {name: each.gain for name, (each, _) in compared.items() if each.gain is not None}
    p_values = [gain.p_known for gain in gains.values()]
    found = [
        Family(name, gain, p, compared[name][1])
        for (name, gain), p in zip(gains.items(), holm(p_values), strict=True)
    ]
    return sorted(found, key=lambda each: -each.gain.mean)


def _most_seeds(grid: pd.DataFrame, by_setting: Mapping[str, pd.DataFrame]) -> int | None:
    """`max_repeats` of a question that `repeats=auto` asked; None where it never did. Seeds that were
    there before, or came later by another number, do not end its plan."""
    configs = [config for setting in grid["setting"] for config in by_setting[setting]["config"]]
    most = [each.get("max_repeats") for each in configs if each.get("repeats") == "auto"]
    known = [each for each in most if isinstance(each, int) and each >= FEWEST]
    return max(known, default=None)


@dataclass(frozen=True)
class Compared:
    """The mean difference over pairs of settings, paired by seed and test image."""

    gain: Gain | None
    left_out: tuple[int, ...]
    without_predictions: int
    by_seed: Mapping[int, float]
    """Seed -> mean difference."""
    matrix: NDArray[np.float64] | None
    """[n, N], where all predictions are there."""


def compare(
    pairs: Sequence[Pair],
    what: str,
    by_setting: Mapping[str, pd.DataFrame],
    answers: Answers,
    among: Collection[int] | None = None,
) -> Compared:
    """The mean of treated minus baseline over `pairs`, within each seed that all of them have, of those
    `among` if that is given. Nothing where a setting has no cell.

    Where predictions are missing, seeds alone are a factor: of clean accuracy and of that under shifts,
    which the results hold.
    """
    settings = {setting for pair in pairs for setting in pair}
    if not settings or not settings <= by_setting.keys():
        return Compared(None, (), 0, {}, None)
    by_seed = {
        key: {
            int(seed): cell
            for seed, (_, cell) in zip(
                by_setting[key]["seed"], by_setting[key].iterrows(), strict=True
            )
        }
        for key in settings
    }
    seeds = sorted(set.intersection(*(set(found) for found in by_seed.values())))
    everywhere = set().union(*by_seed.values())
    left_out = tuple(sorted(everywhere - set(seeds)))
    seeds = [seed for seed in seeds if among is None or seed in among]
    if not seeds:
        return Compared(None, left_out, 0, {}, None)
    rights = {
        (key, seed): answers.right(by_seed[key][seed]["cell"], what)
        for key in settings
        for seed in seeds
    }
    sizes = Counter(len(right) for right in rights.values() if right is not None)
    size = max(sizes, key=lambda each: sizes[each], default=0)
    missing = len(rights) - sizes[size]  # of another number of images: damaged
    if missing:
        differences = _from_results(pairs, by_seed, seeds, what)
        gain = seeds_alone(differences.values()) if differences else None
        return Compared(gain, left_out, missing, differences, None)
    matrix = np.zeros((len(seeds), size))
    for treated, baseline in pairs:
        for place, seed in enumerate(seeds):
            ours, theirs = rights[treated, seed], rights[baseline, seed]
            assert ours is not None
            assert theirs is not None
            matrix[place] += (ours - theirs) / len(pairs)
    means = dict(zip(seeds, matrix.mean(axis=1).tolist(), strict=True))
    return Compared(two_way(matrix), left_out, 0, means, matrix)


def _from_results(
    pairs: Sequence[Pair],
    by_seed: Mapping[str, Mapping[int, pd.Series]],
    seeds: Sequence[int],
    what: str,
) -> dict[int, float]:
    """Seed -> mean difference in accuracy; none where the results do not hold all of it."""
    found: dict[int, float] = {}
    for seed in seeds:
        differences = [
            accuracy(by_seed[a][seed], what) - accuracy(by_seed[b][seed], what) for a, b in pairs
        ]
        found[seed] = float(np.mean(differences))
    return found if all(map(math.isfinite, found.values())) else {}


def accuracy(cell: pd.Series, what: str) -> float:
    """The accuracy that a result holds of clean images, of a family of shifts (the mean over strengths)
    or of all of them (the mean over families); NaN where it holds none."""
    if what == CLEAN:
        return float(cell["accuracy"])
    families: dict[str, list[float]] = {}
    for name, right in cell["shift"].items():
        families.setdefault(f"{SHIFTS}/{family(name)}", []).append(right)
    means = {name: sum(strengths) / len(strengths) for name, strengths in families.items()}
    if what == SHIFTS:
        return sum(means.values()) / len(means) if means else math.nan
    return means.get(what, math.nan)
