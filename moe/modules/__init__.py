"""LightningModules: loss, metrics and optimiser. They hold no architecture."""
