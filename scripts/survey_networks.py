#!/usr/bin/env python
"""Surveys torchvision's and timm's networks, and checks mixing in them against a computation of its own.

    scripts/survey_networks.py [--only NAME ...] [--report]

Each network is listed, its cuts by autograd's graph are compared with those by numbers, and it is mixed
at the input and at two stages, which must give the logits and the loss of an independent mix in float64.
A network's row goes to `scripts/networks.jsonl` as soon as it is there, and networks that have one are
skipped: stop and start again at will. `docs/networks.md` is written from the rows at the end.
"""

import argparse
import gc
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import hiddenmix
from hiddenmix.config import ModelConfig, TimmConfig, TorchvisionConfig, UserError
from hiddenmix.networks import all_stages, build
from hiddenmix.networks.copying import copy_of, make_typical
from hiddenmix.networks.passes import NOTHING
from hiddenmix.networks.survey import held_constant, survey
from hiddenmix.randomness import default_generators

ROOT = Path(__file__).parent.parent
ROWS = ROOT / "scripts/networks.jsonl"
PAGE = ROOT / "docs/networks.md"

CLASSES = 10
SIDE = 64
SIDES = {
    **{"inception_v3": 80, "maxvit_t": 224},
    **{"vit_b_16": 32, "vit_l_16": 32, "vit_h_14": 28},
    **{"timm.vit_small_patch14_reg4_dinov2": 56, "timm.eva02_tiny_patch14_224": 56},
    **{"timm.inception_v4": 96, "timm.inception_resnet_v2": 96, "timm.coat_tiny": 224},
    **{"timm.efficientformer_l1": 224, "timm.crossvit_tiny_240": 240},
}
"""Sides of the images in pixels, where a network does not take 64."""

TIMM = (
    *("resnet18", "resnet26d", "seresnet18", "ecaresnet26t", "skresnet18", "resnest14d"),
    *("res2net50_26w_4s", "resnext26ts", "cspresnet50", "darknet53", "dla34", "dpn48b"),
    *("ese_vovnet19b_dw", "hrnet_w18_small", "inception_v4", "xception41", "densenet121"),
    *("efficientnet_b0", "efficientnetv2_rw_t", "mobilenetv3_small_100", "mobilenetv4_conv_small"),
    *("ghostnet_100", "mnasnet_100", "mixnet_s", "tinynet_a", "lcnet_050", "hardcorenas_a"),
    *("repvgg_a0", "regnetx_002", "regnety_002", "gernet_s", "selecsls42", "tresnet_m"),
    *(
        "nf_resnet26",
        "nf_regnet_b1",
        "convnext_atto",
        "convnextv2_atto",
        "rdnet_tiny",
        "starnet_s1",
    ),
    *("mixer_s32_224", "resmlp_12_224", "gmlp_s16_224", "poolformer_s12", "caformer_s18"),
    *("edgenext_xx_small", "mobilevit_xxs", "mobileone_s0", "fastvit_t8", "efficientformer_l1"),
    *("levit_128s", "pit_ti_224", "visformer_tiny", "repvit_m0_9", "efficientvit_b0", "pvt_v2_b0"),
    *("vit_tiny_patch16_224", "deit_tiny_patch16_224", "deit3_small_patch16_224"),
    *("cait_xxs24_224", "vit_small_patch14_reg4_dinov2", "eva02_tiny_patch14_224"),
    *(
        "xcit_nano_12_p16_224",
        "crossvit_tiny_240",
        "swin_tiny_patch4_window7_224",
        "twins_svt_small",
    ),
    *(
        "volo_d1_224",
        "focalnet_tiny_srf",
        "davit_tiny",
        "coat_tiny",
        "sequencer2d_s",
        "hiera_tiny_224",
    ),
)
"""Of timm, small ones of as many families as there are."""

OTHERS_HELD = 24
"""Layers that are no cuts of which as many are held constant, evenly spread."""


@dataclass
class Row:
    """What was found of a network."""

    network: str
    side: int
    seconds: float = 0.0
    parameters: int = 0
    layers: int = 0
    disguised: int = 0
    cuts: int = 0
    stages: tuple[str, ...] = ()
    held: int = 0
    """Layers that were held constant, all cuts among them."""
    differ: tuple[str, ...] = ()
    """Those of them on which graph and numbers do not agree."""
    mixed: tuple[str, ...] = ()
    error: float | None = None
    """The largest relative difference of logits and loss between hiddenmix and the independent mix."""
    note: str = ""


def networks() -> Iterator[tuple[str, ModelConfig]]:
    """Name and configuration of each."""
    from torchvision import models

    for arch in models.list_models(module=models):
        yield arch, TorchvisionConfig(arch=arch)
    for arch in TIMM:
        yield f"timm.{arch}", TimmConfig(arch=arch)


def _large(name: str) -> bool:
    parts: tuple[str, ...] = (
        "vit_",
        "_8gf",
        "_16gf",
        "_32gf",
        "_128gf",
        "_large",
        "_v2_",
        "_b5",
        "_b6",
        "_b7",
    )
    parts += ("wide_", "101", "152", "swin_b", "vgg", "convnext_base", "maxvit")
    return not name.startswith("timm.") and any(part in name for part in parts)


def examine(name: str, config: ModelConfig) -> Row:
    """One row; what the network, or hiddenmix, refuses stands in its note."""
    side = SIDE // 2 if _large(name) and not name.startswith("vit_") else SIDE
    row = Row(name, SIDES.get(name, side))
    shape = (3, row.side, row.side)
    began = time.perf_counter()
    try:
        with default_generators(0, "init"):
            network = build(config, shape, CLASSES)
        row.parameters = sum(each.numel() for each in network.parameters())
        found = survey(copy_of(network), shape)
        chosen = [layer.name for layer in all_stages(found.layers)]
        cuts = {layer.name for layer in found.layers if layer.cut} - {"input"}
        others = [layer.name for layer in found.layers if not layer.cut]
        row.layers, row.cuts = len(found.layers) - 1, len(cuts)
        row.disguised = sum(layer.disguise for layer in found.layers)
        row.stages = tuple(chosen)
        spread = others[:: max(1, -(-len(others) // OTHERS_HELD))]
        left = held_constant(copy_of(network), shape, [*cuts, *spread])
        row.held = len(left)

        def differ() -> tuple[str, ...]:
            return tuple(key for key, share in left.items() if (share < NOTHING) != (key in cuts))

        if doubtful := differ():
            # float32 rounds, and what a weak branch carries is small.
            left |= held_constant(copy_of(network).double(), shape, doubtful)
        row.differ = differ()
        row.mixed = tuple(dict.fromkeys(["input", *chosen[:1], *chosen[len(chosen) // 2 :][:1]]))
        make_typical(network)  # some start with a head of zeros
        row.error = max(difference(network, shape, layer) for layer in row.mixed)
    except (UserError, RuntimeError, ValueError, IndexError) as error:
        row.note = " ".join(str(error).split())[:200]
    row.seconds = round(time.perf_counter() - began, 1)
    return row


def difference(network: nn.Module, shape: tuple[int, int, int], layer: str) -> float:
    """hiddenmix's logits and loss against those of maps that are taken out, mixed sample by sample and
    put back, by no hook; both in training mode, float64."""
    network = network.double().train()
    for module in network.modules():
        # Branches draw their own masks, so that with dropout no two passes are comparable.
        if "drop" in type(module).__name__.lower() or "StochasticDepth" in type(module).__name__:
            module.eval()
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, *shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (4,), generator=generator)
    draw = hiddenmix.draw(np.random.default_rng(2), 4, mode="triplet", alpha=1.0, lam="sample")
    with torch.no_grad():
        with default_generators(0, "dropout"), hiddenmix.mixing_at(network, layer, draw):
            logits = network(images)
        loss = hiddenmix.mixed_cross_entropy(logits, labels, draw)
        expected = _by_hand(network, images, layer, draw)
    weights, partners = _weights(draw), draw.index.tolist()
    logs = torch.log_softmax(expected, 1)
    by_hand = -sum(
        weights[k][i] * float(logs[i, labels[partners[k][i]]]) / 4
        for k in range(3)
        for i in range(4)
    )
    scale = float(expected.abs().max())
    return max(
        float((logits - expected).abs().max()) / scale, abs(float(loss) - by_hand) / abs(by_hand)
    )


def _weights(draw: Any) -> list[list[float]]:
    """[K, B] as Python numbers."""
    values: list[list[float]] = draw.weights.double().reshape(3, -1).expand(3, 4).tolist()
    return values


def _by_hand(network: nn.Module, images: Tensor, layer: str, draw: Any) -> Tensor:
    def mixed(maps: Tensor) -> Tensor:
        weights, partners = _weights(draw), draw.index.tolist()
        rows = [
            sum((weights[k][i] * maps[partners[k][i]] for k in range(3)), torch.zeros_like(maps[0]))
            for i in range(4)
        ]
        return torch.stack(rows).contiguous(memory_format=torch.preserve_format)

    def run(x: Tensor) -> Tensor:
        with default_generators(0, "dropout"):
            output: Tensor = network(x)
        return output

    if layer == "input":
        return run(mixed(images))
    module = network.get_submodule(layer)
    forward, taken = module.forward, []

    def take(*args: Any, **options: Any) -> Any:
        value = forward(*args, **options)
        taken.append(value.clone() if isinstance(value, Tensor) else value)
        return value

    def put(*args: Any, **options: Any) -> Any:
        [value] = taken
        if isinstance(value, Tensor):
            return mixed(value)
        # A tensor among others, such as the size of a map.
        return type(value)(mixed(each) if isinstance(each, Tensor) else each for each in value)

    try:
        module.forward = take
        run(images)
        module.forward = put
        return run(images)
    finally:
        del module.forward


def read_rows() -> dict[str, Row]:
    """The rows so far, by network."""
    if not ROWS.exists():
        return {}
    rows = [Row(**json.loads(line)) for line in ROWS.read_text().splitlines()]
    return {row.network: row for row in rows}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="*", help="these networks, again")
    parser.add_argument("--report", action="store_true", help="write docs/networks.md alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = read_rows()
    # The large ones last.
    for name, config in (
        () if options.report else sorted(networks(), key=lambda each: _large(each[0]))
    ):
        if name in (options.only or ()) or (options.only is None and name not in rows):
            row = rows[name] = examine(name, config)
            with ROWS.open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")
            outcome = row.note or f"{len(row.stages)} stages, error {row.error:.1e}"
            print(f"{name}: {row.seconds} s, {outcome}, {len(row.differ)} differ", flush=True)
            gc.collect()
    PAGE.write_text(page([rows[name] for name, _ in networks() if name in rows]))


def page(rows: list[Row]) -> str:
    """docs/networks.md."""
    good = [row for row in rows if row.error is not None]
    equal = [row for row in good if row.error is not None and row.error < 1e-6]
    agreed = [row for row in good if not row.differ]
    differing = [row for row in good if row.differ]
    missing = {name for name, _ in networks()} - {row.network for row in rows}
    lines = [
        "# Networks",
        "",
        "Which of torchvision's and timm's networks were mixed, and that hiddenmix and an",
        "independent mix agree in each. Written by `scripts/survey_networks.py`. The columns:",
        "",
        "- **px**: the side of the images. **M**: parameters in millions, for ten classes.",
        "- **layers**: at how many mixing is possible. **disguised**: at how many of these it is",
        "  image mixup, as the network is affine up to there",
        "  ([trap 1](method.md#trap-1-image-mixup-in-disguise)).",
        "- **cuts**: layers that the whole image passes, past which nothing flows by a skip",
        "  connection or a branch ([trap 2](method.md#trap-2-a-layer-that-is-bypassed)).",
        "- **held / differ**: cuts are found in the graph of the computation, and checked by",
        "  numbers: a layer's output is held constant, and at a cut the logits then no longer depend",
        "  on the image. At how many layers this was done, and at how many the two disagree.",
        "- **difference**: the largest relative one, of logits and loss, between hiddenmix and an",
        "  independent mix in float64, at the input and two stages.",
        "- **stages**: where mixing makes sense ([Choose a layer](layers.md)), of which",
        "  `python -m hiddenmix.layers` lists at most 16.",
        "",
        f"{len(rows)} networks: {len(good)} surveyed and mixed; {len(equal)} of these equal to 1e-6; "
        f"graph and numbers agree in {len(agreed)}."
        + "".join(f" {row.network}: they differ at {', '.join(row.differ)}." for row in differing),
        "Not run: " + (", ".join(sorted(missing)) or "none") + ".",
        "",
        "| network | px | M | layers | disguised | cuts | held / differ | difference | stages |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        cells: list[object] = [row.network, row.side, f"{row.parameters / 1e6:.1f}"]
        if row.error is None:
            cells += ["", "", "", "", "", row.note.replace("|", "/")]
        else:
            named = f"{len(row.stages)}: {_shown(row.stages)}"
            cells += [row.layers, row.disguised, row.cuts, f"{row.held} / {len(row.differ)}"]
            cells += [f"{row.error:.0e}", named]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def _shown(names: tuple[str, ...]) -> str:
    short = list(names) if len(names) <= 5 else [*names[:2], "…", *names[-2:]]
    return ", ".join(each if each == "…" else f"`{each}`" for each in short)


if __name__ == "__main__":
    main()
