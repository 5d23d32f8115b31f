# CAMix as its released SYNTHIA script computes it. It differs from the paper in the following:
#   - a rider is pasted with bicycles, but a bicycle without the rider (group II is one-directional);
#   - plain ClassMix, source onto target and with void as a class, for the first iterations;
#   - the criterion is averaged before the mask is applied, so the significance mask cancels out of the loss;
#   - the threshold is (beta + (1 - beta) ramp) ln C, which almost every pixel passes;
#   - the bounds of the noise's clamp are exchanged, so that it is -.2 grey levels everywhere and all passes agree
#     (57.6 is the mean standard deviation of the three channels);
#   - the student is tested.
_base_ = [
    '../_base_/models/resnet_mini.py',
    '../_base_/datasets/mini_synthia2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(
    _delete_=True,
    type='CAMix',
    segmentor=_base_.model,
    masks=dict(
        context=dict(prior='data/mini/priors/synthia.npz', groups=['I', 'II-one-way']),
        classes=dict(count_ignore=True)),
    views=dict(mixed=dict(at=192)),  # 40k of 250k iterations
    objectives=dict(mixed=dict(type='PixelCrossEntropy', view='mixed')),
    pseudo_labels=dict(significance=dict(
        form='official',
        bound='classes',
        t_max=48,  # 10k of 250k iterations
        noise=0.1 / 57.6,
        clamp=(0.2 / 57.6, -0.2 / 57.6))),
    predict_with='student')
