"""From a config and a folder of unlabelled images to an adapted network, in stages that a repeated command continues.

`arguments` parses the request, `draft` derives data and network from it, `training` creates the configs (`schedules`
compresses their learning-rate schedules), `fitting` chooses a size from the measurements of `probe`, `stages` records
finished stages, `workflow` runs them, `verdict` compares the result with the unadapted network.
"""


class AdaptError(ValueError):
    """An adaptation cannot be started or continued; the message is one line that names the remedy."""
