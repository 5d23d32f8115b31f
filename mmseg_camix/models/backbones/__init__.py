"""Backbones: what the papers use and mmseg cannot build as it is, and those of timm."""

from .deeplab_resnet import DeepLabResNet
from .deeplab_vgg import DeepLabVGG16
from .mit import MiT

__all__ = ['DeepLabResNet', 'DeepLabVGG16', 'MiT']
