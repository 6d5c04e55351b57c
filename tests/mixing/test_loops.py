"""The examples of docs/loops.md, run as they stand and compared with the training written by hand."""

import copy
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import hiddenmix
from tests.support.commands import HANG

PAGE = (Path(__file__).parents[2] / "docs" / "loops.md").read_text()
EXAMPLES = dict(re.findall(r"^```python\n# ([^\n]+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))

Batches = list[tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Tanh())
        self.layer2 = nn.Sequential(nn.Conv2d(4, 5, 3), nn.Tanh())
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(5 * 2 * 2, 3))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layer2(self.layer1(x)))
        return logits


def network() -> Network:
    made = Network().double()
    generator = torch.Generator().manual_seed(0)
    for value in made.parameters():
        value.data.copy_(0.3 * torch.randn(value.shape, generator=generator, dtype=value.dtype))
    return made


def batches(seed: int = 1, side: int = 6, kind: torch.dtype = torch.float64) -> Batches:
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(8, 3, side, side, generator=generator, dtype=torch.float64).to(kind),
            torch.randint(3, (8,), generator=generator),
        )
        for _ in range(4)
    ]


def run(name: str, trained: nn.Module, **others: Any) -> dict[str, Any]:
    """Run the example `name`, in which `trained` is the network."""
    scope = {
        **{"np": np, "torch": torch, "nn": nn, "F": F, "hiddenmix": hiddenmix},
        **{"network": trained, "loader": batches()},
        "optimizer": torch.optim.SGD(trained.parameters(), lr=0.1),
        **others,
    }
    exec(EXAMPLES[name], scope)  # noqa: S102
    return scope


def by_hand(
    trained: nn.Module,
    draws: Iterator[hiddenmix.Draw | None],
    *,
    loss: Loss | None = None,
    every: int = 1,
    share: float = 1.0,
    mixed: Callable[[Tensor, hiddenmix.Draw], tuple[Tensor, Tensor]] | None = None,
    data: Batches | None = None,
) -> dict[str, Tensor]:
    """The weights after training, written out: an unmixed step where the draw is None."""
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.1)
    loss = loss or (lambda y, t: F.cross_entropy(y, t, reduction="none"))
    for step, ((images, labels), draw) in enumerate(zip(data or batches(), draws, strict=False), 1):
        if draw is None:
            total = loss(trained(images), labels).mean()
        else:
            maps, weights = images, draw.weights.expand(draw.index.shape)
            for name, stage in [("input", nn.Identity()), *trained.named_children()]:
                maps = stage(maps)
                if name == (draw.layer or "layer1"):
                    maps, weights = (mixed or sums)(maps, draw)
            each = [loss(maps, labels[row]) for row in draw.index]
            parts = [
                w @ values.reshape(len(labels), -1).mean(1)
                for w, values in zip(weights, each, strict=True)
            ]
            total = torch.stack(parts).sum() / len(labels)
        torch.autograd.backward(total * share)
        if step % every == 0:
            optimizer.step()
            optimizer.zero_grad()
    return trained.state_dict()


def sums(maps: Tensor, draw: hiddenmix.Draw) -> tuple[Tensor, Tensor]:
    weights = draw.weights.to(maps.dtype).expand(draw.index.shape)
    column = weights.reshape(*weights.shape, *[1] * (maps.dim() - 1))
    return (column * maps[draw.index]).sum(0), weights


def draws(
    generator: np.random.Generator | torch.Generator, **options: Any
) -> Iterator[hiddenmix.Draw]:
    while True:
        yield hiddenmix.draw(generator, 8, **options)


def assert_same(ours: nn.Module, theirs: dict[str, Tensor], tolerance: float = 1e-6) -> None:
    state = ours.state_dict()
    assert len(state) == len(theirs)
    for mine, other in zip(state.values(), theirs.values(), strict=True):
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)
    before = network().state_dict()["head.1.weight"].to(state["head.1.weight"].dtype)
    assert (state["head.1.weight"] - before).abs().max() > 1e-2


def seeded() -> np.random.Generator:
    return np.random.default_rng(0)


def test_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, with fewer images, and its two epochs by hand."""
    from sklearn import datasets

    digits = datasets.load_digits()
    few = SimpleNamespace(images=digits.images[:300], target=digits.target[:300])
    monkeypatch.setattr(datasets, "load_digits", lambda: few)
    text = EXAMPLES["complete"].replace("float32", "float64")
    setup, loop = text.split("\n\ngenerator = ")
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        exec(setup, ours)  # noqa: S102
        before = copy.deepcopy(ours["network"].state_dict())
        exec(f"generator = {loop}", ours)  # noqa: S102
        exec(setup, theirs)  # noqa: S102
    finally:
        torch.set_default_dtype(default)
    drawn, expected = seeded(), {}
    for _ in range(2):
        data = list(theirs["loader"])
        epoch = (hiddenmix.draw(drawn, len(labels)) for _, labels in data)
        expected = by_hand(theirs["network"], epoch, data=data)
    for name, value in ours["network"].state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-6)
        assert "weight" not in name or not torch.equal(value, before[name])


def test_plain() -> None:
    ours = network()
    run("plain", ours)
    assert_same(ours, by_hand(network(), draws(seeded(), mode="triplet")))


def test_several_layers() -> None:
    ours = network()
    run("several layers", ours)
    layers = ["input", "layer1", "layer2"]
    assert_same(ours, by_hand(network(), draws(seeded(), layers=layers)))


def test_another_loss() -> None:
    ours = network()
    run("another loss", ours)

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        targets = F.one_hot(labels, 3).double()
        return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")

    drawn = draws(torch.Generator().manual_seed(0), mode=4, lam="sample")
    assert_same(ours, by_hand(network(), drawn, loss=loss))


def test_cutmix() -> None:
    def pasted(maps: Tensor, draw: hiddenmix.Draw) -> tuple[Tensor, Tensor]:
        assert draw.centres is not None
        mixed = maps[draw.index[0]].clone()
        areas = torch.zeros(2, 8, dtype=maps.dtype)
        for i in range(8):
            side = float(draw.weights[1, i]) ** 0.5
            row, column = (float(each) for each in draw.centres[1, 1:, i])
            for y in range(4):
                for x in range(4):
                    if (
                        abs((y + 0.5) / 4 - row) < side / 2
                        and abs((x + 0.5) / 4 - column) < side / 2
                    ):
                        mixed[i, :, y, x] = maps[draw.index[1, i], :, y, x]
                        areas[1, i] += 1 / 16
        areas[0] = 1 - areas[1]
        return mixed, areas

    ours = network()
    run("cutmix", ours)
    drawn = draws(seeded(), operation="cutmix", lam="sample")
    assert_same(ours, by_hand(network(), drawn, mixed=pasted))


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    """torch.compile as it is in a new process."""
    from torch import _dynamo

    def reset() -> None:
        torch.compiler.reset()
        _dynamo.config.skip_nnmodule_hook_guards = True

    reset()
    yield
    reset()


@pytest.mark.usefixtures("_fresh_compiler")
def test_torch_compile_from_an_unmixed_step_on() -> None:
    ours = network()
    run("torch.compile", ours, backend="aot_eager")

    def every_other() -> Iterator[hiddenmix.Draw | None]:
        for draw in draws(seeded()):
            yield None
            yield draw

    assert_same(ours, by_hand(network(), every_other()))


@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's own, of a compiled part
@pytest.mark.parametrize("what", ["network", "in place", "part", "in the block", "function"])
def test_no_order_of_compiled_steps_loses_the_mixing(what: str) -> None:
    ours, images, generator = network(), batches()[0][0], seeded()
    theirs = copy.deepcopy(ours)
    called: Callable[[Tensor], Tensor] = ours
    named: Any = ours
    if what == "network":
        named = called = torch.compile(ours, backend="eager")
    elif what == "in place":
        ours.compile(backend="eager")
    elif what == "part":
        ours.layer2 = torch.compile(ours.layer2, backend="eager")  # type: ignore[assignment]
    elif what == "function":
        called = torch.compile(lambda x: 1.0 * ours(x), backend="eager")
    order = [None, "layer1", None, "layer1"]
    if what == "network":  # each kind of pass is compiled anew, which takes time
        order[2:2] = ["eval", "layer2.1", "input"]
    for layer in order:
        ours.train(layer != "eval")
        theirs.train(layer != "eval")
        if layer is None or layer == "eval":
            torch.testing.assert_close(called(images), theirs(images))
            continue
        draw = hiddenmix.draw(generator, 8, operation="cutmix" if layer == "layer2.1" else "mixup")
        with hiddenmix.mixing_at(named, layer, draw):
            if what == "in the block":
                called = torch.compile(ours, backend="eager")
            logits = called(images)
        with hiddenmix.mixing_at(theirs, layer, draw):
            torch.testing.assert_close(logits, theirs(images))


@pytest.mark.usefixtures("_fresh_compiler")
def test_mixed_steps_with_new_draws_are_one_graph() -> None:
    from torch._dynamo.testing import CompileCounter

    counter, images = CompileCounter(), batches()[0][0]
    compiled: Any = torch.compile(network(), backend=counter)
    for seed in range(12):
        draw = hiddenmix.draw(seed, 8)
        with hiddenmix.mixing_at(compiled, "_orig_mod.layer1", draw):
            compiled(images)
    assert counter.frame_count == 1


@pytest.mark.slow
@pytest.mark.usefixtures("_fresh_compiler")
def test_inductor_reduce_overhead() -> None:
    ours = network()
    ours.layer2[0] = nn.Identity()  # half the time to compile
    ours.head[1] = nn.LazyLinear(3).double()
    ours(batches()[0][0])
    theirs, images = copy.deepcopy(ours), batches()[0][0]
    compiled: Any = torch.compile(ours, mode="reduce-overhead")
    for layer in (None, "layer1", None, "layer1"):
        draw = hiddenmix.draw(0, 8)
        if layer is None:
            torch.testing.assert_close(compiled(images), theirs(images))
            continue
        with hiddenmix.mixing_at(compiled, layer, draw):
            logits = compiled(images)
        with hiddenmix.mixing_at(theirs, layer, draw):
            torch.testing.assert_close(logits, theirs(images))


def test_autocast() -> None:
    ours = without_batch_norm().float()
    run("autocast", ours, loader=batches(kind=torch.float32))
    expected = by_hand(without_batch_norm(), draws(seeded()))
    assert_same(ours, {key: value.float() for key, value in expected.items()}, tolerance=5e-3)


def test_gradient_accumulation() -> None:
    ours = network()
    run("gradient accumulation", ours)
    assert_same(ours, by_hand(network(), draws(seeded()), every=2, share=0.5))


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpoint(reentrant: bool) -> None:
    def checkpointed(images: Tensor) -> Tensor:
        maps = checkpoint(ours.layer1, images.requires_grad_(), use_reentrant=reentrant)
        logits: Tensor = ours.head(ours.layer2(maps))
        return logits

    # Without the BatchNorm, whose running statistics a recomputation updates a second time.
    ours, theirs = network(), network()
    ours.layer1[1] = theirs.layer1[1] = nn.Tanh()

    def behind_the_convolution() -> Iterator[hiddenmix.Draw]:
        yield from draws(seeded(), layers=["layer1"])

    ours.forward = checkpointed  # type: ignore[method-assign, assignment]
    run("activation checkpoint", ours, checkpointed=ours)
    # Mixing a bare convolution's output is mixing its input.
    expected = by_hand(theirs, draws(seeded(), layers=["input"]))
    assert_same(ours, expected)


def test_torch_func() -> None:
    ours = without_batch_norm()  # torch.func keeps no running statistics
    scope = run("torch.func", ours)
    ours.load_state_dict(scope["values"])
    assert_same(ours, by_hand(without_batch_norm(), draws(seeded())))


def test_timm() -> None:
    import timm
    import timm.loss
    import timm.optim
    import timm.utils

    data, unused = batches(side=32, kind=torch.float32), network()
    torch.manual_seed(0)
    ours = run("timm", unused, timm=timm, loader=data)
    torch.manual_seed(0)
    theirs = timm.create_model("test_resnet", num_classes=3)
    optimizer = timm.optim.create_optimizer_v2(theirs, opt="sgd", lr=0.1)
    for (images, labels), draw in zip(data, draws(seeded(), fold=True), strict=False):
        handle = theirs.layer1.register_forward_hook(lambda m, a, y, draw=draw: sums(y, draw)[0])
        logits = theirs(images)
        handle.remove()
        weights = draw.weights.expand(2, 8)
        each = [F.cross_entropy(logits, labels[row], reduction="none") for row in draw.index]
        loss = torch.stack([(w * e).mean() for w, e in zip(weights, each, strict=True)]).sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    for mine, other in zip(ours["network"].parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)
    assert not any(module._forward_hooks for module in ours["average"].module.modules())


# What lightning says of the machine, and what torch says of lightning.
@pytest.mark.filterwarnings("ignore:The `srun` command is available")
@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
@pytest.mark.filterwarnings(
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"
)
def test_lightning() -> None:
    import lightning

    quiet = {
        **{"accelerator": "cpu", "logger": False, "enable_checkpointing": False},
        **{"enable_progress_bar": False, "enable_model_summary": False, "barebones": False},
    }
    ours = network()
    loader: Any = torch.utils.data.DataLoader(batches(), batch_size=None)  # type: ignore[arg-type]
    run("Lightning", ours, lightning=lightning, quiet=quiet, loader=loader)
    assert_same(ours, by_hand(network(), draws(seeded())))


def test_hugging_face(tmp_path: Path) -> None:
    import transformers

    layer = "resnet.encoder.stages.0"
    scope = run("Hugging Face", network(), transformers=transformers, layer=layer)
    config = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], num_labels=3, layer_type="basic"
    )
    torch.manual_seed(0)
    ours = transformers.ResNetForImageClassification(config)
    theirs = copy.deepcopy(ours)
    data = batches(side=32, kind=torch.float32)
    items = [
        {"pixel_values": image, "labels": label}
        for images, labels in data
        for image, label in zip(images, labels, strict=True)
    ]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=8,
        num_train_epochs=1,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        learning_rate=0.1,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0.0,
        remove_unused_columns=False,
    )

    class InOrder(scope["MixedTrainer"]):  # type: ignore[misc, name-defined, valid-type]
        def get_train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(items, batch_size=8)  # type: ignore[arg-type]

    InOrder(model=ours, args=arguments, train_dataset=items).train()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    theirs.train()
    for (images, labels), draw in zip(data, draws(seeded()), strict=False):
        with hiddenmix.mixing_at(theirs, layer, draw):
            logits = theirs(pixel_values=images).logits
        torch.autograd.backward(hiddenmix.mixed_cross_entropy(logits, labels, draw))
        optimizer.step()
        optimizer.zero_grad()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


def of_rank(rank: int, place: str) -> dict[str, dict[str, Tensor]]:
    """The weights that both kinds of parallel training come to in this process of two."""
    from torch import distributed
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=place, rank=rank, world_size=2, timeout=timedelta(seconds=HANG)
    )
    found = {}
    try:
        for name, others in (
            ("DistributedDataParallel", {"DistributedDataParallel": DistributedDataParallel}),
            ("FSDP2", {"fully_shard": fully_shard}),
        ):
            ours = without_batch_norm()
            loader = batches(seed=rank)
            run(name, ours, rank=rank, loader=loader, **others)
            # With the wrapper's own name too, and at the input.
            wrapped = DistributedDataParallel(ours) if "Distributed" in name else ours
            for layer in ("module.layer1", "input"):
                draw = hiddenmix.draw(rank, 8, layers=[layer])
                with hiddenmix.mixing_at(wrapped, layer, draw):
                    logits = wrapped(loader[0][0])
                expected = sums(loader[0][0], draw)[0] if layer == "input" else None
                assert expected is None or torch.allclose(logits, wrapped(expected))
            found[name] = {
                key: value.full_tensor() if hasattr(value, "full_tensor") else value
                for key, value in ours.state_dict().items()
            }
    finally:
        distributed.destroy_process_group()
    return found


def without_batch_norm() -> Network:
    """Each process has its own batch statistics, which the training by hand would have to follow."""
    made = network()
    made.layer1[1] = nn.Tanh()
    return made


@pytest.mark.slow
def test_parallel_training_in_two_processes(tmp_path: Path) -> None:
    place = f"file://{tmp_path}/store"
    context = torch.multiprocessing.get_context("spawn")
    other = context.Process(target=of_rank, args=(1, place), daemon=True)
    other.start()
    try:
        found = of_rank(0, place)
        other.join(HANG)
    finally:
        other.kill()
        other.join()
    assert other.exitcode == 0
    theirs = without_batch_norm()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    data = [batches(seed=rank) for rank in range(2)]
    generators = [np.random.default_rng([0, rank]) for rank in range(2)]
    for step in range(4):
        for generator, loader in zip(generators, data, strict=True):
            images, labels = loader[step]
            draw = hiddenmix.draw(generator, 8)
            maps, weights = sums(theirs.layer1(images), draw)
            logits = theirs.head(theirs.layer2(maps))
            each = [F.cross_entropy(logits, labels[row], reduction="none") for row in draw.index]
            loss = torch.stack([(w * e).mean() for w, e in zip(weights, each, strict=True)]).sum()
            torch.autograd.backward(loss / 2)
        optimizer.step()
        optimizer.zero_grad()
    for name, state in found.items():
        for key, value in theirs.state_dict().items():
            torch.testing.assert_close(state[key], value, rtol=1e-6, atol=1e-6, msg=name)


def test_every_example_is_run() -> None:
    source = Path(__file__).read_text()
    assert len(EXAMPLES) == len(re.findall(r"^```python$", PAGE, re.MULTILINE)) == 15
    assert [name for name in EXAMPLES if f'"{name}"' not in source] == []
