"""What README.md and docs/ quote of the published reports is what they say."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

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
        assert question["sentence"].partition(" How sure")[0] in page
    assert f"outputs/reports/{name}/report.md" in page


def test_numbers_of_the_findings_elsewhere_are_theirs() -> None:
    page = (ROOT / "docs/findings.md").read_text()
    summary = (
        (ROOT / "README.md").read_text().partition("What was found so far")[2].partition("![")[0]
    )
    numbers = re.findall(r"[+−]\d\.\d\d \[[^\]]+\]", summary)
    assert len(numbers) == 2 * len(ANSWERS)
    quoted = [line for line in page.splitlines() if line.startswith(">")]
    for number in numbers:
        assert number in words("\n".join(quoted))


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
    page = words((ROOT / "docs/findings.md").read_text())
    measured = json.loads((REPORTS / "forest" / "verdict.json").read_text())["distances"]
    distance, *_, reading = measured["correlations"]
    rho, other = (f"{each['rho']:+.2f}".replace("-", "−") for each in (distance, reading))
    assert f"(ρ = {rho}, p = {distance['p']:.2f};" in page
    assert f"(ρ = {other}, which explores" in page
    at = {
        (each["title"].partition(" ")[0], each["layer"]): each["values"]["distance"]
        for each in measured["layers"]
    }
    digits = [at["digits", f"conv{number}"] for number in (1, 2, 3)]
    assert f"conv1 is farther from mixing images ({at['CIFAR-10', 'conv1']:.2f}) than" in page
    assert f"({min(digits):.2f} to {max(digits):.2f})" in page
    assert all(study in json.dumps(measured) for study in ANSWERS)
