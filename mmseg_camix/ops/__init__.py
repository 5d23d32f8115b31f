"""The mathematics of the methods: tensors in, tensors out; nothing here knows of mmengine or mmseg.

Import the modules, e.g. `from mmseg_camix.ops import masks, paste`.
"""
