"""Embeddings of earlier batches."""

from typing import Any

import torch
from torch import Tensor, nn

from mmseg_camix.ops.contrast import EMPTY


class MemoryBank(nn.Module):
    """Embeddings and labels of the last batches, which are part of the checkpoint.

    Its size follows the batches; one of another size empties it. Each process has its own bank (the checkpoint holds
    all of them); with ``global_batch=True`` all have the same, of all their images.

    Args:
        batches: number of batches to keep.
        channels: K.
    """

    embeddings: Tensor
    labels: Tensor

    def __init__(self, batches: int, channels: int) -> None:
        super().__init__()
        self.register_buffer('embeddings', torch.zeros(batches, 0, channels))
        self.register_buffer('labels', torch.full((batches, 0), EMPTY))

    def read(self) -> tuple[Tensor, Tensor]:
        """All entries: (batches * M, K) fp32, and (batches * M) long with `EMPTY` in unused places."""
        return self.embeddings.flatten(0, 1), self.labels.flatten()

    @torch.no_grad()
    def push(self, embedding: Tensor, label: Tensor) -> None:
        """Add a batch, (M, K) and (M,) long, and drop the oldest."""
        if len(label) != self.labels.shape[1]:
            self._resize(len(label))
        # New tensors, because the backward pass still needs those that were read.
        self.embeddings = torch.cat([embedding.detach()[None].to(self.embeddings), self.embeddings[:-1]])
        self.labels = torch.cat([label[None].to(self.labels), self.labels[:-1]])

    def _resize(self, size: int) -> None:
        batches, _, channels = self.embeddings.shape
        self.embeddings = self.embeddings.new_zeros(batches, size, channels)
        self.labels = self.labels.new_full((batches, size), EMPTY)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        saved = state_dict.get(f'{prefix}labels')
        if saved is not None:
            self._resize(saved.shape[-1])
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
