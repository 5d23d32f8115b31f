# DSP as its released code computes it, not as published; see ../_base_/dsp_released.py.
_base_ = ['./synthia2cs_deeplabv2.py', '../_base_/dsp_released.py']
optim_wrapper = dict(optimizer=dict(nesterov=False))
classes = ('wall', 'fence', 'traffic light', 'bus')
train_dataloader = dict(
    dataset=dict(
        rare=dict(k=1, classes=classes),
        rare_target=dict(_base_.train_dataloader.dataset.rare, k=1, classes=classes)))
model = dict(_base_.dsp_released)
