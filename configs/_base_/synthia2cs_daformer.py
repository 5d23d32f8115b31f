# Data, network, schedule and evaluation of DAFormer, without rare-class sampling.
_base_ = [
    './models/daformer_mitb5.py', './datasets/synthia2cs_512_flip.py', './schedules/adamw_40k.py',
    './default_runtime.py', './uda.py'
]
