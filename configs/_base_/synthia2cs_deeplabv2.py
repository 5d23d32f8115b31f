# Data, network, schedule and evaluation of the DACS family; a method's config only says how it adapts.
_base_ = [
    './models/deeplabv2_r101.py', './datasets/synthia2cs_512.py', './schedules/sgd_250k.py',
    './default_runtime.py', './uda.py'
]
