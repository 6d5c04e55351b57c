"""Draw some test images under every shift of the evaluation, exactly as the networks see them.

python scripts/draw_deformations.py --dataset digits --out digits.png
python scripts/draw_deformations.py --dataset image_folder --root data/pets --out pets.png
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from hiddenmix.config import DATASETS, DatasetConfig
from hiddenmix.data import load
from hiddenmix.evaluation.deformations import SHIFTS, deform, draw


def deformed(images: Tensor, count: int) -> dict[str, Tensor]:
    """`count` images from all over the test set `images`, as they are and under every shift."""
    positions = torch.linspace(0, len(images) - 1, count).long().tolist()
    pixels = images[positions].float() / 255
    channels, height, width = images.shape[1:]
    rows = {"original": pixels}
    for name, (kind, _) in SHIFTS.items():
        draws = [draw(kind, place, place + 1, (channels, height, width)) for place in positions]
        rows[name] = deform(pixels, name, torch.cat(draws))
    return rows


def picture(rows: dict[str, Tensor], title: str) -> Figure:
    """One line of images for each of `rows` [B, C, H, W], beside its name."""
    gap = max(1, next(iter(rows.values())).shape[3] // 16)
    lines = [
        torch.cat(list(F.pad(images, (gap, gap, gap, gap), value=1.0)), dim=2)
        for images in rows.values()
    ]
    canvas = torch.cat(lines, dim=1).permute(1, 2, 0)
    height, width = canvas.shape[:2]
    figure = Figure(figsize=(9, 9 * height / width), layout="constrained", dpi=150)
    axes = figure.subplots()
    axes.imshow(canvas.clamp(0, 1).expand(-1, -1, 3).numpy(), interpolation="nearest")
    step = height / len(rows)
    axes.set_yticks([step * (number + 0.5) - 0.5 for number in range(len(rows))], list(rows))
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="digits", choices=DATASETS)
    parser.add_argument("--root", default="data", help="folder of the data set's files")
    parser.add_argument("--out", type=Path, default=Path("deformations.png"), help="PNG to write")
    parser.add_argument("--title", help="name of the data in the heading; by default --dataset")
    parser.add_argument("--count", type=int, default=12, help="images in a row")
    arguments = parser.parse_args()
    images = load(DatasetConfig(name=arguments.dataset, root=arguments.root)).test.images
    if not 1 <= arguments.count <= len(images):
        parser.error(f"--count must be from 1 to {len(images)}, the size of the test set")
    rows = deformed(images, arguments.count)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    title = f"{arguments.title or arguments.dataset}: test images under every shift"
    picture(rows, title).savefig(arguments.out, bbox_inches="tight")
    print(arguments.out)


if __name__ == "__main__":
    main()
