"""The mathematics of the methods: tensors in, tensors out; imports only torch and torchvision.

Arguments that many functions share:

- ``label`` (B, H, W) long holds classes in [0, C), and ``ignore_index`` (void, 255) where there is no class;
- ``generator``, the source of randomness, is on the device of the tensors (on ``device``, if the function has one);
- ``average`` maps a value to its mean over the processes that share a batch (:mod:`.global_batch`);
- ``align_corners`` is that of the head which made the logits;
- ``valid`` (B, H, W) bool is False on padding; None where there is none.
"""
