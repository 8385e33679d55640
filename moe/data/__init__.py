"""Sources to uint8 tensors in one canonical order, their splits, batches and augmentation."""
