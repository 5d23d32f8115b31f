# CAMix as its released SYNTHIA script computes it. It differs from the paper in the following:
#   - SGD in place of Adam, and the optimiser steps the backbone several times;
#   - a rider is pasted with bicycles, but a bicycle without the rider (group II is one-directional);
#   - plain ClassMix, source onto target and with void as a class, for the first 40k iterations;
#   - the criterion is averaged before the mask is applied, so the significance mask cancels out of the loss;
#   - the threshold is (beta + (1 - beta) ramp) ln C, which almost every pixel passes, with t_max 10k;
#   - the bounds of the noise's clamp are exchanged, so that it is -.2 grey levels everywhere and all passes agree;
#   - the student is tested.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/synthia2cs_512.py',
    '../_base_/schedules/sgd_250k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
optim_wrapper = dict(constructor='ReleasedFamilyConstructor')  # steps the backbone three to four times
model = dict(
    _delete_=True,
    type='CAMix',
    segmentor=_base_.model,
    masks=dict(
        context=dict(prior=_base_.data_root + '/priors/synthia.npz', groups=['I', 'II-one-way']),
        classes=dict(count_ignore=True)),
    views=dict(mixed=dict(at=40000)),
    objectives=dict(mixed=dict(type='PixelCrossEntropy', view='mixed')),
    pseudo_labels=dict(significance=dict(
        form='official',
        bound='classes',
        t_max=10000,
        noise_unit='input',  # grey levels
        clamp=(0.2, -0.2))),
    predict_with='student')
