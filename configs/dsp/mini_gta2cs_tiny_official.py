# DSP as its released code computes it, not as published; see ../_base_/dsp_released.py.
_base_ = ['./mini_gta2cs_tiny.py', '../_base_/dsp_released.py']
train_dataloader = dict(
    dataset=dict(
        rare=dict(k=1),
        rare_target=dict(_base_.train_dataloader.dataset.rare, k=1)))
model = dict(_base_.dsp_released)
