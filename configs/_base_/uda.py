# What every adapted training needs besides model and data; inherit it in a custom config.
custom_imports = dict(imports=['mmseg_camix'], allow_failed_imports=False)
custom_hooks = [dict(type='UDAHook'), dict(type='DynamicThresholdHook'), dict(type='RecordMetricsHook')]
# Both networks are evaluated: student/mIoU, teacher/mIoU. mIoU is that of the network with which the method is tested.
val_cfg = dict(type='TeacherStudentValLoop')
test_cfg = dict(type='TeacherStudentTestLoop')
