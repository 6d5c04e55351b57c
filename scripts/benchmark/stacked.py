"""Many networks trained as one stacked network: a contestant of `many.py`.

Weights of N networks of one architecture lie in one tensor each, with a leading dimension N;
`torch.func.vmap` turns their convolutions into grouped ones and their linear layers into batched
matrix products. Each network has the draws of its own seed, as if it were trained alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from hiddenmix import mixing
from hiddenmix.config import Config, SgdConfig
from hiddenmix.data import normalise
from hiddenmix.training.epoch_draws import batch_bounds, draw_epoch


class Stacked:
    """N networks that differ by seed, mixed at one layer with partners from their own batch."""

    def __init__(
        self,
        networks: Sequence[nn.Module],
        images: Tensor,
        labels: Tensor,
        mean: Tensor,
        std: Tensor,
        configs: Sequence[Config],
    ) -> None:
        """`images` uint8 [M, C, H, W], `labels` [M]; SGD at a constant rate, no remainder of images."""
        device = images.device
        self._configs, self._images, self._labels = configs, images, labels
        self._mean, self._std = mean, std
        self._base = networks[0].to(device).train()
        self._layer = str(configs[0].layer)
        self.parameters, self.buffers = stack_module_state([each.to(device) for each in networks])
        sgd = configs[0].optimizer
        assert isinstance(sgd, SgdConfig)
        self._optimizer = torch.optim.SGD(
            self.parameters.values(),
            lr=sgd.lr,
            momentum=sgd.momentum,
            nesterov=sgd.nesterov,
            weight_decay=sgd.weight_decay,
            fused=True,
        )
        self._bounds = batch_bounds(len(images), configs[0].batch_size)

    def epoch(self, number: int, steps: int | None = None) -> list[Tensor]:
        """Train epoch `number`, or its first `steps` steps; returns each step's losses [N]."""
        device = self._images.device
        draws = [draw_epoch(config, number, len(self._images), device) for config in self._configs]
        order = torch.stack([each.order[0] for each in draws])
        weights = torch.stack([each.weights for each in draws if each.weights is not None])
        partners = torch.stack([each.partners for each in draws if each.partners is not None])
        losses = []
        with mixing.LayerMixing(self._base, [self._layer]) as hooks:
            for step, (start, stop) in enumerate(self._bounds[:steps]):
                chosen = order[:, start:stop]
                x = normalise(self._images[chosen.flatten()], self._mean, self._std)
                x = x.reshape(*chosen.shape, *x.shape[1:])
                index = partners[:, :, start:stop]
                y = self._labels[chosen[:, None].expand_as(index).gather(2, index)]
                w = weights[:, :, step : step + 1]
                loss = vmap(lambda *one: self._loss(hooks, *one), randomness="different")(
                    self.parameters, self.buffers, x, y, w, index
                )
                loss.sum().backward()  # type: ignore[no-untyped-call]
                self._optimizer.step()
                self._optimizer.zero_grad(set_to_none=True)
                losses.append(loss.detach())
        return losses

    def _loss(
        self,
        hooks: mixing.LayerMixing,
        parameters: dict[str, Tensor],
        buffers: dict[str, Tensor],
        x: Tensor,
        labels: Tensor,
        weights: Tensor,
        index: Tensor,
    ) -> Tensor:
        def mix(maps: Tensor) -> Tensor:
            return mixing.mix_branches([maps[row] for row in index], weights)

        hooks.arm(self._layer, mix)
        logits: Tensor = functional_call(self._base, (parameters, buffers), (x,))
        hooks.disarm()
        return mixing.branch_cross_entropy(logits, labels, weights)
