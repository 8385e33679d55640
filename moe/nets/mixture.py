"""The mixture: frozen experts and routers, gates, and the three ways to combine them.

Legend: B batch, C H W image, K classes, E experts (preorder, the base first), L leaves, D children of a node.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from moe.nets.class_expert import ClassExpert
from moe.nets.routing import hard_route, leaf_probabilities, places, route_by_base
from moe.taxonomy import Node, Tree


@dataclass
class Frozen:
    """What the frozen networks say of a batch of images."""

    experts: Tensor  # (B, E, K) probabilities; zero for experts that were not run
    # (B, L) the product of the routers' probabilities down to each leaf; where only the networks on an image's way ran,
    # zero but for the leaf that it reached
    leaves: Tensor
    route: Tensor  # (B,) the leaf that hard routing finds; -1 without routing

    def __getitem__(self, index: Tensor) -> "Frozen":
        return Frozen(self.experts[index], self.leaves[index], self.route[index])

    def to(self, device: torch.device | str) -> "Frozen":
        return Frozen(self.experts.to(device), self.leaves.to(device), self.route.to(device))


@dataclass
class Mixed:
    """What a mixture says of a batch of images."""

    probabilities: Tensor  # (B, K), each row sums to one
    # (B, K, E) what the gates gave, zero for experts that had no say; under soft routing each leaf's over its mass and
    # by its probability, so that they make the mixture
    weights: Tensor
    entropy: Tensor  # () the mean entropy in nats of the gates' shares
    frozen: Frozen


def mix(weights: Tensor, experts: Tensor) -> Tensor:
    """One gate's mixture (B, K), normalised over classes, of weights (B, K, E) and probabilities (B, E, K)."""
    joint = _joint(weights, experts)
    return joint / _mass(joint)


def _joint(weights: Tensor, experts: Tensor) -> Tensor:
    # Element-wise, since autocast would take a matrix product to bf16.
    return (weights.float() * experts.float().transpose(1, 2)).sum(dim=2)


def _mass(joint: Tensor) -> Tensor:
    return joint.sum(dim=1, keepdim=True).clamp_min(torch.finfo(joint.dtype).tiny)


def everywhere(module: nn.Module, images: Tensor) -> bool:
    """Whether under hard routing a gate sees every image and not only its own leaf's.

    So it is where gates learn on a GPU: to pick images, their number must be known, for which the step would wait.
    """
    return module.training and images.is_cuda


def zero_absent_gradients_(gates: nn.Module) -> None:
    """Give what had no image in a batch, and so no gradient, one of zero: an optimiser's momentum moves it on.

    A gate that sees every image has that of itself, and where gates learn must not decide what they learn.
    """
    for parameter in gates.parameters():
        if parameter.grad is None and parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)


class Mixture(nn.Module):
    """Experts and routers in the order of `tree.experts` and `tree.routers`, and gates.

    Without routers the base's own probabilities route. With `cascade`, under hard routing, the base alone speaks for
    an image of which it is at least that sure, and no other network runs.

    With routing `hard` or `soft` there is a gate for each leaf over the experts on its path; with `none` one
    gate over all experts and nothing is routed. `forward` runs under hard routing only the networks on each image's
    way; `dense` runs them all.
    """

    def __init__(
        self,
        tree: Tree,
        experts: Sequence[nn.Module],
        routers: Sequence[nn.Module],
        gates: Sequence[nn.Module],
        routing: str,
        cascade: float | None = None,
    ) -> None:
        super().__init__()
        self.tree, self.routing, self.cascade = tree, routing, cascade
        self.experts, self.routers = nn.ModuleList(experts), nn.ModuleList(routers)
        self.gates = nn.ModuleList(gates)
        self.shared = any(isinstance(expert, ClassExpert) and expert.shared for expert in experts)
        self.paths = tree.weighed(routing)
        for leaf, path in enumerate(self.paths):
            # On the device, since an index that must be brought there would be waited for.
            self.register_buffer(f"path_{leaf}", torch.tensor(path), persistent=False)

    def forward(self, images: Tensor) -> Mixed:
        """Images (B, C, H, W) through the networks that routing sends them to, then mixed."""
        return self.combine(images, self.frozen(images))

    def frozen(self, images: Tensor) -> Frozen:
        """What the frozen networks on each image's way say; under soft and no routing, all of them."""
        if self.routing == "hard":
            return self._sparse(images)
        return self.dense(images, routed=self.routing == "soft")

    def dense(self, images: Tensor, routed: bool = True) -> Frozen:
        """What every frozen network says of every image."""
        features = self._features(images)
        said = [self._expert(place, images, features) for place in range(len(self.experts))]
        experts = torch.stack(said, dim=1)
        if not routed:
            leaves = torch.zeros(len(images), len(self.tree.leaves), device=images.device)
            return Frozen(experts, leaves, torch.full((len(images),), -1, device=images.device))
        routers = [self._router(node, images, experts[:, 0]) for node in self.tree.routers]
        return Frozen(experts, leaf_probabilities(routers, self.tree), hard_route(routers, self.tree))

    def _features(self, images: Tensor) -> Tensor | None:
        """What the base's trunk makes of images, where specialists share it."""
        base = self.experts[0] if len(self.experts) else None
        return base.trunk(images) if isinstance(base, ClassExpert) and self.shared else None

    def _expert(self, place: int, images: Tensor, features: Tensor | None) -> Tensor:
        """An expert's probabilities (B, K), from the base's features where it is the base or shares its trunk."""
        expert = self.experts[place]
        if features is not None and isinstance(expert, ClassExpert) and (place == 0 or expert.shared):
            return expert.branch(features)
        said: Tensor = expert(images)
        return said

    def _router(self, node: Node, images: Tensor, base: Tensor) -> Tensor:
        """The probability (B, D) of each child of a node for images that the base gave (B, K)."""
        if not self.routers:
            return route_by_base(base, node)
        logits: Tensor = self.routers[self.tree.routers.index(node)](images)
        return logits.float().softmax(dim=1)

    def _sparse(self, images: Tensor) -> Frozen:
        tree, device = self.tree, images.device
        size = (len(images), len(tree.experts), len(tree.classes))
        out = Frozen(
            torch.zeros(size, device=device),
            torch.zeros(len(images), len(tree.leaves), device=device),
            torch.zeros(len(images), dtype=torch.long, device=device),
        )
        pending = [(tree.root, torch.arange(len(images), device=device), torch.ones(len(images), device=device))]
        features = self._features(images)
        while pending:
            node, index, reached = pending.pop()
            if not len(index):
                continue
            batch, place = images[index], tree.experts.index(node)
            of_batch = None if features is None else features[index]
            out.experts[index, place] = self._expert(place, batch, of_batch)
            if not node.children:
                leaf = tree.leaves.index(node)
                out.route[index], out.leaves[index, leaf] = leaf, reached
                continue
            if node is tree.root and self.cascade is not None:
                alone = self.alone(out.experts[:, 0])
                stays, goes = places(alone), places(~alone)
                ways = [route_by_base(out.experts[stays, 0], inner) for inner in tree.routers]
                route, leaves = hard_route(ways, tree), leaf_probabilities(ways, tree)
                out.route[stays] = route
                reached_there = leaves.gather(1, route[:, None])
                out.leaves[stays] = torch.zeros_like(leaves).scatter(1, route[:, None], reached_there)
                index, batch, reached = index[goes], batch[goes], reached[goes]
            router = self._router(node, batch, out.experts[index, 0])
            choice = router.argmax(dim=1)
            for d, child in enumerate(node.children):
                here = places(choice == d)
                pending.append((child, index[here], (reached * router[:, d])[here]))
        return out

    def combine(self, images: Tensor, frozen: Frozen) -> Mixed:
        """Gate and mix what the frozen networks said, in fp32; differentiable in the gates."""
        if self.routing == "hard":
            return self._combine_hard(images, frozen)
        parts = [self._leaf(leaf, images, frozen.experts) for leaf in range(len(self.paths))]
        if self.routing == "none":
            probabilities, weights, uncertain = parts[0]
            return Mixed(probabilities, weights, uncertain.mean(), frozen)
        columns = frozen.leaves.unbind(dim=1)
        probabilities = torch.stack([r[:, None] * p for r, (p, _, _) in zip(columns, parts, strict=True)]).sum(dim=0)
        given = [w / _mass(_joint(w, frozen.experts))[:, :, None] for _, w, _ in parts]
        weights = torch.stack([r[:, None, None] * w for r, w in zip(columns, given, strict=True)]).sum(dim=0)
        return Mixed(probabilities, weights, torch.stack([e for _, _, e in parts]).mean(), frozen)

    def alone(self, base: Tensor) -> Tensor:
        """Whether (B,) the base, which gave (B, K), speaks for an image alone."""
        if self.cascade is None:
            return torch.zeros(len(base), dtype=torch.bool, device=base.device)
        return base.max(dim=1).values >= self.cascade

    def _combine_hard(self, images: Tensor, frozen: Frozen) -> Mixed:
        base = frozen.experts[:, 0]
        alone = self.alone(base)
        probabilities = torch.where(alone[:, None], base, torch.zeros_like(base))
        weights = torch.zeros_like(frozen.experts.transpose(1, 2))
        weights[:, :, 0] = alone[:, None] / base.shape[1]
        uncertain = torch.zeros((), device=images.device)
        combined = self._everywhere if everywhere(self, images) else self._picked
        for leaf in range(len(self.paths)):
            here = (frozen.route == leaf) & ~alone
            probabilities, weights, uncertainty = combined(leaf, images, frozen.experts, here, probabilities, weights)
            uncertain = uncertain + uncertainty
        return Mixed(probabilities, weights, uncertain, frozen)

    def _picked(
        self, leaf: int, images: Tensor, experts: Tensor, here: Tensor, probabilities: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities (B, K) and weights (B, K, E), a leaf's where `here` (B,), and its part of the entropy ()."""
        index = places(here)
        if not len(index):
            return probabilities, weights, torch.zeros((), device=images.device)
        mixture, given, uncertainty = self._leaf(leaf, images[index], experts[index])
        uncertain = uncertainty.sum() / len(images)
        return probabilities.index_copy(0, index, mixture), weights.index_copy(0, index, given), uncertain

    def _everywhere(
        self, leaf: int, images: Tensor, experts: Tensor, here: Tensor, probabilities: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `_picked`, but the gate sees every image."""
        mixture, given, uncertainty = self._leaf(leaf, images, experts)
        probabilities = torch.where(here[:, None], mixture, probabilities)
        weights = torch.where(here[:, None, None], given, weights)
        return probabilities, weights, torch.where(here, uncertainty, 0.0).mean()

    def _leaf(self, leaf: int, images: Tensor, experts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One leaf's mixture (B, K), its weights spread over all experts (B, K, E), their entropy (B,)."""
        path = self.get_buffer(f"path_{leaf}")
        on_path = experts[:, path]
        weights, metrics = self.gates[leaf](images, on_path)
        spread = torch.zeros(len(images), experts.shape[2], experts.shape[1], device=images.device)
        spread[:, :, path] = weights.detach()
        return mix(weights, on_path), spread, metrics["entropy"]
