"""Does a study show the paper's claim? The rule, and the sentence that says so.

The claim (Oki & Kurita 2018): mixing the feature maps after the first convolution layer beats
mixing the input images. It is judged on the settings that mix at that layer alone, `conv1` in the
built-in network and otherwise the lowest hidden layer of the study, over every mode and alpha, each
against image mixup with the same alpha, paired by seed. Holm's correction is over these settings:
what else a study tries costs the claim no power, and no setting can be picked for its result.

- supported: at least one of them gains (corrected p < 0.05) and none loses;
- contradicted: at least one of them loses and none gains;
- undecided: none differs, or some gain and others lose.
"""

import math
from dataclasses import dataclass

import pandas as pd

from hiddenmix.report.comparison import first_hidden_layer
from hiddenmix.report.statistics import holm

LEVEL = 0.05


@dataclass(frozen=True)
class Verdict:
    """`word` is supported, contradicted or undecided; `claims` the rows it rests on."""

    word: str
    sentence: str
    claims: pd.DataFrame
    """Rows of `settings_table`, with `p_claim`: p corrected over these rows."""


def judge(table: pd.DataFrame, shifted: bool = False) -> Verdict:
    """The verdict on the clean test images, or on the mean over the shifts (`shifted`)."""
    gain, p_value = ("shift_gain", "shift_p_value") if shifted else ("gain", "p_value")
    claims = _claims(table, f"{gain}_mean")
    p_values = [None if math.isnan(p) else float(p) for p in claims[p_value]]
    corrected = pd.Series(holm(p_values), index=claims.index, dtype="float64")
    claims = claims.assign(p_claim=corrected)
    if claims.empty:
        return Verdict("undecided", _nothing(table, shifted), claims)
    means = claims[f"{gain}_mean"]
    better = int(((corrected < LEVEL) & (means > 0)).sum())
    worse = int(((corrected < LEVEL) & (means < 0)).sum())
    word = "undecided"
    if better + worse and not better * worse:
        word = "supported" if better else "contradicted"
    layers = " or ".join(f"`{layer}`" for layer in dict.fromkeys(claims["layer"]))
    where = f"{layers} (the lowest hidden layer of the study)" if layers != "`conv1`" else layers
    what = f"against mixing the input images, mixing the feature maps after {where}"
    on = " on samples from outside" if shifted else ""
    if shifted and claims["shifts"].nunique() == 1:
        on += f" (mean of {int(claims['shifts'].iloc[0])} families of shifts)"
    many = len(claims)
    settings = f"{many} setting{'s' * (many > 1)} (mode × α)"
    if all(p is None for p in p_values):
        found = f"{_points(means)}{on}, but with one seed there is no interval and no p-value"
    elif better and worse:
        found = f"a gain in {better} and a loss in {worse} of {settings}{on}: {_points(means)}"
    elif better:
        found = f"a gain{on} in {better} of {settings} and a loss in none: {_points(means)}"
    elif worse:
        found = f"a loss{on} in {worse} of {settings} and a gain in none: {_points(means)}"
    else:
        low, high = 100 * claims[f"{gain}_low"].min(), 100 * claims[f"{gain}_high"].max()
        found = f"no significant difference{on} in {settings}: {_points(means)}, " + _minus(
            f"the 95 % intervals reaching from {low:+.2f} to {high:+.2f}"
        )
    evidence = [_seeds(claims[f"{gain}_n"])]
    tested = [p for p in p_values if p is not None]
    if tested:
        smallest, smallest_corrected = p_text(min(tested)), p_text(float(corrected.min()))
        evidence.append(f"smallest p {smallest} in the paired t-test")
        evidence.append(f"{smallest_corrected} after Holm's correction")
    sentence = f"**{word.capitalize()}**: {what} shows {found} ({', '.join(evidence)})."
    return Verdict(word, sentence, claims)


def _claims(table: pd.DataFrame, gain: str) -> pd.DataFrame:
    kept = []
    for (_, model), rows in table.groupby(["title", "model"], sort=False):
        layer = first_hidden_layer(str(model), rows["layer"])
        kept.append(rows[(rows["layer"] == layer) & rows[gain].notna()])
    return pd.concat(kept) if kept else table


def _nothing(table: pd.DataFrame, shifted: bool) -> str:
    if shifted:
        return "**Undecided** on samples from outside: no compared setting was evaluated on them."
    layers = {first_hidden_layer(str(row["model"]), [row["layer"]]) for _, row in table.iterrows()}
    if layers - {None}:
        lack = "no setting of the first hidden layer has image mixup with an equal seed beside it"
    else:
        lack = "the study mixes at no hidden layer"
    return f"**Undecided**: {lack}, so that nothing can be compared."


def _points(means: pd.Series) -> str:
    low, high = 100 * float(means.min()), 100 * float(means.max())
    if len(means) == 1:
        return _minus(f"{low:+.2f} percentage points")
    return _minus(f"{low:+.2f} to {high:+.2f} percentage points")


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _seeds(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    if low == high:
        return f"n = {low} seed{'s' * (low > 1)}"
    return f"n = {low} to {high} seeds"


def p_text(p: float) -> str:
    """A p-value to be printed; blank where there is none."""
    if math.isnan(p):
        return ""
    if p < 0.0001:
        return "< 0.0001"
    return f"{p:.4f}" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
