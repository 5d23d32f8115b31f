# The recipe of VFM-UDA++ as entries of a method's tables (facts from the paper and its released code): source images
# strongly augmented, target images weakly augmented before the mixing, a masked target with dropped tokens, and the
# distillation of a frozen DINOv2. Any method with a view `mixed` takes them. Differs from the released code:
#   - tokens are dropped, where the code blanks blocks of 64 pixels (see DroppedTokens);
#   - mixing and distillation share the weak augmentation of the target; each image is flipped by its own draw;
#   - the teacher predicts each image once, in the code also its mirror image, whose prediction is averaged.
_weak = dict(
    jitter=dict(brightness=32 / 255, contrast=0.5, saturation=0.5, hue=18 / 360), jitter_probability=0.9,
    blur_probability=0.0, per='image', library='torchvision')
vfm_uda = dict(
    views=dict(
        source_strong=dict(
            type='Augmented', of='source', augment=dict(
                jitter=dict(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.4), jitter_probability=0.8,
                grey_probability=0.1, blur_probability=0.5, blur_sigma=(0.15, 3.0), per='image',
                library='torchvision')),
        source_weak=dict(type='Augmented', of='source', augment=_weak),
        target_weak=dict(type='Augmented', of='target', augment=_weak),
        mixed=dict(over='target_weak'),
        masked=dict(type='DroppedTokens', of='target', ratio=0.7)),
    objectives=dict(
        source=dict(view='source_strong'),
        masked=dict(type='PixelCrossEntropy', view='masked'),
        distillation=dict(
            type='FeatureDistillation', view='source_weak', other='target_weak', weight=0.1, size=406,
            encoder=dict(
                type='TimmViT', name='vit_large_patch14_reg4_dinov2', pyramid=False, pretrained=True))),
    pseudo_labels=dict(margins=dict(top=0.03, bottom=0.25, left=0.03, right=0.03)),
    teacher=dict(alpha=0.999),
    augment=dict(jitter=0.2, per='image', library='torchvision'),
    backward='each')  # one view's activations in memory at a time, as in the code
