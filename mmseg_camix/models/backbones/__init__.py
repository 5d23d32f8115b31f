"""Backbones: what the papers use and mmseg cannot build as it is, and those of timm."""

from .deeplab import DeepLabResNet, DeepLabVGG16
from .mit import MiT
from .timm_networks import SimplePyramid, TimmFeatures, TimmViT

__all__ = ['DeepLabResNet', 'DeepLabVGG16', 'MiT', 'SimplePyramid', 'TimmFeatures', 'TimmViT']
