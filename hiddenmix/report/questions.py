"""The study's questions, fixed beforehand, each answered once: what mixing at the layer gains.

One question for each data set, network and variant, on the clean test images: accuracy when mixing at
the lowest hidden layer (in no disguise) minus accuracy of image mixup (of CutMix, image CutMix: the
operation is part of the variant, so that none are pooled) with as many images and the same
alpha, averaged over the study's (K, alpha) grid within a seed. The same is asked on samples from
outside: the shifts, and each outside set. Settings behind it carry no verdict.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hiddenmix.report.answers import CLEAN, CLEAN_SUBSET, SHIFTS, Answers, family
from hiddenmix.report.comparison import INPUT, PLAIN, first_hidden_layer
from hiddenmix.report.decision import FEWEST, Need, what_would_decide
from hiddenmix.report.heterogeneity import Odd, odd_one
from hiddenmix.report.pairing import Compared, compare
from hiddenmix.report.sequential import Between, Look, judge
from hiddenmix.report.statistics import holm
from hiddenmix.report.two_way import Gain


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

    by_setting: Mapping[str, float] = field(default_factory=dict)
    """Setting of K and α -> its gain, of the same seeds; where all answers are there."""

    odd: Odd | None = None
    """The setting of K and α that differs most surely from the others."""

    unshifted: Gain | None = None
    """Of shifts that were measured on a part of the test images: the gain on these as they are."""

    over_plain: Gain | None = None
    """What mixing at the layer gains over plain training; as `mixup`."""

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
    """As of `Question`, and the next."""
    over_plain: Gain | None


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
    return f"{mode} α={alpha:.12g}"  # settings that differ have names that differ


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
    compared, mixup, over_plain = _compared(grid, what, by_setting, answers)
    gain = compared.gain
    verdict, look, between, need = "undecided", None, None, None
    each = _each_setting(grid, what, by_setting, answers, compared)
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
        mixup=mixup,
        over_plain=over_plain,
        look=look,
        between=between,
        left_out=compared.left_out,
        without_predictions=compared.without_predictions,
        by_seed=compared.by_seed,
        families=_families(grid, by_setting, answers) if what == SHIFTS else (),
        by_setting={name: float(matrix.mean()) for name, matrix in each.items()},
        odd=odd_one(each),
        unshifted=_unshifted(grid, what, by_setting, answers, compared),
    )


def _each_setting(
    grid: pd.DataFrame,
    what: str,
    by_setting: Mapping[str, pd.DataFrame],
    answers: Answers,
    compared: Compared,
) -> dict[str, NDArray[np.float64]]:
    """Setting of K and α -> its differences [n, N] over the seeds of the question."""
    if compared.matrix is None:
        return {}
    names = list(map(_grid_text, grid["mode"], grid["alpha"]))
    if len(names) == 1:
        return {names[0]: compared.matrix}
    found = {}
    for name, pair in zip(names, zip(grid["setting"], grid["baseline"], strict=True), strict=True):
        own = compare([pair], what, by_setting, answers, compared.by_seed)
        if own.matrix is not None:
            found[name] = own.matrix
    return found


def _unshifted(
    grid: pd.DataFrame,
    what: str,
    by_setting: Mapping[str, pd.DataFrame],
    answers: Answers,
    compared: Compared,
) -> Gain | None:
    """The gain on the clean images that shifts were measured on, where these are fewer than all."""
    if what != SHIFTS or compared.gain is None:
        return None
    pairs = [(row["setting"], row["baseline"]) for _, row in grid.iterrows()]
    part = compare(pairs, CLEAN_SUBSET, by_setting, answers, compared.by_seed).gain
    fewer = part is not None and 0 < part.images < int(grid["test_size"].max())
    return part if fewer else None


def _compared(
    grid: pd.DataFrame, what: str, by_setting: Mapping[str, pd.DataFrame], answers: Answers
) -> tuple[Compared, Gain | None, Gain | None]:
    """The settings of `grid` against mixing images, that against plain training, and the settings against
    plain training."""

    def against(side: str, other: str, among: Collection[int] | None = None) -> Compared:
        # Settings may share a baseline, and a pair counts once.
        pairs = dict.fromkeys(zip(grid[side], grid[other], strict=True))
        return compare(list(pairs), what, by_setting, answers, among)

    compared = against("setting", "baseline")
    images = against("baseline", "plain", compared.by_seed)
    layer = against("setting", "plain", compared.by_seed)
    return compared, images.gain, layer.gain


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
    known = [
        (name, each.gain, images, layer)
        for name, (each, images, layer) in compared.items()
        if each.gain is not None
    ]
    corrected = holm([gain.p_known for _, gain, _, _ in known])
    found = [
        Family(name, gain, p, images, layer)
        for (name, gain, images, layer), p in zip(known, corrected, strict=True)
    ]
    return sorted(found, key=lambda each: -each.gain.mean)


def _most_seeds(grid: pd.DataFrame, by_setting: Mapping[str, pd.DataFrame]) -> int | None:
    """`max_repeats` of a question that `repeats=auto` asked; None where it never did. Seeds that were
    there before, or came later by another number, do not end its plan."""
    configs = [config for setting in grid["setting"] for config in by_setting[setting]["config"]]
    most = [each.get("max_repeats") for each in configs if each.get("repeats") == "auto"]
    known = [each for each in most if isinstance(each, int) and each >= FEWEST]
    return max(known, default=None)
