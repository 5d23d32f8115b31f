"""From a config and a folder of unlabelled images to an adapted network, in stages that a repeated command continues.

`arguments` reads what the user gives, `draft` derives data and network from it, `training` writes the configs that
are trained, `probe` measures which size fits memory and time, `stages` records what is done, `workflow` runs the
stages, `verdict` compares the result with the unadapted network.
"""


class AdaptError(ValueError):
    """An adaptation cannot be started or continued; the message is one line that names the remedy."""
