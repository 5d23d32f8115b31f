# The protocol of the miniature benchmark: data, network, schedule, evaluation. Fixed, so that all
# methods compare; a method's config only says how it adapts.
_base_ = [
    './models/resnet_mini.py', './datasets/mini_gta2cs.py', './schedules/mini.py',
    './default_runtime.py', './uda.py'
]
