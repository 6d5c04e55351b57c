"""`python -m hiddenmix.layers model=...`: the layers at which mixing a network makes sense."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from tabulate import tabulate

from hiddenmix.config import (
    Config,
    check_meaning,
    config_folder,
    counted,
    from_hydra,
    register,
)
from hiddenmix.terminal import (
    as_flags,
    as_hydra_reads,
    layer_text,
    told_or_run,
    unknown_flag,
    without_config_dir,
)

USAGE = """usage: python -m hiddenmix.layers [--all] [--json] [--config-dir DIR]
       [model=...] [dataset=...] [key=value ...]

Lists the stages of a network (default: model=cnn dataset=digits): layers through which the whole image
passes (cuts), each once, where mixing is no image mixup in disguise; of more than 16, every
second (third, ...). Beside each stand its depth
(products with weights on the longest way from the image), the shape of its map, and the share of the
network's parameters up to it; the lowest is the paper's layer if it is behind the first convolution
alone. The last line is the sweep over them, for `python -m hiddenmix.train -m`.

  --all    every layer, with what speaks against each one that is no stage: in disguise (affine up to
           there), bypassed (with the share of the difference between two images that is left in the
           logits where both have the mean of their maps there), the same as another, a stage between two
           that are listed, finer than a stage, or not to be mixed at all
  --json   the same as JSON
  --config-dir DIR (-cd DIR)   a folder with your own files, such as DIR/model/mine.yaml for model=mine"""


FLAGS = ("--all", "--json")
"""Those without a value."""


def main() -> int:
    """The command line; returns the exit code, 2 for a user's mistake."""
    return told_or_run(USAGE, _run)


def _run() -> int:
    arguments, own_files = without_config_dir(as_flags(sys.argv[1:]))
    flags = {each for each in arguments if each.startswith("-")}
    for number, each in enumerate(arguments):
        name, _, value = each.partition("=")
        if name.startswith("-") and each not in FLAGS:
            value = value or "".join(arguments[number + 1 : number + 2])
            raise unknown_flag(name, value, "layers", (*FLAGS, "--config-dir", "--help"))
    overrides = as_hydra_reads([each for each in arguments if each not in flags], "layers")
    overrides += own_files
    register()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = from_hydra(compose(config_name="config", overrides=overrides))
    check_meaning([config])
    print(_text(config, everything="--all" in flags, as_json="--json" in flags))  # noqa: T201
    return 0


def _text(config: Config, *, everything: bool, as_json: bool) -> str:
    from hiddenmix.data import describe
    from hiddenmix.networks import (
        all_stages,
        behind_first_convolution,
        listed,
        reasons,
        stem_text,
        survey_of,
    )
    from hiddenmix.study import model_name

    data = describe(config.dataset)
    survey = survey_of(config.model, data.shape, data.classes, left=everything)
    chosen = listed(survey.layers)
    papers = behind_first_convolution(survey.layers)
    against = reasons(survey.layers)
    rows: list[dict[str, Any]] = [
        {
            "layer": layer.name,
            "depth": layer.depth,
            "shape": list(layer.shape),
            "parameters_below": layer.below,
            "cut": layer.cut,
            "disguise": layer.disguise,
            "affine_in_evaluation": layer.affine,
            "left": layer.left,
            "same_as": layer.same_as,
            "reason": against.get(layer.name),
        }
        for layer in (survey.layers if everything else chosen)
    ]
    sweep = "layer=" + ",".join(layer_text(layer.name) for layer in chosen)
    name = model_name(config)
    if as_json:
        refused = survey.refused if everything else {}
        content = {"model": name, "shape": list(data.shape), "classes": data.classes}
        content |= {"stages": [layer.name for layer in chosen[1:]], "sweep": sweep}
        content |= {"papers_layer": papers.name if papers else None}
        return json.dumps({**content, "layers": rows, "not_mixable": refused}, indent=2)
    size = "x".join(map(str, data.shape))
    every = len(all_stages(survey.layers))
    some = f"{len(chosen) - 1} of " if len(chosen) - 1 < every else ""
    head = (
        f"{name}, {size} images, {counted(data.classes, 'class')}: {some}{counted(every, 'stage')} "
        f"among {counted(len(survey.layers) - 1, 'layer')} that can be mixed"
    )
    head += "" if everything else " (--all lists them)"
    stem = stem_text(config.model, data.shape)
    lowest = "the lowest stage, behind more than the first convolution"
    if papers is not None:
        lowest = "the paper's layer: behind the first convolution"
    remarks = against | {layer.name: lowest for layer in chosen[1:2]}
    table = _table(rows, remarks, survey.refused if everything else {})
    return "\n".join([head, *([stem] if stem else []), "", table, "", sweep])


def _table(rows: Sequence[dict[str, Any]], remarks: dict[str, str], refused: dict[str, str]) -> str:
    lines = [
        [
            row["layer"],
            row["depth"],
            "x".join(map(str, row["shape"])),
            f"{100 * row['parameters_below']:.1f} %",
            remarks.get(row["layer"], ""),
        ]
        for row in rows
    ]
    lines += [[name, "", "", "", f"cannot be mixed: {why}"] for name, why in refused.items()]
    headers = ["layer", "depth", "map", "parameters up to it", "remark"]
    if not any(line[-1] for line in lines):
        headers, lines = headers[:-1], [line[:-1] for line in lines]
    align = ("left", "right", "left", "right", "left")[: len(headers)]
    text: str = tabulate(lines, headers, tablefmt="simple", colalign=align, disable_numparse=True)
    return text


if __name__ == "__main__":
    sys.exit(main())
