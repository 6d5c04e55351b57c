"""The part of the table of bad input that a user types; see bad_input.py."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path


class Gets(Enum):
    """What becomes of bad input."""

    REFUSED = auto()
    RECOVERED = auto()
    FAILED = auto()


class Before(Enum):
    """What lies in the working directory."""

    NOTHING = auto()
    FINISHED = auto()
    """A study with one finished network."""
    INTERRUPTED = auto()
    """A study with one network that was stopped after five of its eight steps."""
    IMAGES = auto()
    """images/, an image folder."""


Prepare = Callable[[Path], object]


@dataclass(frozen=True)
class Bad:
    """A row."""

    name: str
    says: str
    """Regular expression that standard output and error together match."""
    arguments: tuple[str, ...] = ()
    gets: Gets = Gets.REFUSED
    before: Before = Before.NOTHING
    prepare: Prepare | None = None
    """Spoils something: gets the cell's folder for a study, else the working directory."""
    program: str = "train"
    same: bool = False
    """Whether the study must end as the undisturbed one."""


def _value(argument: str, says: str, *more: str, name: str = "") -> Bad:
    return Bad(name or argument, says, (*more, argument))


_NUMBER = r"=\S+ is not allowed\n  allowed: a (whole )?number"
_UNKNOWN = r"is no key of the configuration\n  allowed: "
_NEAR = r"is no key of the configuration; did you mean {0}\?\n  write {0}=<value>"

VALUES = [
    # the setting
    _value("layer=nope", r"layer=nope is not allowed\n  allowed: none, input, conv1"),
    _value("layer=conv1.nope", "allowed: none, input, conv1.conv"),
    _value("layer=", "layer= is not allowed"),
    _value("layer=null", "layer=null is not allowed"),
    _value("layer=[]", r"layer=\[\] is not allowed"),
    _value("layer=[input,none]", "none alone, or a list without none"),
    _value("layer=[input,input]", "a list that names each layer once"),
    _value("layer=[input,[conv1]]", r"layer=\[input,\[conv1\]\] is not allowed"),
    _value("layer={a:1}", "layer=.* is not allowed"),
    _value("layer=7", "layer=7 is not allowed"),
    _value("layer=../conv1", "layer=../conv1 is not allowed"),
    _value("layer='a\nb'", r"layer=a\\nb is not allowed", name="layer with a newline"),
    _value("layer='\x1b[2J'", r"layer=\\x1b\[2J is not allowed", name="layer with an escape code"),
    _value("layer=" + "[" * 400 + "]" * 400, "recursion", name="layer nested 400 deep"),
    _value(
        "mode=quadruplet", "allowed: siamese, triplet, or a whole number of images from 2 to 1000"
    ),
    _value("mode=1", "mode=1 is not allowed"),
    _value("mode=tripple", "did you mean triplet?"),
    _value("tracker=extend_list(mlflow)", "allowed: tensorboard, mlflow, wandb, a list such as"),
    _value("mode=", "allowed: siamese, triplet", name="mode empty"),
    _value("alpha=0", "alpha" + _NUMBER + " above 0"),
    _value("alpha=-1", "alpha" + _NUMBER),
    _value("alpha=nan", "alpha" + _NUMBER),
    _value("alpha=inf", "alpha" + _NUMBER),
    _value("alpha=1e400", "alpha" + _NUMBER),
    _value("alpha=much", "alpha=much is not allowed"),
    _value("alpha=", "alpha= is not allowed"),
    _value("alpha=null", "alpha=null is not allowed"),
    _value("alpha=[1,2]", "alpha=.* is not allowed"),
    _value("lam=epoch", "allowed: batch, sample"),
    _value("partners=friends", "allowed: permutation, independent"),
    _value("originals=-0.1", "originals" + _NUMBER),
    # the run
    _value("seed=-1", "seed" + _NUMBER),
    _value("seed=4294967296", "seed" + _NUMBER),
    _value("seed=1.5", "seed" + _NUMBER),
    _value("seed=" + "1" * 400, "seed" + _NUMBER, name="seed of 400 digits"),
    _value("seed=" + "1" * 5000, "4300 digits", name="seed of 5000 digits"),
    _value(
        "repeats=0", "repeats=0 is not allowed\n  allowed: auto, or a whole number from 1 to 10000"
    ),
    _value("repeats=2", "seed \\+ repeats", "seed=4294967295", name="repeats beyond the seeds"),
    _value("epochs=0", "epochs" + _NUMBER),
    _value("epochs=1e9", "epochs=1000000000 is not allowed"),
    _value("batch_size=0", "batch_size" + _NUMBER),
    _value("batch_size=1", "batch_size" + _NUMBER),
    _value("batch_size=1438", "allowed: 2 to 1437 training images; set for example batch_size=128"),
    _value("precision=fp8", "allowed: float32, bf16"),
    _value("compile=maybe", "allowed: auto, true, false"),
    _value("operation=paste", "allowed: mixup, cutmix"),
    _value("device=tpu", "device=tpu is not allowed\n  allowed: auto, cpu \\("),
    _value(
        "device=CUDA", "allowed: auto, cpu, or an accelerator as torch calls it: cuda, mps, xpu"
    ),
    _value("device=cpu:x", "allowed: auto, cpu, or an accelerator"),
    _value("device=cuda:99", "device=cuda:99 is not allowed"),
    _value("evaluation=everything", "allowed: clean, full"),
    _value("evaluate_every=0", "evaluate_every" + _NUMBER),
    _value("checkpoint_seconds=-1", "checkpoint_seconds" + _NUMBER),
    _value("baseline=perhaps", "baseline=perhaps is not allowed"),
    # the study
    _value("study=", "study= is not allowed", name="study empty"),
    _value("study=../../elsewhere", "study=../../elsewhere is not allowed"),
    _value("study=..", r"study=\.\. is not allowed"),
    _value("study=/absolute", "study=/absolute is not allowed"),
    _value("study=a/b", "study=a/b is not allowed"),
    _value("study=" + "a" * 300, r"study=a+\.\.\. is not allowed", name="study of 300 letters"),
    _value("study='a\nb'", r"study=a\\nb is not allowed", name="study with a newline"),
    _value("study=${oc.env:HOME}", "study=.* is not allowed"),
    # the data
    _value("dataset=imagenet", "allowed: arrays, cifar10, cifar100, digits"),
    _value("dataset.name=imagenet", "dataset.name=imagenet is not allowed"),
    _value("dataset.augment=rotate", "allowed: none, flip_crop"),
    _value("dataset.validation=1", "dataset.validation" + _NUMBER),
    _value("dataset.validation=0.001", "dataset.validation=0.001 is not allowed"),
    _value("dataset.train_size=5", "from 10 "),
    _value("dataset.train_size=1438", "to 1,437"),
    _value("dataset.train_size=1000", "to 719", "dataset.validation=0.5", name="both sizes"),
    _value("dataset.resize=16", "only with dataset=image_folder"),
    _value("dataset.resize=[16]", r"a side from 8 to 4096 pixels, or \[height,width\]"),
    _value("dataset.resize=[16,7]", r"a side from 8 to 4096 pixels, or \[height,width\]"),
    _value("dataset.resize=16.5", r"a side from 8 to 4096 pixels, or \[height,width\]"),
    _value("dataset.resize_mode=stretch", "allowed: squash, crop, pad"),
    _value("dataset.resize_mode=pad", "only with dataset.resize=<side>", "dataset=image_folder"),
    _value(
        "dataset.root=photos", "dataset.root=photos is not allowed\n.* add dataset=image_folder"
    ),
    _value("dataset.root=data", "add dataset=image_folder", name="dataset.root as its default"),
    _value("dataset.train=training", "only with dataset=image_folder"),
    _value("dataset.test=val", "only with dataset=image_folder", "dataset=fashion_mnist"),
    _value("dataset.test_fraction=0.2", "only with dataset=image_folder"),
    _value("dataset.test_fraction=1", "dataset.test_fraction" + _NUMBER, "dataset=image_folder"),
    _value(
        "dataset.test_fraction=0.1",
        "null where dataset.test names a folder",
        *("dataset=image_folder", "dataset.test=val"),
        name="both test and test_fraction",
    ),
    _value("dataset.target=a.b", "only with dataset=import; add that"),
    _value("dataset.download=false", "only with dataset=mnist"),
    _value("dataset=arrays", r"dataset.root=null is not allowed\n  allowed: an .npz file"),
    _value("dataset=import", "dataset.target=null is not allowed"),
    _value("dataset.target=nope_x.make", "no module nope_x", "dataset=import"),
    _value("dataset.target=math.nope", "math has no function nope", "dataset=import"),
    _value("dataset.target=make", "such as mydata.make", "dataset=import", name="no module"),
    _value("dataset.root=x.npz", "x.npz does not exist", "dataset=arrays"),
    _value("dataset.root=", "dataset.root= is not allowed"),
    _value("dataset.root=/nowhere", "/nowhere does not exist", "dataset=image_folder"),
    # the network and the optimizer
    _value("model=transformer", "allowed: cnn, import, preact_resnet18, timm, torchvision"),
    _value("model.name=torchvision", "model=torchvision chooses it"),
    _value("model.channels=[4,4]", "three numbers"),
    _value("model.channels=[4,4,many]", r"model.channels\[2\]=many is not allowed"),
    _value("model.channels=[0,4,4]", r"model.channels=\[0,4,4\] is not allowed"),
    _value("model.channels=[65536,65536,65536]", "GiB of memory to train"),
    _value("model.dropout=1", "model.dropout" + _NUMBER),
    _value("model.arch=resnet19", "allowed: resnet18", "model=torchvision"),
    _value("model.arch=vit_b_16", "cannot be built for 1x8x8", "model=torchvision"),
    _value("model=import", "model.target= is not allowed\n  allowed: module.Class"),
    _value("model.target=mynet", "allowed: module.Class", "model=import"),
    _value("model.target=nonet.Net", "there is no module nonet", "model=import"),
    _value("model.target=torch.nn.Nope", "torch.nn.Nope is not allowed", "model=import"),
    _value("model.arguments=[3]", r"model.arguments=\[3\] is not allowed", "model=timm"),
    _value("model.weights=none.safetensors", "allowed: a .safetensors file"),
    _value("optimizer=lion", "allowed: adam, sgd"),
    _value("optimizer.lr=0", "optimizer.lr" + _NUMBER),
    _value("optimizer.lr=nan", "optimizer.lr" + _NUMBER),
    _value("optimizer.momentum=1", "optimizer.momentum" + _NUMBER),
    _value("optimizer.momentum=0", "optimizer.nesterov=true is not allowed"),
    _value("optimizer.momentum=0.5", "add optimizer=sgd, whose", "optimizer=adam", name="adam"),
    _value("optimizer.betas=[0.9,0.99]", "add optimizer=adam, whose files have optimizer.betas"),
    _value("optimizer.learning_rate=0.1", _NEAR.format("optimizer.lr")),
    _value("model.arch=resnet18", r"add model=torchvision\|timm, whose files have model.arch"),
    _value("model=resnet18", "chosen with model=torchvision model.arch=resnet18"),
    _value("model=torchvision/resnet18", "chosen with model=torchvision model.arch=resnet18"),
    _value("dataset=CIFAR10", r"did you mean cifar10\?"),
    _value("max_repeats=20", "only with repeats=auto; add that"),
    _value("optimizer.betas=[0.9]", "two numbers", "optimizer=adam"),
    _value("optimizer.schedule=linear", "allowed: one_cycle, cosine"),
    _value("optimizer.milestones=[0.9,0.1]", "rising fractions"),
    _value("optimizer.gamma=0.5", "only with optimizer.schedule=step; add that"),
    _value("optimizer.warmup=0.5", "optimizer.schedule=one_cycle", "optimizer.schedule=cosine"),
    # keys and the command line
    _value("alhpa=1", "alhpa " + _NEAR.format("alpha")),
    _value("layers=conv1", "layers " + _NEAR.format("layer")),
    _value("lr=0.1", "lr " + _NEAR.format("optimizer.lr")),
    _value("zzz=1", "zzz " + _UNKNOWN + "dataset, model"),
    _value("alpha=0,5", "add -m to train each of them; a fraction is written alpha=0.5"),
    _value("seed=1,000", "add -m to train each of them; one number is written seed=1000"),
    _value("alpha=choice(1,2)", r"alpha=choice\(1,2\) is more than one value\n  add -m"),
    _value("layer=sort(a,b)", "add -m to train each of them$"),
    _value("study=a,b", "study=a,b is more than one value\n  add -m"),
    _value("alpha=[0.1,0.2]", "several are alpha=0.1,0.2 with -m", "-m"),
    _value("alpha=glob(*)", r"glob\(...\) finds files of conf/ alone", "-m"),
    _value("optimizer=glob(nope*)", r"nothing to train: a glob\(...\)", "-m"),
    _value("study=???", r"study=\?\?\? is not allowed\n  allowed: a name"),
    _value("dataset.title=???", r"dataset.title=\?\?\? is not allowed"),
    _value("study=${oc.env:NO_SUCH}", "that environment variable is not set\n  set it, or write"),
    _value("layer=${env:HOME}", r"an environment variable is \${oc.env:NAME}"),
    _value("layer=${NO_SUCH}", r"an environment variable is \${oc.env:NO_SUCH}"),
    _value("hydra.mode=multirun", "allowed: RUN, MULTIRUN; or -m"),
    _value("hydra.nope=1", "hydra.nope is no key of Hydra's\n  see --cfg hydra"),
    _value("+foo=1", "foo " + _UNKNOWN),
    _value("+model.foo=1", "model.foo " + _UNKNOWN + "model.name"),
    _value("~alpha", "~alpha is not allowed"),
    _value("model.depth=3", "model.depth " + _UNKNOWN + "model.name, .*model.channels"),
    _value("alpha.beta=1", "is not allowed|is no key"),
    _value("alpha", "alpha is no key=value"),
    _value("=1", "see python -m hiddenmix.train --help"),
    _value("layer='input", "layer='input"),
    _value("layer=[input", "a bracket that is not closed"),
    _value("alpha=${nothing}", "'nothing' not found"),
    _value("alpha=${alpha}", "Recursive interpolation"),
    _value("experiment=nope", "allowed: answer_cifar, .*, paper, paper_small"),
    _value("hydra/launcher=nope", "hydra/launcher=nope is not allowed"),
    _value("mode=siamese,triplet", "add -m to train each of them"),
    _value("layer=input,conv1", r"layer=\[input,conv1\]"),
    _value("--nope", "--nope is no flag of train\n  see python -m hiddenmix.train --help"),
    _value("--epochs=3", "--epochs is no flag of train\n  write epochs=3"),
    _value("--cfg=x", "--cfg/-c: invalid choice: 'x'"),
    _value("--cfg=job", "--cfg shows one setting\n  leave out -m and give one value", "-m"),
    _value("--config-name=nope", "Cannot find primary config 'nope'"),
    _value("--config-dir=/nowhere", "'/nowhere' not found"),
    # sweeps are refused whole
    _value("layer=input,conv1,nope", "layer=nope is not allowed", "-m"),
    _value("alpha=0.2,1.0,much", "alpha=much is not allowed", "-m"),
    _value("study=a,../b", "study=../b is not allowed", "-m"),
]
