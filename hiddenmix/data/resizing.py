"""To which size images are brought, and how."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from hiddenmix.config import DatasetConfig

MODES = ("squash", "crop", "pad")


@dataclass(frozen=True)
class Resize:
    """A size in pixels, and what becomes of images with another ratio of sides."""

    height: int
    width: int
    mode: str = "squash"
    """`squash` changes the ratio, `crop` cuts away what is too long, equally on both sides, `pad` adds
    black on both sides."""

    @classmethod
    def of(cls, config: "DatasetConfig") -> "Resize | None":
        """What `dataset.resize` and `dataset.resize_mode` say; None for images left as they are."""
        if config.resize is None:
            return None
        sides = config.resize if isinstance(config.resize, list) else [config.resize] * 2
        return cls(sides[0], sides[1], config.resize_mode)

    @property
    def name(self) -> str:
        """For file names: `64`, `64x96`, `64-crop`."""
        side = str(self.height) if self.height == self.width else f"{self.height}x{self.width}"
        return side if self.mode == "squash" else f"{side}-{self.mode}"

    def apply(self, image: Image.Image) -> Image.Image:
        """`image`, of mode L or RGB, in this size."""
        size, (width, height) = (self.width, self.height), image.size
        if image.size == size:
            return image
        # Pillow's bilinear filter widens as it shrinks, which avoids aliasing
        if self.mode == "squash":
            return image.resize(size, Image.Resampling.BILINEAR)
        ratios = self.width / width, self.height / height
        scale = max(ratios) if self.mode == "crop" else min(ratios)
        if self.mode == "crop":
            left, top = width - self.width / scale, height - self.height / scale
            box = (left / 2, top / 2, width - left / 2, height - top / 2)
            box = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], width), min(box[3], height))
            return image.resize(size, Image.Resampling.BILINEAR, box)
        inner = max(1, round(width * scale)), max(1, round(height * scale))
        whole = Image.new(image.mode, size)
        corner = (self.width - inner[0]) // 2, (self.height - inner[1]) // 2
        whole.paste(image.resize(inner, Image.Resampling.BILINEAR), corner)
        return whole
