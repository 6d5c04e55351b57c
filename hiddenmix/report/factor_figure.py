"""The figure of the factors: what each choice does by itself, with its interval."""

from collections.abc import Sequence

from hiddenmix.report.drawing import MARKED, RULE, Drawing, canvas, finish, plainly, styled
from hiddenmix.report.factors import Effect
from hiddenmix.report.lettering import families, readable

_MOST = 40
"""Effects that are drawn; the table has all."""


def factor_figure(effects: Sequence[Effect], name: str) -> Drawing | None:
    """A row for each effect of one data set and network: its mean and 95 % interval, in points."""
    shown = effects[:_MOST]
    if not shown:
        return None
    first = shown[0]
    labels = [readable(f"{e.factor}: {e.level} against {e.reference}") for e in shown]
    factors = list(dict.fromkeys(effect.factor for effect in shown))
    fonts = families(" ".join([*labels, first.title, first.model]))
    with styled(fonts):
        longest = max(map(len, labels))
        height = 0.32 * len(shown) + 0.2
        figure, [[axis]] = canvas([height], 1, width=4.2, left=0.5 + 0.075 * longest)
        axis.axvline(0, color=RULE, linewidth=0.8)
        for row, effect in enumerate(shown):
            gain = effect.gain
            low, high = gain.ends
            mean = 100 * gain.mean
            around = None
            if low is not None and high is not None:
                around = [[mean - 100 * low], [100 * high - mean]]
            color, _ = MARKED[factors.index(effect.factor) % len(MARKED)]
            axis.errorbar([mean], [row], xerr=around, color=color, marker="o", capsize=2.5)
        axis.set_yticks(range(len(shown)), [plainly(label) for label in labels])
        axis.set_ylim(len(shown) - 0.5, -0.5)
        axis.grid(visible=False, axis="y")
        axis.set_xlabel("effect on accuracy (percentage points)")
        finish(figure, f"Factors ({_counts(shown)})", f"{first.title}, {first.model}")
    more = f" {len(effects) - _MOST} more stand in the table alone." if len(effects) > _MOST else ""
    return Drawing(
        name,
        f"Factors: {first.title}, {first.model}",
        "The mean effect of each level against its reference, over all pairs of settings that differ in "
        "nothing else, with its 95 % interval for new seeds and new test images, or where predictions "
        f"lack for new seeds.{more}",
        figure,
        tuple(fonts),
    )


def _counts(effects: Sequence[Effect]) -> str:
    """`n = 6 to 20 seeds, N = 360 images`."""
    seeds = sorted({each.gain.seeds for each in effects})
    images = sorted({each.gain.images for each in effects if each.gain.images})
    texts = [f"n = {' to '.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))} seeds"]
    if images:
        ends = dict.fromkeys((images[0], images[-1]))
        texts.append(f"N = {' to '.join(f'{each:,}' for each in ends)} images")
    return ", ".join(texts)
