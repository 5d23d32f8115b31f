"""A training, or several beside each other, as one HTML file that needs no server and no network.

`training` reads a work folder, `logs` its log files; `examine` runs networks on target images; `summary` compares,
`charts` and `pictures` draw, `page` fills the template.
"""
