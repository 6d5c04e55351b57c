"""The model behind scripts/simulate_verdicts.py: right and wrong answers of two methods, made or fitted.

An answer is right where a normal variable passes a bound. It is the sum of an image's ease, a seed's
luck and a rest, each in a part that both methods share and a part of each method's own (a probit
model with crossed random effects). The six variances come from a real study: each of them alone
decides how often two answers that share the image, the seed or both are right together, so that it
can be found from that share (tetrachoric correlation, Pearson 1900). The bounds give the methods'
accuracies, and so the true gain, exactly.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, owens_t

Array = NDArray[Any]


@dataclass(frozen=True)
class Spread:
    """The mean accuracy of both methods, and the parts of a variance of 1."""

    accuracy: float
    image_shared: float
    image_own: float
    seed_shared: float
    seed_own: float
    rest_shared: float

    @property
    def rest_own(self) -> float:
        return 1 - float(sum(list(asdict(self).values())[1:]))


def together(accuracy: float, correlation: float) -> float:
    """The probability that two answers of this accuracy, correlated so, are both right (Owen 1956)."""
    bound = ndtri(accuracy)
    angle = math.sqrt((1 - correlation) / (1 + correlation))
    return float(ndtr(bound) - 2 * owens_t(bound, angle))


def correlation(accuracy: float, covariance: float) -> float:
    """What gives the answers this covariance; 0 for one that is not above 0."""
    if covariance <= 0:
        return 0.0

    def surplus(value: float) -> float:
        return together(accuracy, value) - accuracy**2 - covariance

    return float(brentq(surplus, 0.0, 1.0))


def components(spread: Spread) -> dict[str, float]:
    """Standard deviations of d without a gain, in points: between seeds, images, and the rest."""

    def differ(shared: float, own: float) -> float:
        one = together(spread.accuracy, shared + own) - together(spread.accuracy, shared)
        return 2 * max(0.0, one)

    seeds = differ(spread.seed_shared, spread.seed_own)
    images = differ(spread.image_shared, spread.image_own)
    shared = spread.image_shared + spread.seed_shared + spread.rest_shared
    whole = 2 * (spread.accuracy - together(spread.accuracy, shared))
    return _points(seeds, images, whole - seeds - images)


def _points(seeds: float, images: float, rest: float) -> dict[str, float]:
    named = {"seeds": seeds, "images": images, "rest": rest}
    return {name: round(100 * math.sqrt(max(0.0, value)), 3) for name, value in named.items()}


def fit(study: Path) -> dict[str, Any]:
    """The model of a study's hidden-layer and input cells of equal mode, alpha and seed."""
    rights: dict[tuple[str, str], dict[int, Array]] = defaultdict(dict)
    for file in sorted(study.glob("cells/*/result.json")):
        cell = json.loads(file.read_text())
        if cell["layer"] != "none":
            kept = load_file(file.with_name("predictions.safetensors"))
            right = (kept["clean/class"] == kept["label"]).astype(float)
            rights[cell["layer"], f"{cell['mode']}, alpha {cell['alpha']:g}"][cell["seed"]] = right
    moments, seeds, images = [], set(), set()
    for (layer, setting), treated in rights.items():
        baseline = rights.get(("input", setting), {})
        common = sorted(treated.keys() & baseline.keys())
        if layer != "input" and len(common) > 1:
            ours, theirs = (np.stack([each[s] for s in common]) for each in (treated, baseline))
            moments.append(_moments(ours, theirs))
            seeds.add(len(common))
            images.add(ours.shape[1])
    if not moments:
        raise SystemExit(f"{study}: no hidden layer and input with two seeds and predictions")
    mean = {name: float(np.mean([each[name] for each in moments])) for name in moments[0]}
    accuracy = mean["accuracy"]
    image = correlation(accuracy, mean["image_shared"])
    seed = correlation(accuracy, mean["seed_shared"])
    image_all = correlation(accuracy, max(0, mean["image_shared"]) + max(0, mean["image"]) / 2)
    seed_all = correlation(accuracy, max(0, mean["seed_shared"]) + max(0, mean["seed"]) / 2)
    both = correlation(accuracy, mean["cell_shared"])
    spread = Spread(accuracy, image, image_all - image, seed, seed_all - seed, both - image - seed)
    return {
        "study": study.name,
        "comparisons": len(moments),
        "seeds": min(seeds),
        "images": min(images),
        "observed": _points(mean["seed"], mean["image"], mean["rest"]),
        "model": components(spread),
        "spread": asdict(spread),
    }


def _moments(a: Array, b: Array) -> dict[str, float]:
    """Unbiased covariances of two methods' answers [n, N], and the components of a - b."""
    n, images = a.shape

    def apart(x: Array, y: Array, seeds: bool) -> float:
        """Mean product over pairs that differ in the seed, or else in the image."""
        axis, many = (0, n) if seeds else (1, images)
        products = (x.sum(axis) * y.sum(axis)).sum() - (x * y).sum()
        return float(products / (many * (many - 1) * (images if seeds else n)))

    def nothing(x: Array, y: Array) -> float:
        """Mean product over pairs that share neither."""
        same = (x * y).sum()
        products = x.sum() * y.sum() - (x.sum(0) * y.sum(0)).sum() - (x.sum(1) * y.sum(1)).sum()
        return float((products + same) / (n * (n - 1) * images * (images - 1)))

    d = a - b
    base, base_d = nothing(a, b), nothing(d, d)
    image, seed = apart(d, d, True) - base_d, apart(d, d, False) - base_d
    return {
        "accuracy": float((a.mean() + b.mean()) / 2),
        "image_shared": apart(a, b, True) - base,
        "seed_shared": apart(a, b, False) - base,
        "cell_shared": float((a * b).mean()) - base,
        "image": image,
        "seed": seed,
        "rest": float((d * d).mean()) - base_d - image - seed,
    }


def draw(
    spread: Spread, shape: tuple[int, int, int], arms: int, random: np.random.Generator
) -> Iterator[Array]:
    """The normal variable of each method in turn [studies, seeds, images]; right above a bound."""
    studies, seeds, images = shape

    def effect(variance: float, *size: int) -> Array:
        return random.standard_normal(size, dtype=np.float32) * np.float32(math.sqrt(variance))

    shared = effect(spread.rest_shared, *shape)
    shared += effect(spread.image_shared, studies, 1, images)
    shared += effect(spread.seed_shared, studies, seeds, 1)
    for _ in range(arms):
        own = effect(spread.rest_own, *shape)
        own += shared
        own += effect(spread.image_own, studies, 1, images)
        own += effect(spread.seed_own, studies, seeds, 1)
        yield own
