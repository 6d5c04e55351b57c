"""Which cells a command needs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hiddenmix import data as data_room
from hiddenmix import networks
from hiddenmix.config import Config, ConfigError, TorchvisionConfig, layers, seeds, with_digests
from hiddenmix.data import Description
from hiddenmix.networks import layers_of
from hiddenmix.study.cells import cell_id, image_mixup, is_plain, plain, setting_key, two_images
from hiddenmix.study.devices import choose_device
from hiddenmix.study.shared_cells import united
from hiddenmix.study.shared_data import can_share
from hiddenmix.study.store import OUTPUTS, check_study
from hiddenmix.study.tracking import check_trackers


@dataclass(frozen=True)
class Plan:
    """The cells that a command needs."""

    requested: dict[str, Config]
    """Settings that were asked for, by key, in that order; their seed means nothing."""

    cells: dict[str, Config]
    """Every cell by id, baselines included, in the order of training: seed by seed, so that a
    study which is stopped half-way is balanced."""


def make_plan(
    configs: Iterable[tuple[Config, str]], most: int | None = None, *, apart: bool = False
) -> Plan:
    """The cells of all `configs` (one for each job of a sweep), shared baselines once; each with the
    digest of its data set. `most`: of each setting no more than so many seeds. `apart` and errors as in
    `united`."""
    requested: dict[str, Config] = {}
    by_seed: dict[int, dict[str, Config]] = {}
    for config, digest in configs:
        requested.setdefault(setting_key(config, digest), config)
        for seed in seeds(config)[:most]:
            own = replace(config, seed=seed)
            baselines = [plain(own), two_images(own), image_mixup(own)] if config.baseline else []
            for cell in (*baselines, plain(own) if is_plain(own) else own):
                name, cells = cell_id(cell, digest), by_seed.setdefault(seed, {})
                known = cells.get(name)
                cells[name] = cell if known is None else united(known, cell, name, apart=apart)
    cells_in_order = {key: cell for seed in sorted(by_seed) for key, cell in by_seed[seed].items()}
    return Plan(requested, cells_in_order)


def check_requests(configs: Sequence[Config]) -> None:
    """Refuse, before anything is loaded or written, what the configurations' own checks cannot see:
    data that is not there, an unknown layer or device, a folder that cannot be written. Raises
    `UserError`. Settles what the images and files decide: `model.small_stem`, and the digests of
    code and weights."""
    automatic = [config for config in configs if config.repeats == "auto"]
    planned = ("repeats", "max_repeats", "seed", "margin") if automatic else ()
    for key in ("device", "workers", "threads", "tracker", *planned):
        values = {str(value): value for value in (getattr(config, key) for config in configs)}
        if len(values) > 1:
            shown = [values[name] for name in sorted(values)]
            raise ConfigError(key, shown, "one value for all jobs of a command")
    check_trackers(configs[0])
    if configs[0].workers not in ("auto", 1) and not can_share():
        raise ConfigError("workers", configs[0].workers, "auto or 1, on this system")
    descriptions: dict[str, Description] = {}
    for config in configs:
        choose_device(config.device, 0)
        check_study(OUTPUTS / config.study)
        dataset = repr(config.dataset)
        if dataset not in descriptions:
            descriptions[dataset] = data_room.describe(config.dataset)
        description = descriptions[dataset]
        config.model = with_digests(config.model)
        if isinstance(config.model, TorchvisionConfig):
            small = networks.has_small_stem(config.model, description.shape)
            config.model = replace(config.model, small_stem=small)
        if config.batch_size > description.train_size:
            raise batch_too_large(config.batch_size, description.train_size)
        if config.evaluation == "full":
            check_images("evaluation_images", config.evaluation_images, description.classes)
        names = [name for name in layers(config) if name != "none"]
        networks.check_layers(
            names, layers_of(config.model, description.shape, description.classes)
        )
    if automatic:
        question_alone(automatic)
    check_shared(configs)


def check_shared(configs: Sequence[Config], *, apart: bool = False) -> None:
    """Refuse jobs that share a network and contradict each other in what is measured of it, before their
    data are read. `apart` and errors as in `united`."""
    studies: dict[str, list[Config]] = {}
    for config in configs:
        studies.setdefault(config.study, []).append(config)
    for jobs in studies.values():
        if len({_measured(each) for each in jobs}) > 1:
            # What they are read from stands for the data's content.
            make_plan(((each, repr(data_room.source(each.dataset))) for each in jobs), apart=apart)


def _measured(config: Config) -> tuple[str, ...]:
    keys = ("evaluation", "evaluation_images", "evaluate_every", "margin")
    return (*(repr(getattr(config, key)) for key in keys), repr(config.dataset.outside))


def check_images(key: str, images: int | None, classes: int) -> None:
    """Raise `ConfigError` for a subset of the test images that is too small for its `classes`."""
    if images is not None and images < classes:
        raise ConfigError(key, images, f"{classes:,} or more, at least one image of each class")


def batch_too_large(batch_size: int, images: int) -> ConfigError:
    """The error for a batch of more than the training images."""
    usual = f"{batch_size} is the default, " if batch_size == Config().batch_size else ""
    eighth = 2 ** max(1, (images // 8).bit_length() - 1)  # eight steps an epoch, or more
    hint = f"{usual}set for example batch_size={eighth}"
    return ConfigError("batch_size", batch_size, f"2 to {images} training images; {hint}")


def question_alone(configs: Sequence[Config]) -> tuple[list[Config], list[Config]]:
    """Those of `configs` that the study's question needs beside its baselines, and the others.

    Of each data set and network that is the lowest hidden layer which is a cut and no image mixup in
    disguise.
    Raises `ConfigError` where there is none.
    """
    needed: list[Config] = []
    groups: dict[tuple[str, str], list[Config]] = {}
    for config in configs:
        dataset = replace(config.dataset, outside=None)  # which makes no other network
        groups.setdefault((repr(dataset), repr(config.model)), []).append(config)
    for group in groups.values():
        asked = [layers(config) for config in group]
        lowest = next((name for name in question_layers(group[0]) if [name] in asked), None)
        if lowest is None:
            raise ConfigError("layer", group[0].layer, "a hidden layer, with repeats=auto")
        needed += [config for config in group if layers(config) == [lowest]]
    return needed, [config for config in configs if config not in needed]


def question_layers(config: Config) -> list[str]:
    """The hidden layers that a question may be about, the lowest first."""
    description = data_room.describe(config.dataset)
    return [
        each.name
        for each in layers_of(config.model, description.shape, description.classes)
        if each.cut and not each.disguise and each.name != "input"
    ]
