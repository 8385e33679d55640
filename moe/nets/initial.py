"""How weights start."""

from torch import nn


def glorot_uniform_(module: nn.Module) -> None:
    """Weights of every convolution and linear layer from Glorot's uniform distribution, biases zero.

    Source: Glorot and Bengio 2010, equation 16; Keras' default, and so the notebook's.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
