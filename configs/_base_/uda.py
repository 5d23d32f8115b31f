# What every adapted training needs besides its model and data: inherit it in your own config.
custom_imports = dict(imports=['mmseg_camix'], allow_failed_imports=False)
custom_hooks = [dict(type='UDAHook'), dict(type='DynamicThresholdHook'), dict(type='RecordMetricsHook')]
# Teacher and student are both evaluated: student/mIoU, teacher/mIoU. Plain mIoU is that of the
# network which the method is tested with.
val_cfg = dict(type='TeacherStudentValLoop')
test_cfg = dict(type='TeacherStudentTestLoop')
