"""What the command lines do beside training: examine and prepare data, export and apply networks.

Imports `mmseg_camix`, which never imports this package: a training needs nothing of it.
"""
