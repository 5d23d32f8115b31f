"""The mathematics of the methods: tensors in, tensors out; imports only torch and torchvision."""
