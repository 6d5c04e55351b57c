"""Cells of a study that must not be compared: of other data under one title, or measured otherwise."""

from collections import Counter
from typing import Any

from hiddenmix.report.fields import mapping
from hiddenmix.terminal import clean


def tell_versions_apart(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Give equal data one title, whatever their folder was called, and different data two."""
    titles: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        titles.setdefault((row["dataset"], row["digest"]), Counter())[row["title"]] += 1
    chosen = {key: counts.most_common(1)[0][0] for key, counts in titles.items()}
    many = Counter(chosen.values())
    versions: dict[str, list[str]] = {}
    for row in rows:
        key = (row["dataset"], row["digest"])
        row["title"] = chosen[key]
        if many[chosen[key]] > 1:
            row["title"] = f"{chosen[key]} (data {row['digest'][:8]})"
            versions.setdefault(row["title"], []).append(row["cell"])
    return versions


def keep_what_compares(rows: list[dict[str, Any]], problems: list[str]) -> None:
    """Of cells that were measured on other images than most, leave out those measurements: on
    another number of test images (`evaluation_images`), on another version of an outside set, or with
    another version of the attacks. Of all cells, leave out the shifts that some were not measured under:
    means over others do not compare."""
    for title in dict.fromkeys(row["title"] for row in rows):
        group = [row for row in rows if row["title"] == title and row["evaluated"]]
        odd = _odd(group, [str(row["evaluated"].get("images")) for row in group])
        for row in odd:
            row |= {key: {} for key in ("shift", "shift_nll", "adversarial")}
            row |= {key: {} for key in ("outside", "outside_nll")}
        what = "shifts, attacks and outside sets"
        _say_odd(odd, what, "on another number of test images", problems)
        sets = [mapping(row["evaluated"].get("outside")) for row in group]
        for name in dict.fromkeys(name for found in sets for name in found):
            having = [row for row, found in zip(group, sets, strict=True) if name in found]
            odd = _odd(having, [str(found[name]) for found in sets if name in found])
            for row in odd:
                for key in ("outside", "outside_nll"):
                    row[key] = {c: v for c, v in row[key].items() if c.partition(":")[0] != name}
            _say_odd(odd, f"outside set {clean(name)}", "on another version of it", problems)
        _keep_one_attack([row for row in group if row["adversarial"]], problems)
        _keep_common_shifts([row for row in rows if row["title"] == title], problems)


def _keep_one_attack(rows: list[dict[str, Any]], problems: list[str]) -> None:
    """Leave out attacks of another version than most; say it where those that stay are of the first."""
    versions = [str(row["evaluated"].get("attack", 1)) for row in rows]
    odd = _odd(rows, versions)
    for row in odd:
        row["adversarial"] = {}
    _say_odd(odd, "attacks (FGSM)", "with another version of the attack", problems)
    stay = {version for row, version in zip(rows, versions, strict=True) if row["adversarial"]}
    former = (
        "attacks (FGSM) are of an older version, which loses its gradient where a network is sure: such "
        "networks look more robust than they are; python -m hiddenmix.evaluate measures them anew"
    )
    if "1" in stay and former not in problems:
        problems.append(former)


def _keep_common_shifts(rows: list[dict[str, Any]], problems: list[str]) -> None:
    found = [row["shift"].keys() for row in rows if row["shift"]]
    every = {name for names in found for name in names}
    common = every.intersection(*found)
    if alone := sorted(every - common):
        for row in rows:
            for key in ("shift", "shift_nll"):
                row[key] = {name: value for name, value in row[key].items() if name in common}
        problems.append(
            f"shifts: {', '.join(alone)} left out, which not all networks were measured under; "
            "python -m hiddenmix.evaluate makes them equal"
        )


def _odd(rows: list[dict[str, Any]], kinds: list[str]) -> list[dict[str, Any]]:
    """The rows whose kind is not the most common one."""
    usual = Counter(kinds).most_common(1)
    return [row for row, kind in zip(rows, kinds, strict=True) if kind != usual[0][0]]


def _say_odd(odd: list[dict[str, Any]], what: str, other: str, problems: list[str]) -> None:
    if odd:
        problems.append(
            f"{what}: left out of {len(odd)} cells, such as {odd[0]['cell']}, that were measured {other} "
            "than most; python -m hiddenmix.evaluate makes them equal"
        )
