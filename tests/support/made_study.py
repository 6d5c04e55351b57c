"""Makes study folders with invented results, in the format of result.json, for tests."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

SHIFTS = {
    **{"rotation_20": 0.10, "rotation_40": 0.30, "shear_28.6": 0.15, "shear_57.3": 0.35},
    **{"zoom_0.6": 0.35, "zoom_0.8": 0.08, "zoom_1.2": 0.05, "zoom_1.4": 0.20},
    **{"translation_0.125": 0.10, "translation_0.25": 0.30, "noise_0.05": 0.04, "noise_0.1": 0.15},
    **{"noise_0.2": 0.35, "blur_0.04": 0.03, "blur_0.08": 0.15, "blur_0.12": 0.35},
    **{"contrast_0.4": 0.15, "contrast_0.7": 0.03, "contrast_1.5": 0.04},
}
"""Each shift's loss of accuracy in the made studies, as a fraction."""

Gain = Callable[[str, str | None, float | None], float]
"""True gain over image mixup at (layer, mode, alpha), as a fraction."""


def no_gain(layer: str, mode: str | None, alpha: float | None) -> float:
    return 0.0


def cell_id(layer: str, mode: str | None, alpha: float | None, seed: int, variant: str = "") -> str:
    return f"{setting_key(layer, mode, alpha, variant)}-s{seed}"


def setting_key(layer: str, mode: str | None, alpha: float | None, variant: str = "") -> str:
    middle = f"{layer}-{mode}-a{alpha:g}" if alpha is not None else "none"
    return f"digits-cnn-{middle}-{variant or '0' * 8}"


def made_result(
    layer: str,
    mode: str | None,
    alpha: float | None,
    seed: int,
    *,
    gain: Gain = no_gain,
    noise: float = 0.004,
    full: bool = True,
    variant: str = "",
    lr: float = 0.05,
    digest: str = "0123456789abcdef" * 2,
    title: str = "Digits",
) -> dict[str, Any]:
    """One cell's result. A seed's luck is common to all its settings, so that pairing helps."""
    common = np.random.default_rng([seed]).normal(0, 0.008)
    own = np.random.default_rng([seed, *f"{layer}{mode}{alpha}{variant}".encode()])
    accuracy = float(np.clip(0.61 + common + own.normal(0, noise), 0, 1))
    accuracy += -0.02 if layer == "none" else gain(layer, mode, alpha)
    count = [int(n) for n in 10 + 60 * np.linspace(0, 1, 15) ** 2]
    confidence = [(i + 0.5) / 15 for i in range(15)]
    slack = 0.15 if layer == "none" else -0.05
    result: dict[str, Any] = {
        **{"format": 2, "status": "done", "cell": cell_id(layer, mode, alpha, seed, variant)},
        "setting": setting_key(layer, mode, alpha, variant),
        "baseline": setting_key("input", mode, alpha, variant) if alpha else None,
        "two_images": setting_key("input", "siamese", alpha, variant) if alpha else None,
        "plain": setting_key("none", None, None, variant),
        **{"dataset": "digits", "title": title, "model": "cnn", "layer": layer},
        **{"mode": mode, "alpha": alpha, "seed": seed, "epochs": 40, "parameters": 391562},
        **{"train_size": 1437, "test_size": 360},
        "disguised": [],
        "data": {
            **{"digest": digest, "classes": [str(label) for label in range(10)]},
            **{"mean": [0.3], "std": [0.38]},
            "leaks": dict.fromkeys(("test_in_train", "test_twice", "two_labels", "test"), 0),
        },
        "test": {
            **{"accuracy": accuracy, "balanced_accuracy": accuracy},
            **{"nll": 1.4 - accuracy, "ece": abs(slack)},
            **{"class_count": [36] * 10, "class_right": [int(36 * accuracy)] * 10},
        },
        "calibration": {
            "confidence": confidence,
            "accuracy": [
                float(np.clip(c - slack * c + own.normal(0, 0.02), 0, 1)) for c in confidence
            ],
            "count": count,
        },
        "train": {"loss": 0.31, "seconds": 4.2 + 0.1 * seed, "images_per_second": 10264.0},
        "environment": {
            **{"python": "3.11.2", "torch": "2.11.0", "device": "cpu", "threads": 2},
            **{"commit": "0123456789abcdef", "dirty": False},
        },
        "config": {
            **{"layer": layer, "mode": mode or "siamese", "alpha": alpha or 1.0, "seed": seed},
            **{"lam": "batch", "optimizer": {"name": "sgd", "lr": lr}, "study": "made"},
        },
        "command": f"python -m hiddenmix.train layer={layer} study=made",
    }
    if full:
        result["evaluated"] = {"images": None, "attack": 2, "outside": {}}
        result["shift"] = {
            name: {"accuracy": max(0.1, accuracy * (1 - loss) + own.normal(0, 0.004)), "nll": 1.0}
            for name, loss in SHIFTS.items()
        }
        result["adversarial"] = {
            f"fgsm_{step}": {"accuracy": accuracy * 0.8**step, "nll": 1.0} for step in (1, 2, 4, 8)
        }
    return result


Chance = Callable[[str, str | None, float | None], float]
"""Share of test images that a network answers right at (layer, mode, alpha)."""


def write_answers(
    study: Path,
    settings: Iterable[tuple[str, str | None, float | None]],
    seeds: Iterable[int],
    images: int,
    chance: Chance,
    **options: Any,
) -> None:
    """Cells with predictions of `images` test images, drawn image by image around `chance`.

    An image is about as hard for all networks, and a seed's settings share their luck.
    """
    hard = np.random.default_rng(7).normal(0, 1, images)
    for seed in seeds:
        luck = np.random.default_rng([7, seed]).normal(0, 0.3, images)
        for layer, mode, alpha in settings:
            own = np.random.default_rng([seed, *f"{layer}{mode}{alpha}".encode()])
            latent = hard + luck + own.normal(0, 0.5, images)
            share = chance(layer, mode, alpha)
            right = latent.argsort().argsort() < share * images
            write_answered(study, made_result(layer, mode, alpha, seed, **options), right)


def write_answered(
    study: Path,
    result: dict[str, Any],
    right: np.ndarray,
    outside: Iterable[str] = (),
    subset: np.ndarray | None = None,
) -> Path:
    """A cell whose network answers the images `right` [N] and no others; shifts and `outside` alike, of
    the shifts those at the positions `subset` alone."""
    label = (np.arange(len(right)) % 10).astype(np.uint8)
    answer = np.where(right, label, (label + 1) % 10).astype(np.uint8)
    arrays = {"label": label, "clean/class": answer}
    for name in result.get("shift", {}):
        arrays[f"shift/{name}/class"] = answer if subset is None else answer[subset]
    if subset is not None:
        arrays["subset"] = subset.astype(np.int32)
        result["evaluated"]["images"] = len(subset)
    for name in outside:
        arrays |= {f"outside/{name}/class": answer, f"outside/{name}/label": label}
    content = save(arrays)
    result["predictions"] = hashlib.blake2b(content, digest_size=16).hexdigest()
    result["test"]["accuracy"] = float(right.mean())
    result["test_size"] = len(right)
    folder = write_cell(study, result)
    (folder / "predictions.safetensors").write_bytes(content)
    return folder


def write_cell(study: Path, result: dict[str, Any], epochs: int = 0) -> Path:
    folder = study / "cells" / str(result["cell"])
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    lines = []
    for epoch in range(1, epochs + 1):
        line = {"epoch": epoch, "loss": 2.3 * 0.93**epoch + 0.01 * result["seed"]}
        if epoch % 2 == 0:
            line["test_accuracy"] = result["test"]["accuracy"] * (1 - 0.8**epoch)
        lines.append(json.dumps(line))
    if lines:
        (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def make_study(
    folder: Path,
    *,
    layers: Iterable[str] = ("none", "input", "conv1", "conv2", "conv3"),
    modes: Iterable[str] = ("siamese",),
    alphas: Iterable[float] = (1.0,),
    seeds: Iterable[int] = (0, 1, 2, 3, 4),
    epochs: int = 0,
    **options: Any,
) -> Path:
    """A study of layers x modes x alphas x seeds; `options` go to `made_result`."""
    settings: list[tuple[str, str | None, float | None]] = [
        (layer, None, None) if layer == "none" else (layer, mode, alpha)
        for layer in layers
        for mode in modes
        for alpha in alphas
    ]
    if "input" in layers:  # the image mixup that triplet settings are compared with
        settings += [("input", "siamese", alpha) for alpha in alphas]
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    for layer, mode, alpha in dict.fromkeys(settings):
        for seed in seeds:
            write_cell(folder, made_result(layer, mode, alpha, seed, **options), epochs)
    return folder
