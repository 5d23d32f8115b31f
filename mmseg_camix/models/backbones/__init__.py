"""Backbones: what the papers use and mmseg cannot build as it is, and those of timm."""

from .deeplab_resnet import DeepLabResNet
from .deeplab_vgg import DeepLabVGG16
from .mit import MiT
from .pyramid import SimplePyramid
from .timm_features import TimmFeatures
from .timm_vit import TimmViT

__all__ = ['DeepLabResNet', 'DeepLabVGG16', 'MiT', 'SimplePyramid', 'TimmFeatures', 'TimmViT']
