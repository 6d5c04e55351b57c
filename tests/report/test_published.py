"""What README.md and docs/ quote of the published reports is what they say."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from hiddenmix.report.tables import points
from hiddenmix.report.two_way import seeds_alone

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "outputs/reports"


def words(text: str) -> str:
    """On one line, without the marks of a quotation and of code."""
    return " ".join(re.sub(r"^[>\s]*-? ", " ", text, flags=re.MULTILINE).replace("`", "").split())


@pytest.mark.parametrize(
    ("name", "page"), [("first_command", "README.md"), ("paper_small", "docs/reports.md")]
)
def test_a_page_quotes_the_published_verdict(name: str, page: str) -> None:
    question = json.loads((REPORTS / name / "verdict.json").read_text())["questions"][0]
    assert question["sentence"] in words((ROOT / page).read_text().replace("**", ""))
    assert question["sentence"] in words(
        (REPORTS / name / "report.md").read_text().replace("**", "")
    )


def test_the_first_page_quotes_the_first_command() -> None:
    question = json.loads((REPORTS / "first_command" / "verdict.json").read_text())["questions"][0]
    page = words((ROOT / "docs/index.md").read_text().replace("**", ""))
    assert question["sentence"].partition(" How sure")[0] in page
    assert "a verdict needs at least 6 seeds" in page
    assert "Why undecided: a verdict needs at least 6 seeds" in question["sentence"]


ANSWERS = sorted(path.name for path in REPORTS.glob("answer_*"))


@pytest.mark.parametrize("name", ANSWERS)
def test_the_findings_quote_each_verdict_of_each_study(name: str) -> None:
    page = words((ROOT / "docs/findings.md").read_text().replace("**", ""))
    for question in json.loads((REPORTS / name / "verdict.json").read_text())["questions"]:
        assert question["sentence"] in page
    assert f"outputs/reports/{name}/report.md" in page


INTERVAL = re.compile(r"[+−]\d+\.\d+ \[[^\]]+\]")


def measured(name: str) -> set[str]:
    """Every gain of a published study, with each of its intervals, as a page writes it."""
    verdict = json.loads((REPORTS / name / "verdict.json").read_text())
    several = json.loads((REPORTS / "forest" / "verdict.json").read_text())
    gains = [
        each["gain"] for key in ("factors", "factors_on_shifted_images") for each in verdict[key]
    ]
    gains += [
        each["gain"]
        for each in several["distances"]["layers"]
        if each["title"].endswith(f"({name})") and each["gain"] is not None
    ]
    for question in verdict["questions"]:
        for part in (question, *question["families"]):
            gains += [part["gain"], part.get("mixup") or part["image_mixup_over_plain"]]
            gains.append(part.get("over_plain") or part["layer_over_plain"])
        gains += filter(None, [question["odd_setting"], question["gain_without_shift"]])
        # Seeds that no earlier study had trained with.
        new = [gain for seed, gain in question["gain_by_seed"].items() if int(seed) >= 6]
        if len(new) > 1:
            gains.append({"low": None, **asdict(seeds_alone(new))})
    shown = {
        points(*(row[f"{kind}_{end}"] for end in ("mean", "low", "high")))
        for row in verdict["settings"]
        for kind in ("gain", "shift_gain", "gain_over_plain")
        if row[f"{kind}_mean"] is not None
    }
    for gain in gains:
        for low, high in (("low", "high"), ("seed_low", "seed_high")):
            if gain.get(low) is not None:
                shown.add(points(gain["mean"], gain[low], gain[high]))
    return shown


def test_every_gain_of_the_findings_is_one_that_was_measured() -> None:
    page = words((ROOT / "docs/findings.md").read_text())
    known = set().union(*map(measured, ANSWERS))
    quoted = INTERVAL.findall(page)
    assert len(quoted) > 10 * len(ANSWERS)
    assert [each for each in quoted if each not in known] == []


def test_the_readme_quotes_a_gain_of_each_study() -> None:
    page = (ROOT / "README.md").read_text().partition("What was found]")[2].partition("![")[0]
    quoted = set(INTERVAL.findall(words(page)))
    assert [each for each in quoted if each not in set().union(*map(measured, ANSWERS))] == []
    assert [name for name in ANSWERS if not quoted & measured(name)] == []


@pytest.mark.parametrize("name", ["first_command", "paper_small", *ANSWERS])
def test_a_published_report_holds_what_it_is_computed_from(name: str) -> None:
    cells = pd.read_csv(REPORTS / name / "cells.csv")
    verdict = json.loads((REPORTS / name / "verdict.json").read_text())
    assert len(cells) == sum(row["n"] for row in verdict["settings"])
    gains = verdict["questions"][0]["gain_by_seed"]
    settings = verdict["questions"][0]["settings"]
    by_setting = {key: rows.set_index("seed")["accuracy"] for key, rows in cells.groupby("setting")}
    baselines = dict(zip(cells["setting"], cells["baseline"], strict=True))
    differences = [by_setting[key] - by_setting[baselines[key]] for key in settings]
    mean = sum(differences) / len(differences)
    assert {str(seed): gain for seed, gain in mean.items()} == pytest.approx(gains, abs=1e-6)
    for link in re.findall(r"\]\((.+?)\)", (REPORTS / name / "report.md").read_text()):
        assert (REPORTS / name / link).is_file()


def test_why_quotes_what_was_measured() -> None:
    page = words((ROOT / "docs/findings.md").read_text().partition("## Why")[2].partition("## ")[0])
    measured = json.loads((REPORTS / "forest" / "verdict.json").read_text())["distances"]
    assert all(study in json.dumps(measured) for study in ANSWERS)
    tested = measured["correlations"][0]
    assert f"(ρ = {tested['rho']:+.2f}, p = {tested['p']:.2f})" in page.replace("−", "-")
    images: dict[str, float] = {}
    rows = []
    for each in measured["layers"]:
        maps, gain = each["values"], each["gain"]
        if each["layer"] == "input":
            images = maps
        if gain is not None:
            classes = " → ".join(f"{100 * at['in_classes']:.0f} %" for at in (images, maps))
            divergence = " → ".join(f"{at['kl']:.2f}" for at in (images, maps))
            shown = points(gain["mean"], gain["low"], gain["high"])
            rows.append(
                f"| {each['networks']} | {each['layer']} | {maps['distance']:.2f} | {classes} | "
                f"{divergence} | {shown} |"
            )
    assert [row for row in rows if row not in page] == []
    assert page.count(" → ") == 2 * len(rows) + 2  # and the heads of the two columns


def test_the_findings_compare_the_two_layers_of_the_residual_network() -> None:
    cells = pd.read_csv(REPORTS / "answer_fashion_resnet" / "cells.csv").set_index("seed")
    shifts = cells.filter(like="shift/")
    families = shifts.T.groupby(shifts.columns.str.removeprefix("shift/").str.split("_").str[0])
    accuracies = {"clean": cells["accuracy"], "shifted": families.mean().mean()}
    page = words((ROOT / "docs/findings.md").read_text())
    for on, accuracy in accuracies.items():
        layer1, layer2 = (accuracy[cells["layer"] == name] for name in ("layer1", "layer2"))
        found = seeds_alone([*(layer2 - layer1)])
        assert found.seed_high is not None
        shown = f"{points(found.mean)} ± {100 * (found.seed_high - found.mean):.2f}"
        assert shown in page.partition("layer2 against layer1")[2], (on, shown)


@pytest.mark.parametrize(
    ("name", "variant", "left_out"),
    [
        ("answer_fashion", "originals=0.0", "blur"),
        ("answer_fashion", "originals=1.0", "contrast"),
        ("answer_cifar", "originals=0.0", "contrast"),
        ("answer_fashion_resnet", "", "contrast"),
    ],
)
def test_the_findings_leave_a_family_of_shifts_out(name: str, variant: str, left_out: str) -> None:
    questions = json.loads((REPORTS / name / "verdict.json").read_text())["questions"]
    [question] = [
        each for each in questions if each["on"] == "shift" and variant in (each["variant"] or "")
    ]
    means = [each["gain"]["mean"] for each in question["families"] if each["name"] != left_out]
    assert len(means) == len(question["families"]) - 1
    page = words((ROOT / "docs/findings.md").read_text()).partition("holds for other shifts")[2]
    loss = 100 * sum(means) / len(means)
    forms = {f"{abs(loss):.1f} points", f"{abs(loss):.2f}", points(loss / 100)}
    assert any(form in page.partition("Probabilities")[0] for form in forms), forms
