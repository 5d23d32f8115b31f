# HRDA with DACS, on the miniature benchmark. Crops cannot exceed the 96 rows of its target images, so the
# context and the detail have 48x48 pixels (papers: 512x512), half of the crop as in the papers.
_base_ = [
    '../_base_/models/resnet_mini.py',
    '../_base_/datasets/mini_gta2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(_delete_=True, type='DACS', segmentor=dict(_base_.model, type='HRDAEncoderDecoder'))
