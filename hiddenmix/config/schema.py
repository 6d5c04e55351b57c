"""Typed configuration: one dataclass for each group.

The YAML files under `conf/` choose among these classes and override their defaults; an unknown key
is refused by the dataclass, a wrong value by `checks.py`. Below the entry point only these plain
dataclasses travel, never a DictConfig.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from hiddenmix.config.modes import one_text

TRACKERS = ("tensorboard", "mlflow", "wandb")

DATASETS = (
    *("digits", "mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100", "svhn"),
    *("image_folder", "arrays", "import"),
)


@dataclass(kw_only=True)
class DatasetConfig:
    name: str = "digits"
    """Which data set: one of `DATASETS`."""

    title: str | None = None
    """What reports call the data; by default its name."""

    leaks: str = "keep"
    """Training images that stand in the test set too: `keep` them, or `drop` them."""

    outside: Any = None
    """Further test sets of the same classes, by name: a folder of classes, an `.npz` with `x_test` and
    `y_test`, or a folder of CIFAR-10-C / CIFAR-100-C. Measured with `evaluation=full`."""

    root: str | None = None
    """What holds the data: torchvision's `root`, the folder of images (null is `data` for both), or the
    `.npz` file of `dataset=arrays`."""

    train: str | None = None
    """`image_folder`: the folder below `root` with the training images; null is `train`."""

    test: str | None = None
    """`image_folder`: the folder below `root` with the test images; null is `test`."""

    test_fraction: float | None = None
    """`image_folder` without a test folder: share of the images held out as the test set, the same of
    each class. Which images depends on their files' names alone, on no seed."""

    target: str | None = None
    """`import`: the function that returns training and test set, such as `mydata.make`."""

    download: bool = True
    """Download a missing torchvision data set into `root`."""

    augment: str = "none"
    """Training augmentation: `none`, or `flip_crop` (random horizontal flip and 4-pixel random crop)."""

    validation: float = 0.0
    """Fraction of the training images held out, stratified, for tuning; 0 holds out none."""

    train_size: int | None = None
    """Train on a stratified subset of this many images (small-data studies); null takes all."""

    resample: bool = False
    """Each seed trains on a stratified subset of its own of `train_size` images, the same for all
    settings of that seed: intervals over seeds then cover the choice of the training images."""

    split_seed: int = 0
    """Which stratified subset `validation` and `train_size` take; the same for every `seed`."""

    resize: Any = None
    """`image_folder`: side in pixels to which every image is resized, or [height,width]; null expects one
    size."""

    resize_mode: str = "squash"
    """What `resize` does to images with another ratio of sides: `squash`, `crop` (cut from the middle) or
    `pad` (black on both sides)."""


@dataclass(kw_only=True)
class ModelConfig:
    name: str = MISSING
    """Which network; chosen by the group: `model=cnn|preact_resnet18|torchvision|timm|import`."""

    weights: str | None = None
    """A `.safetensors` file with weights to start from, by the names of the network's own; those that the
    file lacks, or has in another shape, as heads for other classes, are named and start at random."""

    weights_digest: str | None = None
    """Filled in: the first 16 digits of the SHA-256 of `weights`."""


@dataclass(kw_only=True)
class CnnConfig(ModelConfig):
    """Stages conv1, pool1, conv2, pool2, conv3, pool3, fc1, classifier."""

    name: str = "cnn"

    channels: list[int] = field(default_factory=lambda: [32, 64, 128])
    """Output channels of conv1, conv2 and conv3."""

    width: int = 256
    """Units of the fully connected stage fc1."""

    batch_norm: bool = True
    """BatchNorm between each convolution (and fc1's linear map) and its ReLU."""

    dropout: float = 0.0
    """Dropout probability before fc1 and before the classifier."""


@dataclass(kw_only=True)
class PreactResNet18Config(ModelConfig):
    """Pre-activation ResNet-18 for small images (He et al. 2016), the network of the mixup papers."""

    name: str = "preact_resnet18"

    width: int = 64
    """Channels of the first stage; the others have 2, 4 and 8 times as many."""


@dataclass(kw_only=True)
class TorchvisionConfig(ModelConfig):
    """Any classification network of torchvision, untrained."""

    name: str = "torchvision"

    arch: str = "resnet18"
    """torchvision's name of the network, such as `resnet18` or `vgg11_bn`."""

    small_stem: bool | None = None
    """Residual networks: 3x3 stem of stride 1 and no max pooling, for images of about 32x32; null takes
    it for images of at most 64 pixels a side."""


@dataclass(kw_only=True)
class TimmConfig(ModelConfig):
    """Any classification network of timm, untrained; needs the extra `timm`."""

    name: str = "timm"

    arch: str = "resnet18"
    """timm's name of the network, such as `vit_tiny_patch16_224`, without the tag of its weights."""

    arguments: Any = None
    """Further arguments of `timm.create_model`, such as `{patch_size: 4}`."""


@dataclass(kw_only=True)
class ImportConfig(ModelConfig):
    """A network of your own, or of an installed package, imported because it is named here."""

    name: str = "import"

    target: str = ""
    """`module.Class`, or a function, that makes the network: of a file in this folder or of an installed
    package. Called with `arguments`, and where its signature has them with `classes` or `num_classes`
    (their number), `shape` (C, H, W), and `in_channels` if it has no default."""

    arguments: Any = None
    """Arguments by keyword, such as `{width: 64}`."""

    source: str | None = None
    """Filled in: 16 digits of a SHA-256 of the code that `target` comes from, so that a changed network
    is another one."""


MODELS: tuple[type[ModelConfig], ...] = (
    *(CnnConfig, PreactResNet18Config, TorchvisionConfig),
    *(TimmConfig, ImportConfig),
)


@dataclass(kw_only=True)
class OptimizerConfig:
    name: str = MISSING
    """Which optimizer; chosen by the group: `optimizer=sgd|adam`."""

    lr: float = 0.05
    """Peak learning rate."""

    weight_decay: float = 5e-4
    """L2 penalty, as in torch's optimizers."""

    schedule: str = "one_cycle"
    """Learning rate over the run: `one_cycle`, `cosine`, `step` or `constant`."""

    warmup: float = 0.2
    """`one_cycle`: fraction of the steps in which the learning rate rises."""

    milestones: list[float] = field(default_factory=lambda: [0.5, 0.75])
    """`step`: fractions of the run after which the learning rate is multiplied by `gamma`."""

    gamma: float = 0.1
    """`step`: factor at each milestone."""


@dataclass(kw_only=True)
class SgdConfig(OptimizerConfig):
    name: str = "sgd"

    momentum: float = 0.9
    """Momentum; 0 is plain SGD."""

    nesterov: bool = True
    """Nesterov momentum (needs momentum > 0)."""


@dataclass(kw_only=True)
class AdamConfig(OptimizerConfig):
    name: str = "adam"

    lr: float = 1e-3

    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    """Decay rates of the first and second moment."""


GROUPS: dict[str, tuple[type[Any], ...]] = {
    "dataset": (DatasetConfig,),
    "model": MODELS,
    "optimizer": (SgdConfig, AdamConfig),
}
"""The groups of the configuration, with the dataclasses that a file of each may fill."""


@dataclass(kw_only=True)
class Config:
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    model: ModelConfig = field(default_factory=CnnConfig)
    optimizer: OptimizerConfig = field(default_factory=SgdConfig)

    layer: Any = "conv1"
    """Where to mix: `input`, `none`, a dotted submodule name, or a list of these (Manifold Mixup)."""

    mode: str = "siamese"
    """How many images are mixed: `siamese` two, `triplet` three, or their number (2 is `siamese`)."""

    alpha: float = 1.0
    """Parameter of the Beta or symmetric Dirichlet distribution of the weights."""

    lam: str = "batch"
    """One draw of the weights for each `batch`, or for each `sample`."""

    partners: str = "permutation"
    """Mix with a `permutation` of the same batch, or with `independent` minibatches (K branches)."""

    operation: str = "mixup"
    """How maps are mixed: `mixup` sums them, `cutmix` pastes a box of the partner's (at the layer's own
    resolution; of tokens and vectors a stretch). The baseline at the input is then image CutMix."""

    originals: float = 0.0
    """Weight of the added mean cross-entropy of the unmixed images."""

    seed: int = 0
    """Seed of every random stream; with `repeats`, the first of them."""

    repeats: Any = 3
    """How many seeds: seed, seed + 1, ... `auto` adds seeds until the study's question is answered,
    with bounds that allow for looking, and trains only the settings that the question needs."""

    max_repeats: int = 30
    """`repeats=auto`: at most so many seeds."""

    baseline: bool = True
    """Train plain training and image mixup, of as many images and of two, beside the requested setting
    where the study lacks them."""

    margin: float = 0.5
    """Percentage points of accuracy below which a difference does not matter: what "equal" means."""

    study: str = "default"
    """Folder of the results below `outputs/`."""

    epochs: int = 30
    """Passes over the training images."""

    batch_size: int = 128
    """Images in a minibatch; the last one of an epoch may be smaller."""

    precision: str = "float32"
    """`float32`, or `bf16` for autocast to bfloat16."""

    compile: Any = "auto"
    """`true`: torch.compile for the training step. `auto` never compiles, which has not paid. On a GPU
    both record steps as CUDA graphs; `false` is eager, step by step."""

    device: str = "auto"
    """`auto` (the accelerator where there is one), `cpu`, or one as torch calls it: `cuda`, `cuda:1`,
    `mps`, `xpu`."""

    workers: Any = "auto"
    """How many networks are trained at once: `auto` takes one for each GPU, or for each `threads` of the
    physical cores, as far as memory allows. Results are the same to the bit for any number."""

    threads: int = 1
    """CPU threads of each network. Another number rounds differently: slightly other results."""

    evaluation: str = "clean"
    """After training: `clean` test images, or `full` for shifted and adversarial ones too."""

    evaluation_images: int | None = None
    """At most so many test images, a fixed stratified subset, for the shifted, adversarial and outside
    tests of `evaluation=full`; null takes all."""

    evaluate_every: int | None = None
    """Epochs between measurements of the test curve; null keeps them within 5 % of the time."""

    checkpoint_seconds: float = 30.0
    """At most so many seconds of training are lost when a run is killed."""

    tracker: Any = field(default_factory=lambda: ["tensorboard"])
    """Who is told how networks train: any of `tensorboard`, `mlflow`, `wandb`, or `[]` for none."""

    def __post_init__(self) -> None:
        self.mode = one_text(self.mode)


def seeds(config: Config) -> range:
    """The seeds of a setting, with `repeats=auto` as many as there may be."""
    many = config.max_repeats if config.repeats == "auto" else config.repeats
    return range(config.seed, config.seed + many)


def layers(config: Config) -> list[str]:
    """The layers of a setting as a list; one name where `layer` is no list."""
    return list(config.layer) if isinstance(config.layer, (list, tuple)) else [config.layer]


def trackers(config: Config) -> list[str]:
    """The trackers of a configuration as a list; one name where `tracker` is no list."""
    named = config.tracker
    return list(named) if isinstance(named, (list, tuple)) else [named]
