# Settings of every adapted training besides model and data, to inherit in custom configs.
custom_imports = dict(imports=['mmseg_camix'], allow_failed_imports=False)
custom_hooks = [dict(type='UDAHook'), dict(type='DynamicThresholdHook'), dict(type='RecordMetricsHook')]
# Both networks are evaluated: student/mIoU, teacher/mIoU. mIoU: that of the network with which the method is tested.
val_cfg = dict(type='TeacherStudentValLoop')
test_cfg = dict(type='TeacherStudentTestLoop')
