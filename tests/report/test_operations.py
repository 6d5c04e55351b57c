"""Mixup and CutMix in one study: compared with baselines of their own, named as such, never pooled."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiddenmix.config import UserError
from hiddenmix.report.answers import CLEAN, Answers
from hiddenmix.report.comparison import image_mixing, operation, settings_table
from hiddenmix.report.factors import best_layers, effects
from hiddenmix.report.findings import find
from hiddenmix.report.reading import read_study
from hiddenmix.report.several import pool, read
from hiddenmix.report.verdict import spoken
from hiddenmix.report.writing import write_report
from tests.support.made_study import made_result, write_answered

SEEDS, IMAGES = range(3), 60


def study(folder: Path, operations: tuple[str, ...], **options: Any) -> Path:
    """Mixup: conv1 is right on 3 images more than the input, conv2 on 6. CutMix: 12 and 18 fewer."""
    gains = {"mixup": {"conv1": 3, "conv2": 6}, "cutmix": {"conv1": -12, "conv2": -18}}
    for kind in operations:
        for layer in ("none", "input", "conv1", "conv2"):
            if layer == "none" and kind != operations[0]:
                continue
            for seed in SEEDS:
                mode, alpha = (None, None) if layer == "none" else ("siamese", 1.0)
                variant = kind if layer != "none" else ""
                result = made_result(
                    layer, mode, alpha, seed, variant=variant, full=False, **options
                )
                result["plain"] = result["plain"].replace(kind, "0" * 8)
                if kind == "cutmix" and layer != "none":
                    result["config"]["operation"] = kind  # former results of mixup have no such key
                right = np.arange(IMAGES) < 40 + gains[kind].get(layer, 0) + seed
                write_answered(folder, result, right)
    return folder


def test_each_operation_is_a_question_over_its_own_baseline(tmp_path: Path) -> None:
    found = find(read_study(study(tmp_path, ("mixup", "cutmix"))), None)
    by_kind = {operation(each.variant): each for each in found.questions if each.what == CLEAN}
    assert set(by_kind) == {"mixup", "cutmix"}
    for kind, gain in (("mixup", 3 / 60), ("cutmix", -12 / 60)):
        question = by_kind[kind]
        assert len(question.rows) == 1
        assert question.gain is not None
        assert question.gain.mean == pytest.approx(gain)
        assert question.by_seed == pytest.approx(dict.fromkeys(SEEDS, gain))
    text = spoken(by_kind["cutmix"], 0.005)
    assert (
        "CutMix of feature maps at conv1 (the study's lowest hidden layer, fixed beforehand) instead of"
        in text
    )
    assert "Image CutMix itself, against plain training" in text
    assert "mixup" not in text
    assert "Image mixup itself, against plain training" in spoken(by_kind["mixup"], 0.005)
    # As without CutMix beside it, so that looks at the study before it was added are found.
    assert by_kind["mixup"].variant == ""


def test_effects_and_best_layers_pool_no_operations(tmp_path: Path) -> None:
    read = read_study(study(tmp_path, ("mixup", "cutmix")))
    table, answers = settings_table(read.cells), Answers(tmp_path, read.cells)
    found = {
        (each.factor, each.level): (each.pairs, round(60 * each.gain.mean, 6))
        for each in effects(table, read.cells, answers)
    }
    assert found == {
        ("layer", "conv1"): (1, 3),
        ("layer", "conv2"): (1, 6),
        ("layer (cutmix)", "conv1"): (1, -12),
        ("layer (cutmix)", "conv2"): (1, -18),
        ("operation", "cutmix"): (3, -13),
    }
    best = {each.operation: each.layer for each in best_layers(table, read.cells, answers)}
    assert best == {"mixup": "conv2", "cutmix": "conv1"}


def test_a_study_of_cutmix_alone_says_so(tmp_path: Path) -> None:
    found = read_study(study(tmp_path, ("cutmix",)))
    rows = settings_table(found.cells)
    assert set(rows.loc[rows["layer"] != "none", "variant"]) == {"operation=cutmix"}
    text = write_report(tmp_path).read_text()
    assert "image CutMix" in text
    assert "image mixup" not in text.lower()


def test_a_study_of_mixup_alone_reads_as_it_did(tmp_path: Path) -> None:
    found = read_study(study(tmp_path, ("mixup",)))
    table = settings_table(found.cells)
    assert set(table["variant"]) == {""}
    assert {
        each.factor for each in effects(table, found.cells, Answers(tmp_path, found.cells))
    } == {"layer"}


def test_pooling_over_studies_takes_one_operation(tmp_path: Path) -> None:
    folders = [
        study(tmp_path / kind, (kind,), digest=f"{number:032x}", title=kind)
        for number, kind in enumerate(("mixup", "cutmix"))
    ]
    _, rows, _ = read(folders, None)
    with pytest.raises(UserError, match="--pool takes studies of one operation"):
        pool(rows)


def test_names_of_baselines() -> None:
    assert image_mixing(["", "optimizer.lr=0.1, operation=mixup"]) == "image mixup"
    assert image_mixing(["operation=cutmix", "lam=batch, operation=cutmix"]) == "image CutMix"
    assert image_mixing(["", "operation=cutmix"]) == "image mixup (of CutMix, image CutMix)"
