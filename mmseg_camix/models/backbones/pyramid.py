"""Four scales from one map."""

from collections.abc import Sequence

from timm.layers import LayerNorm2d
from torch import Tensor, nn


class SimplePyramid(nn.Module):
    """Maps at 1/4, 1/2, 1 and 2 times the stride of a plain ViT's (Li et al., ViTDet, ECCV 2022).

    Args:
        channels: of each map; they stay.
    """

    rescales = (4.0, 2.0, 1.0, 0.5)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList([
            nn.Sequential(_doubled(channels), LayerNorm2d(channels), nn.GELU(), _doubled(channels)),
            _doubled(channels), nn.Identity(), nn.MaxPool2d(2, 2, ceil_mode=True)])

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One map (B, C, h, w) for all scales, or one for each, the finest first."""
        maps = list(features) * 4 if len(features) == 1 else list(features)
        return tuple(scale(x) for scale, x in zip(self.scales, maps))


def _doubled(channels: int) -> nn.Module:
    return nn.ConvTranspose2d(channels, channels, 2, 2)
