# Naive ClassMix with distribution alignment. The prior is the target's ground truth, which a real
# user does not have: as in the DACS paper it shows what a good prior could do.
#   python tools/dataset/class_stats.py cityscapes data/mini/cityscapes --split train
_base_ = './mini_gta2cs_tiny_naive_classmix.py'
model = dict(pseudo_labels=dict(align=dict(prior='data/mini/cityscapes/sample_class_stats.json')))
