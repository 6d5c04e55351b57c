"""How often is a verdict wrong? Made studies of known gain, judged by the report's own rule.

python scripts/simulate_verdicts.py --studies 10000       # the tables of docs/simulations.md
python scripts/simulate_verdicts.py --study outputs/mine  # fit the model to kept predictions first;
                                                          # of several the first, the others last

The model stands in scripts/verdict_model.py, what was fitted last in scripts/simulate_verdicts.json.
"""

import argparse
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtr
from verdict_model import Array, Spread, correlation, draw, fit

from hiddenmix.report.decision import FEWEST, FEWEST_IMAGES, LEVEL, inside, large_enough
from hiddenmix.report.sequential import LOOKS, equal_level, level
from hiddenmix.report.statistics import holm
from hiddenmix.report.two_way import standard_error

STORED = Path(__file__).with_suffix(".json")
MARGIN = 0.005
GAINS = (0.0, 0.003, 0.005, 0.01, 0.02)
SEEDS = (3, 6, 10, 20)
IMAGES = (360, 2000, 10_000)
WORDS = ("undecided", "supported", "contradicted", "equal")


@dataclass(frozen=True)
class Judged:
    """Made studies of one true gain at one number of seeds, as the report would see them [R]."""

    rows: Array
    """Sums over images of d [R, n], whole numbers."""
    size: int
    """N, the number of test images."""
    mean: Array
    error: Array
    degrees: Array
    seed_error: Array
    effective: Array

    def p_of(self, gain: float | Array) -> Array:
        distance = np.abs(self.mean - gain)
        with np.errstate(invalid="ignore", divide="ignore"):  # an error of 0, as below
            p = stdtr(self.degrees, -distance / self.error)
        seeds_alone = stdtr(self.rows.shape[1] - 1, -distance / self.seed_error)
        return np.asarray(2 * np.maximum(p, seeds_alone))

    def words(self, alpha: float = LEVEL, equal_alpha: float = LEVEL) -> Array:
        """Indices of `WORDS`, by the rule of hiddenmix.report.decision, for all studies at once."""
        found = np.zeros(len(self.mean), dtype=int)
        if self.rows.shape[1] < FEWEST:
            return found
        if large_enough(self.size, MARGIN):
            limit = inside(MARGIN, self.size)
            one_sided = self.p_of(np.copysign(limit, self.mean)) / 2
            found[(np.abs(self.mean) < limit) & (one_sided < equal_alpha)] = 3
        for place in np.flatnonzero(self.p_of(0.0) < alpha):
            if flip_p(self.rows[place]) < LEVEL:
                found[place] = 1 if self.mean[place] > 0 else 2
        found[self.effective < FEWEST_IMAGES] = 0
        return found


def flip_p(rows: Array) -> float:
    """The sign-flip p of whole numbers: their sums under all signs are counted, not drawn."""
    total, squares = abs(int(rows.sum())), max(1, int((rows**2).sum()))
    bound = 2 * math.exp(-(total**2) / (2 * squares))  # Hoeffding (1963): never too small
    if bound < LEVEL:
        return bound
    sums = np.ones(1)
    for size in np.abs(rows):
        longer = np.zeros(len(sums) + 2 * int(size))
        longer[: len(sums)] += sums / 2
        longer[len(longer) - len(sums) :] += sums / 2
        sums = longer
    middle = len(sums) // 2
    return float(sums[np.abs(np.arange(len(sums)) - middle) >= total].sum())


def judged(d: Array, counts: Sequence[int]) -> dict[int, Judged]:
    """The first n seeds of d [R, seeds, images] for each n of `counts`, in rising order."""
    studies, _, images = d.shape
    rows = d.sum(2, dtype=np.int64)
    ones = np.count_nonzero(d, axis=2)
    columns = np.zeros((studies, images), np.int16)
    before, found = 0, {}
    for n in counts:
        columns = columns + d[:, before:n].sum(1, dtype=np.int16)
        before = n
        mean_square = rows[:, :n].sum(1) ** 2 / (n * images)
        by_seed = (rows[:, :n] ** 2).sum(1) / images - mean_square
        squares = np.einsum("ri,ri->r", columns, columns, dtype=np.float64)
        by_image = squares / n - mean_square
        rest = ones[:, :n].sum(1) - mean_square - by_seed - by_image
        ms = (by_seed / (n - 1), by_image / (images - 1), rest / ((n - 1) * (images - 1)))
        ms_seeds = np.where(ms[0] > 1e-12, ms[0], 0)
        with np.errstate(invalid="ignore", divide="ignore"):  # not one answer differs: undecided
            error, degrees = standard_error(ms_seeds, ms[1], ms[2], n, images)
        found[n] = Judged(
            rows=rows[:, :n],
            size=images,
            mean=rows[:, :n].sum(1) / (n * images),
            error=error,
            degrees=degrees,
            # As in Gain.p_of, no spread between seeds leaves the other test alone.
            seed_error=np.maximum(np.sqrt(ms_seeds / (n * images)), 1e-12),
            effective=np.abs(columns).sum(1, dtype=np.float64) ** 2 / np.maximum(squares, 1),
        )
    return found


def former(differences: Array) -> Array:
    """The p of the paired t-test over seeds, differences [..., n]: the rule before this one."""
    n = differences.shape[-1]
    error = np.maximum(differences.std(axis=-1, ddof=1) / math.sqrt(n), 1e-12)
    return np.asarray(2 * stdtr(n - 1, -np.abs(differences.mean(axis=-1)) / error))


def simulate(
    spread: Spread,
    images: int,
    studies: int,
    gains: Sequence[float],
    counts: Sequence[int],
    key: int,
) -> Iterator[tuple[float, dict[int, Judged]]]:
    """Blocks of made studies: the true gain, and what they show at each number of seeds."""
    random = np.random.default_rng([key, images])
    block = max(1, min(studies, 3_000_000 // (counts[-1] * images)))
    for start in range(0, studies, block):
        shape = (min(block, studies - start), counts[-1], images)
        treated, baseline = draw(spread, shape, 2, random)
        for gain in gains:
            half = min(gain / 2, 1 - spread.accuracy)
            right = treated > np.float32(-ndtri(spread.accuracy + half))
            d = right.astype(np.int8) - (baseline > np.float32(-ndtri(spread.accuracy - half)))
            yield gain, judged(d, counts)


def rates(
    spread: Spread, images: int, studies: int, gains: Sequence[float] = GAINS, key: int = 0
) -> tuple[dict[tuple[float, int], Counter[str]], dict[float, Counter[str]]]:
    """Counts by gain and number of seeds, and by gain for `repeats=auto`."""
    fixed: dict[tuple[float, int], Counter[str]] = defaultdict(Counter)
    auto: dict[float, Counter[str]] = defaultdict(Counter)
    counts = sorted({*SEEDS, *LOOKS})
    for gain, found in simulate(spread, images, studies, gains, counts, key):
        ended = np.zeros(len(found[FEWEST].mean), dtype=int)
        spent = np.full(len(ended), LOOKS[-1])
        for n, study in found.items():
            if n in SEEDS:
                count = fixed[gain, n]
                count.update(np.array(WORDS)[study.words()].tolist())
                count["covered"] += int((study.p_of(gain) >= LEVEL).sum())
                old = former(study.rows / images) < LEVEL
                count["former +"] += int((old & (study.mean > 0)).sum())
                count["former -"] += int((old & (study.mean < 0)).sum())
            if n in LOOKS:
                new = study.words(level(n), equal_level(n))
                spent[(ended == 0) & (new > 0)] = n
                ended = np.where(ended == 0, new, ended)
        auto[gain].update(np.array(WORDS)[ended].tolist())
        auto[gain]["seeds"] += int(spent.sum())
    return fixed, auto


def former_family(spread: Spread, images: int, studies: int, key: int = 0) -> dict[int, float]:
    """Share of studies without any gain that the former rule gave a word other than undecided: six
    settings, each against its own baseline, Holm's correction, and no two of opposite signs."""
    random = np.random.default_rng([key, images, 6])
    wrong = dict.fromkeys(SEEDS, 0)
    block = max(1, min(studies, 3_000_000 // (SEEDS[-1] * images)))
    for start in range(0, studies, block):
        shape = (min(block, studies - start), SEEDS[-1], images)
        bound = np.float32(-ndtri(spread.accuracy))
        answers = [(arm > bound).mean(axis=2) for arm in draw(spread, shape, 12, random)]
        differences = np.stack(answers[::2]) - np.stack(answers[1::2])
        for n in SEEDS:
            p, mean = former(differences[..., :n]), differences[..., :n].mean(axis=2)
            for place in range(shape[0]):
                low = np.array(holm(p[:, place].tolist()), dtype=float) < LEVEL
                wrong[n] += len({bool(sign) for sign in mean[low, place] > 0}) == 1
    return {n: count / studies for n, count in wrong.items()}


def tables(spread: Spread, studies: int, key: int, images: Sequence[int] = IMAGES) -> Iterator[str]:
    """Lines of Markdown; of test sets that are smaller than the largest, up to 4 times the studies."""
    many = {size: studies * min(4, max(images) // size) for size in images}
    found = {size: rates(spread, size, many[size], key=key) for size in images}
    yield "| N | n | true gain | supported | contradicted | equal | undecided | coverage | t + | t − |"
    yield "|---:" * 10 + "|"
    for size, (fixed, _) in found.items():
        for (gain, n), count in sorted(fixed.items(), key=lambda item: item[0][::-1]):
            names = (*WORDS[1:], WORDS[0], "covered", "former +", "former -")
            shown = [f"{100 * count[name] / many[size]:.1f}" for name in names]
            yield f"| {size:,} | {n} | {100 * gain:g} | " + " | ".join(shown) + " |"
    yield ""
    yield "| N | true gain | supported | contradicted | equal | undecided | mean seeds |"
    yield "|---:" * 7 + "|"
    for size, (_, auto) in found.items():
        for gain, count in auto.items():
            shown = [f"{100 * count[name] / many[size]:.1f}" for name in (*WORDS[1:], WORDS[0])]
            seeds = f"{count['seeds'] / many[size]:.1f}"
            yield f"| {size:,} | {100 * gain:g} | " + " | ".join(shown) + f" | {seeds} |"
    yield ""
    yield "| N | " + " | ".join(f"n = {n}" for n in SEEDS) + " |"
    yield "|---:" * (1 + len(SEEDS)) + "|"
    for size in images:
        family = former_family(spread, size, max(1, studies // 4), key)
        yield f"| {size:,} | " + " | ".join(f"{100 * rate:.1f}" for rate in family.values()) + " |"


def other_models(fits: Sequence[dict[str, Any]]) -> dict[str, Spread]:
    """Models beside that of the first study, to see where the rule fails."""
    spread, *_ = spreads = [Spread(**each["spread"]) for each in fits]
    return {
        **dict(zip([f"`{each['study']}`" for each in fits], spreads, strict=True)),
        **{
            f"seeds {points:g} points": replace(
                spread, seed_own=correlation(spread.accuracy, (points / 100) ** 2 / 2)
            )
            for points in (0.0, 0.2, 1.0)
        },
        "image effects × 1.5": replace(spread, image_own=2.25 * spread.image_own),
        "99 % right": replace(spread, accuracy=0.99),
        "99.5 % right": replace(spread, accuracy=0.995),
    }


def sensitivity(
    models: dict[str, Spread], studies: int, key: int, images: Sequence[int]
) -> Iterator[str]:
    """Lines of Markdown: errors and coverage of the rule where the model is another."""
    yield (
        "| model | N | n | false at 0 | equal at 0.5 | coverage at 0 | coverage at 1 "
        "| auto: false at 0 | auto: equal at 0.5 |"
    )
    yield "|---" + "|---:" * 8 + "|"
    for name, model in models.items():
        for size in images:
            fixed, auto = rates(model, size, studies, (0.0, MARGIN, 0.01), key)
            for n in (FEWEST, SEEDS[-1]):
                none, at, more = (fixed[gain, n] for gain in (0.0, MARGIN, 0.01))
                counts = [none["supported"] + none["contradicted"], at["equal"]]
                counts += [none["covered"], more["covered"]]
                counts += [
                    auto[0.0]["supported"] + auto[0.0]["contradicted"],
                    auto[MARGIN]["equal"],
                ]
                shown = " | ".join(f"{100 * count / studies:.1f}" for count in counts)
                yield f"| {name} | {size:,} | {n} | {shown} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--study", type=Path, nargs="+", help="fit to these first, and store it")
    parser.add_argument("--stored", type=Path, default=STORED, help="the models' file")
    parser.add_argument("--studies", type=int, default=2000, help="made studies a line")
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES, help="test images")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.study:
        found = [fit(study) for study in given.study]
        given.stored.write_text(json.dumps(found, indent=1) + "\n")
    models = other_models(json.loads(given.stored.read_text()))
    for line in tables(next(iter(models.values())), given.studies, given.seed, given.images):
        print(line, flush=True)
    print()
    for line in sensitivity(models, max(1, given.studies // 2), given.seed, given.images[:2]):
        print(line, flush=True)


if __name__ == "__main__":
    main()
