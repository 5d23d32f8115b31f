# The same protocol from SYNTHIA: data, network, schedule, evaluation. Fixed, so that all
# methods compare; a method's config only says how it adapts.
_base_ = [
    './models/resnet_mini.py', './datasets/mini_synthia2cs.py', './schedules/mini.py',
    './default_runtime.py', './uda.py'
]
