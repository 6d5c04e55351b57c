"""Accuracy under the fast gradient sign method."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hiddenmix.evaluation.measuring import Measurement, Tally, Value, evaluating

EPSILONS = (1, 2, 4, 8)
"""Strengths of the fast gradient sign method, in units of 1/255."""


ATTACK = 2
"""Version of the attack. That of results which name none, 1, took the gradient of the cross-entropy as it
is, which saturates: where the true class's probability rounds to 1, the part of its own logit is 0."""


def fgsm(pixels: Tensor, gradient: Tensor, epsilon: float) -> Tensor:
    """Pixels moved by `epsilon` along the gradient's sign, clamped to [0, 1]; all [B, C, H, W].

    The fast gradient sign method (Goodfellow et al., ICLR 2015, section 4).
    """
    return (pixels + epsilon * gradient.sign()).clamp_(0, 1)


def adversarial(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    batch_size: int | None = None,
    precision: str = "float32",
) -> Iterator[tuple[str, Value]]:
    """`adversarial/fgsm_<e>/accuracy`, `.../nll` and `.../class` (int32 [N]) under FGSM of e/255, for
    each e of `EPSILONS`.

    White-box: the gradient's sign is the network's own, of the cross-entropy of the true label with
    respect to the pixels in [0, 1], computed once for all strengths.
    """
    tests = Measurement(network, images, labels, mean, std, batch_size, precision)
    tally = Tally(len(EPSILONS), len(images), images.device)
    with evaluating(network):
        for start, pixels, batch_labels in tests.batches():
            gradient = _pixel_gradient(tests, pixels, batch_labels)
            with torch.inference_mode():
                for row, epsilon in enumerate(EPSILONS):
                    moved = fgsm(pixels, gradient, epsilon / 255)
                    tally.add(row, start, tests.logits(moved), batch_labels)
    yield from tally.pairs([f"adversarial/fgsm_{epsilon}" for epsilon in EPSILONS])


def _pixel_gradient(tests: Measurement, pixels: Tensor, labels: Tensor) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        leaf = pixels.clone().requires_grad_()
        logits, right = tests.logits(leaf), labels[:, None]
        # A sample's cross-entropy is log(1 + exp(margin)): the gradient of the margin, that of the other
        # classes' logits over the true one's, has the same sign and does not saturate with it.
        others = logits.scatter(1, right, -torch.inf).logsumexp(1)
        # the sum, not the mean: a sample's gradient then does not shrink with the batch
        loss = (others - logits.gather(1, right)[:, 0]).sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
    return gradient
