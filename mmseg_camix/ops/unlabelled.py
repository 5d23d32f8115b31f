"""What the outputs of a network on unlabelled images reveal about its quality.

Sums over pixels (of class distributions, of their products, of pairs of labels) are all that most of these functions
need, so that memory does not grow with the number of images.
"""
import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .entropy import predictive_entropy


def relative_entropy(distribution: Tensor) -> Tensor:
    """Entropy of class distributions (..., C) as a share of its maximum ln C, (...) in [0, 1]."""
    flat = distribution.reshape(-1, distribution.shape[-1])
    return predictive_entropy(flat[..., None, None]).view(distribution.shape[:-1]) / math.log(distribution.shape[-1])


def dispersity(products: Tensor, count: int) -> Tensor:
    """Nuclear norm of the (N, C) matrix of all class distributions, as a share of its maximum sqrt(min(N, C) N).

    It is large if predictions are confident and spread over the classes. The singular values are the roots of the
    eigenvalues of P^T P, a sum over pixels.

    Args:
        products: (C, C) double, P^T P.
        count: N.
    """
    singular = torch.linalg.eigvalsh(products).clamp_min(0).sqrt()
    return singular.sum() / math.sqrt(min(count, len(products)) * count)


def confusion(first: Tensor, second: Tensor, num_classes: int) -> Tensor:
    """(C, C) long: how many pixels have label i in `first` and j in `second`, two long tensors of one shape."""
    pairs = first.flatten() * num_classes + second.flatten()
    return pairs.bincount(minlength=num_classes**2).view(num_classes, num_classes)


def mean_iou(pairs: Tensor) -> Tensor:
    """Mean IoU over all C classes of a (C, C) table of pairs; a class that occurs in neither labelling counts as 0."""
    common = pairs.diagonal().double()
    return (common / (pairs.sum(0) + pairs.sum(1) - common).clamp_min(1)).mean()


def agreement(pairs: Tensor) -> Tensor:
    """Share of pixels with equal labels, of a (C, C) table of pairs; 0 if it is empty."""
    return pairs.diagonal().sum().double() / pairs.sum().clamp_min(1)


def mutual_information(pairs: Tensor) -> Tensor:
    """Mutual information of both labels of a (C, C) table of pairs, as a share of ln C; 0 if it is empty.

    It is large if the labels agree and are spread over the classes.
    """
    joint = pairs.double() / pairs.sum().clamp_min(1)
    chance = joint.sum(1, keepdim=True) * joint.sum(0)
    terms = torch.special.xlogy(joint, joint / chance.clamp_min(torch.finfo(torch.double).tiny))
    return terms.sum() / math.log(len(pairs))


def effective_invariance(probs: Tensor, others: Tensor) -> Tensor:
    """Geometric mean of both confidences where both distributions (N, C) have one label, otherwise 0; (N,)."""
    (confidence, label), (other, other_label) = probs.max(1), others.max(1)
    return (confidence * other).sqrt() * (label == other_label)


def neighbourhood_density(samples: Tensor, temperature: float = 0.05) -> Tensor:
    """Soft neighbourhood density of (N, D) samples, as a share of its maximum ln(N - 1).

    The entropy of each sample's distribution over the others, a softmax of cosine similarities: it is large if all
    samples have many near neighbours.
    """
    unit = normalize(samples.double())
    similarity = (unit @ unit.T / temperature).fill_diagonal_(-math.inf)
    probs = similarity.softmax(1)
    return torch.special.xlogy(probs, probs).sum(1).neg().mean() / math.log(len(samples) - 1)


def hopkins(samples: Tensor, generator: torch.Generator, share: float = 0.1) -> Tensor:
    """Hopkins statistic of (N, D) samples: 0.5 if they are uniform in their bounding box, towards 1 if clustered.

    Compares the distance from random places to the nearest sample with that from samples to their nearest neighbour.

    Args:
        share: of the samples from which distances are measured; as many random places are drawn.
    """
    samples = samples.double()
    count = max(1, round(share * len(samples)))
    low, high = samples.amin(0), samples.amax(0)
    places = low + (high - low) * torch.rand(count, samples.shape[1], generator=generator).to(samples)
    chosen = torch.randperm(len(samples), generator=generator)[:count].to(samples.device)
    outside = torch.cdist(places, samples).amin(1).sum()
    distances = torch.cdist(samples[chosen], samples)
    distances[torch.arange(count), chosen] = math.inf
    inside = distances.amin(1).sum()
    return outside / (outside + inside).clamp_min(torch.finfo(torch.double).tiny)


def classifier_bias(weight: Tensor) -> Tensor:
    """Mean squared difference of the angles between the classes' weights, (C, D), and those of a regular simplex."""
    unit = normalize(weight.double().flatten(1))
    angles = (unit @ unit.T).clamp(-1, 1).acos()
    others = ~torch.eye(len(weight), dtype=torch.bool, device=weight.device)
    return (angles[others] - math.acos(-1 / (len(weight) - 1))).square().mean()
