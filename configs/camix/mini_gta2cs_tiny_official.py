# What CAMix's released scripts compute, where that is not what the paper prints. For the comparison
# only: the significance mask cancels out of its loss, so that its passes cost time and change nothing.
_base_ = './mini_gta2cs_tiny.py'
model = dict(
    masks=dict(
        context=dict(groups=['I', 'II-one-way']),  # a rider brings the bikes, a bike leaves the rider
        classes=dict(count_ignore=True)),  # void is a class of the warm-up's ClassMix
    # Plain ClassMix, source onto target, for 110k of 250k iterations; the paper has no warm-up.
    views=dict(mixed=dict(at=528)),
    # The criterion has taken the mean before the mask is multiplied and divided by its sum.
    objectives=dict(mixed=dict(type='PixelCrossEntropy', view='mixed')),
    pseudo_labels=dict(significance=dict(
        form='official', bound='classes',  # (beta + (1 - beta) ramp) ln C: almost every pixel passes
        t_max=624,  # 130k of 250k iterations
        noise=0.1 / 57.6, clamp=0.2 / 57.6)),  # .1 and .2 grey levels; 57.6 is the mean of the stds
    predict_with='student')  # the paper tests the teacher
