"""The gates of many mixtures run as one: a step of theirs launches about as many kernels as one gate's.

Legend: G mixtures, B batch, C H W image, K classes, E experts, V the first layers' outputs of all gates of a
leaf, D inputs of a layer, N outputs of a layer.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor, nn

from moe.nets.gates import ConfidenceGate, Gate, LinearGate, MLPGate, entropy
from moe.nets.mixture import Frozen, Mixture, everywhere, mix

# Other kinds have no layers that could be stacked, or (conv) would gain nothing by it.
KINDS = (MLPGate, LinearGate, ConfidenceGate)


def stackable(gates: Sequence[nn.Module]) -> bool:
    """Whether the gates of one leaf can be stacked: one kind and frame, as many layers.

    Widths may differ where there is one hidden layer, and so may dropout.
    """
    if not all(isinstance(gate, Gate) and type(gate) in KINDS for gate in gates):
        return False
    frames = [(type(g), g.in_shape, g.num_classes, g.num_experts, g.weights) for g in gates]
    sizes = [tuple(layer.out_features for layer in _linears(gate).values()) for gate in gates]
    alike = [size if len(size) > 2 else len(size) for size in sizes]
    return all(frame == frames[0] for frame in frames) and all(size == alike[0] for size in alike)


def _side_by_side(each: Tensor) -> Tensor:
    """Hidden outputs (G, B, D) of gates of one width as (B, V)."""
    return each.transpose(0, 1).flatten(1)


def _linears(gate: nn.Module) -> dict[str, nn.Linear]:
    return {name: layer for name, layer in gate.named_modules() if isinstance(layer, nn.Linear)}


class StackedGates(nn.Module):
    """The gates of one leaf of G mixtures.

    They see the same input, so their first layers are one layer with the outputs of all; further layers are
    one batched product, padded with zeros, which learn nothing, where widths differ.
    """

    def __init__(self, gates: Sequence[Gate]) -> None:
        super().__init__()
        assert stackable(gates)
        frame = gates[0]
        self.num_classes, self.num_experts, self.sums_over = frame.num_classes, frame.num_experts, frame.weights
        self.sees_images = not isinstance(frame, ConfidenceGate)
        layers = [_linears(gate) for gate in gates]
        self.names = list(layers[0])
        first, *rest = zip(*(found.values() for found in layers), strict=True)
        self.widths = [layer.out_features for layer in first]
        self.dropout = [[m.p for m in gate.modules() if isinstance(m, nn.Dropout)] for gate in gates]
        self.weight = nn.Parameter(torch.cat([layer.weight.detach() for layer in first]))  # (V, D)
        self.bias = nn.Parameter(torch.cat([layer.bias.detach() for layer in first]))  # (V,)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        inputs = max(self.widths)
        for of_all in rest:
            padded = [nn.functional.pad(x.weight.detach(), (0, inputs - x.in_features)) for x in of_all]
            self.weights.append(nn.Parameter(torch.stack(padded)))  # (G, N, D)
            self.biases.append(nn.Parameter(torch.stack([layer.bias.detach() for layer in of_all])))  # (G, N)
            inputs = of_all[0].out_features
        # Where each gate's outputs of the first layer are, padded by column V, which is zero.
        total, widest, start, columns = sum(self.widths), max(self.widths), 0, []
        for width in self.widths:
            columns += [*range(start, start + width), *[total] * (widest - width)]
            start += width
        self.register_buffer("columns", torch.tensor(columns), persistent=False)
        owner = torch.arange(len(gates)).repeat_interleave(torch.tensor(self.widths))
        self.register_buffer("owner", owner, persistent=False)  # (V,) whose an output is

    def forward(self, images: Tensor, experts: Tensor, generators: Sequence[Generator]) -> Tensor:
        """Weights (G, B, K, E) in fp32 of images (B, C, H, W) and probabilities (B, E, K).

        Each gate draws its dropout from its own generator, in the order in which it would alone.
        """
        out = nn.functional.linear((images if self.sees_images else experts).flatten(1), self.weight, self.bias)
        if len(self.weights):
            hidden = self._each(self._dropped(out.relu(), generators))
            for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True), 1):
                hidden = torch.baddbmm(bias[:, None], hidden, weight.transpose(1, 2))
                if number < len(self.weights):
                    hidden = self._each(self._dropped(_side_by_side(hidden.relu()), generators, number))
            return self._normalised(hidden.float())
        return self._normalised(self._each(out).float())

    def _each(self, flat: Tensor) -> Tensor:
        """The gates' hidden outputs (B, V) as (G, B, D), padded with zeros."""
        if len(set(self.widths)) > 1:
            flat = nn.functional.pad(flat, (0, 1))[:, self.get_buffer("columns")]
        return flat.view(len(flat), len(self.widths), -1).transpose(0, 1)

    def _dropped(self, flat: Tensor, generators: Sequence[Generator], layer: int = 0) -> Tensor:
        if not self.training or not any(rates[layer] for rates in self.dropout):
            return flat
        masks = []
        for width, rates, generator in zip(self.widths, self.dropout, generators, strict=True):
            mask, keep = flat.new_ones(len(flat), width), 1 - rates[layer]
            # As torch's own dropout on the CPU, which draws nothing for a rate of zero.
            masks.append(mask.bernoulli_(keep, generator=generator).div_(keep) if rates[layer] else mask)
        return flat * torch.cat(masks, dim=1)

    def _normalised(self, logits: Tensor) -> Tensor:
        """As `Gate.forward`, for logits (G, B, N)."""
        size = (*logits.shape[:2], self.num_classes, self.num_experts)
        if self.sums_over == "per_class":
            return logits.reshape(size).softmax(dim=3)
        shares = logits.softmax(dim=2)
        return shares.reshape(size) if self.sums_over == "joint" else shares.unsqueeze(2).expand(size)

    def squared_norms(self) -> Tensor:
        """The squared norm (G,) of each gate's gradient."""
        assert self.weight.grad is not None and self.bias.grad is not None
        rows = [self.weight.grad.square().sum(dim=1), self.bias.grad.square()]
        found = self.weight.new_zeros(len(self.widths))
        for row in rows:
            found = found.index_add(0, self.get_buffer("owner"), row)
        for parameter in (*self.weights, *self.biases):
            assert parameter.grad is not None
            found = found + parameter.grad.square().flatten(1).sum(dim=1)
        return found

    def scale_gradients(self, factors: Tensor) -> None:
        """Multiply each gate's gradient by its factor (G,)."""
        rows = factors[self.get_buffer("owner")]
        for parameter, factor in ((self.weight, rows[:, None]), (self.bias, rows)):
            assert parameter.grad is not None
            parameter.grad.mul_(factor)
        for parameter in (*self.weights, *self.biases):
            assert parameter.grad is not None
            parameter.grad.mul_(factors.view(-1, *[1] * (parameter.ndim - 1)))

    def state(self, gate: int) -> dict[str, Tensor]:
        """A copy of one gate's weights, by its own names."""
        start, width = sum(self.widths[:gate]), self.widths[gate]
        values = [(self.weight[start : start + width], self.bias[start : start + width])]
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            inputs = width if number == 0 else weight.shape[2]
            values.append((weight[gate, :, :inputs], bias[gate]))
        found: dict[str, Tensor] = {}
        for name, (weight, bias) in zip(self.names, values, strict=True):
            found[f"{name}.weight"], found[f"{name}.bias"] = weight.detach().clone(), bias.detach().clone()
        return found


class StackedMixture(nn.Module):
    """The gates of G mixtures over the same frozen networks; leaf by leaf they are stacked."""

    def __init__(self, mixtures: Sequence[Mixture]) -> None:
        super().__init__()
        self.routing, self.paths = mixtures[0].routing, mixtures[0].paths
        for leaf, path in enumerate(self.paths):
            self.register_buffer(f"path_{leaf}", torch.tensor(path), persistent=False)
        self.leaves = nn.ModuleList(
            StackedGates(list(gates)) for gates in zip(*(m.gates for m in mixtures), strict=True)
        )
        self.size = len(mixtures)

    def forward(self, images: Tensor, frozen: Frozen, generators: Sequence[Generator]) -> tuple[Tensor, Tensor]:
        """Probabilities (G, B, K) and the mean entropy (G,) of the gates' shares; see `Mixture.combine`."""
        if self.routing == "hard":
            return self._hard(images, frozen, generators)
        parts = [self._leaf(leaf, images, frozen.experts, generators) for leaf in range(len(self.paths))]
        if self.routing == "none":
            return parts[0][0], parts[0][1].mean(dim=1)
        columns = frozen.leaves.unbind(dim=1)
        mixed = torch.stack([r[:, None] * p for r, (p, _) in zip(columns, parts, strict=True)]).sum(dim=0)
        return mixed, torch.stack([entropies.mean(dim=1) for _, entropies in parts]).mean(dim=0)

    def _hard(self, images: Tensor, frozen: Frozen, generators: Sequence[Generator]) -> tuple[Tensor, Tensor]:
        probabilities = frozen.experts.new_zeros(self.size, len(images), frozen.experts.shape[2])
        uncertainties = torch.zeros(self.size, device=images.device)
        for leaf in range(len(self.paths)):
            here = frozen.route == leaf
            if everywhere(self, images):
                mixed, entropies = self._leaf(leaf, images, frozen.experts, generators)
                probabilities = torch.where(here[:, None], mixed, probabilities)
                uncertainties = uncertainties + torch.where(here, entropies, 0.0).sum(dim=1) / len(images)
                continue
            index = here.nonzero().squeeze(1)
            if not len(index):
                continue
            mixed, entropies = self._leaf(leaf, images[index], frozen.experts[index], generators)
            probabilities = probabilities.index_copy(1, index, mixed)
            uncertainties = uncertainties + entropies.sum(dim=1) / len(images)
        return probabilities, uncertainties

    def _leaf(
        self, leaf: int, images: Tensor, experts: Tensor, generators: Sequence[Generator]
    ) -> tuple[Tensor, Tensor]:
        on_path = experts[:, self.get_buffer(f"path_{leaf}")]
        weights = self.leaves[leaf](images, on_path, generators).flatten(0, 1)  # (G * B, K, E)
        repeated = on_path.repeat(self.size, 1, 1)
        mixed = mix(weights, repeated).view(self.size, len(images), -1)
        return mixed, entropy(weights.detach(), repeated).view(self.size, -1)

    def gradient_norms(self) -> Tensor:
        """The norm (G,) of each mixture's gradient, over those of its gates that have one."""
        squared = [leaf.squared_norms() for leaf in self._learning()]
        return torch.stack(squared).sum(dim=0).sqrt()

    def clip_gradients(self, largest: float) -> None:
        """Bring the norm of each mixture's gradient to at most `largest`."""
        factors = (largest / (self.gradient_norms() + 1e-6)).clamp(max=1.0)
        for leaf in self._learning():
            leaf.scale_gradients(factors)

    def _learning(self) -> list[StackedGates]:
        return [leaf for leaf in self.leaves if isinstance(leaf, StackedGates) and leaf.weight.grad is not None]

    def state(self, mixture: int) -> Mapping[str, Tensor]:
        """A copy of one mixture's gates' weights, by the names that `Mixture.gates` has for them."""
        return {
            f"{number}.{name}": tensor
            for number, leaf in enumerate(self.leaves)
            if isinstance(leaf, StackedGates)
            for name, tensor in leaf.state(mixture).items()
        }
