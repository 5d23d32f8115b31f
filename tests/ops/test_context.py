"""Contextual mask against Algorithm 1 of CAMix, written as loops over lists and pixels."""
import pytest
import torch

from mmseg_camix.ops.context import META_GROUPS, close_over, contextual_mask, modulate, most_likely, relation_matrix
from tests.devices import on_devices, seeded
from tests.sync_counter import no_sync

CITYSCAPES = ('road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light',
              'traffic sign', 'vegetation', 'terrain', 'sky', 'person', 'rider', 'car', 'truck',
              'bus', 'train', 'motorcycle', 'bicycle')
TABLE_1 = {
    'I': {'pole', 'traffic sign', 'traffic light'},
    'II': {'rider', 'motorcycle', 'bicycle'},
    'III': {'road', 'sidewalk'},
    'IV': {'building', 'wall', 'fence'},
    'V': {'vegetation', 'terrain'},
}


def algorithm_1(chosen, present, relations):
    """Lines 5 to 12 for one image: a list that grows while it is walked through."""
    listed = [k for k in range(len(chosen)) if chosen[k]]
    for k in listed:
        for relative in range(len(chosen)):
            if relations[k][relative] and present[relative] and relative not in listed:
                listed.append(relative)
    return [k in listed for k in range(len(chosen))]


def one_hot(names):
    return torch.tensor([[name in names for name in CITYSCAPES]])


def names_of(row):
    return {name for name, on in zip(CITYSCAPES, row.tolist()) if on}


@pytest.mark.parametrize('group', TABLE_1)
def test_each_group_relates_exactly_its_members(group):
    relations = relation_matrix([group], CITYSCAPES)
    for i, first in enumerate(CITYSCAPES):
        for j, second in enumerate(CITYSCAPES):
            expected = i != j and {first, second} <= TABLE_1[group]
            assert relations[i, j] == expected, (first, second)


def test_one_way_group_never_pulls_back():
    relations = relation_matrix(['II-one-way'], CITYSCAPES)
    every = one_hot(CITYSCAPES)
    assert names_of(close_over(one_hot({'rider'}), every, relations)[0]) == TABLE_1['II']
    for bike in ('motorcycle', 'bicycle'):
        assert names_of(close_over(one_hot({bike}), every, relations)[0]) == {bike}


def test_named_groups_leave_out_what_the_label_set_lacks():
    sixteen = [name for name in CITYSCAPES if name not in ('terrain', 'truck', 'train')]
    assert not relation_matrix(['V'], sixteen).any()
    shorter = [name for name in CITYSCAPES if name != 'motorcycle']
    relations = relation_matrix(['II'], shorter)
    assert relations.sum() == 2
    assert relations[shorter.index('rider'), shorter.index('bicycle')]


@pytest.mark.parametrize(('groups', 'error', 'message'), [
    (['VI'], ValueError, 'available: I, II, III, IV, V'),
    ([('car', 'lorry')], ValueError, "lacks: \\['lorry'\\]"),
    ([('lorry',)], ValueError, "lacks: \\['lorry'\\]"),
    ([{'rider': ('bike',)}], ValueError, "lacks: \\['bike'\\]"),
    ([{'rider': 'bicycle'}], TypeError, "must be a list of classes, such as {'rider': \\['bicycle'\\]}"),
    ('II', TypeError, "write \\['II'\\]"),
])
def test_unknown_groups_are_refused_with_the_valid_names(groups, error, message):
    with pytest.raises(error, match=message):
        relation_matrix(groups, CITYSCAPES)


@pytest.mark.parametrize('density', [0., .02, .1, .5])
def test_closure_equals_the_growing_list(density):
    rng = torch.Generator().manual_seed(0)
    for num_classes in (1, 2, 5, 9, 19):
        relations = torch.rand(num_classes, num_classes, generator=rng) < density
        present = torch.rand(6, num_classes, generator=rng) < .7
        chosen = present & (torch.rand(6, num_classes, generator=rng) < .4)
        closed = close_over(chosen, present, relations)
        expected = [algorithm_1(c, p, relations.tolist()) for c, p in zip(chosen.tolist(), present.tolist())]
        assert closed.tolist() == expected


def test_closure_follows_the_longest_chain_but_not_through_absent_classes():
    relations = torch.diag(torch.ones(18), 1).bool()
    chosen = torch.zeros(1, 19, dtype=torch.bool)
    chosen[0, 0] = True
    present = torch.ones(1, 19, dtype=torch.bool)
    assert close_over(chosen, present, relations).all()
    present[0, 7] = False
    assert close_over(chosen, present, relations)[0].tolist() == [True] * 7 + [False] * 12


def test_relations_of_another_label_set_are_refused():
    with pytest.raises(ValueError, match=r'\(19, 19\)'):
        close_over(torch.ones(1, 19).bool(), torch.ones(1, 19).bool(), torch.ones(16, 16).bool())


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_modulated_label_is_the_arg_max_of_the_product(dtype):
    rng = torch.Generator().manual_seed(2)
    probs = torch.randn(2, 4, 3, 5, generator=rng).softmax(1).to(dtype)
    prior = torch.rand(2, 4, 3, 5, generator=rng)
    label = modulate(probs, prior)
    for b in range(2):
        for y in range(3):
            for x in range(5):
                products = [float(probs[b, c, y, x]) * float(prior[b, c, y, x]) for c in range(4)]
                assert products[int(label[b, y, x])] == pytest.approx(max(products), rel=1e-6)
    assert torch.equal(modulate(probs, prior[:1]), modulate(probs, prior[0]))


def test_prior_that_acts_only_on_unsure_pixels():
    rng = torch.Generator().manual_seed(3)
    probs = (3 * torch.randn(2, 4, 16, 16, generator=rng)).softmax(1)
    prior = torch.rand(4, 16, 16, generator=rng) ** 4
    sure, own, product = probs.amax(1) >= 0.6, probs.argmax(1), modulate(probs, prior)
    assert sure.any()
    assert (product[sure] != own[sure]).any()
    label = modulate(probs, prior, below=0.6)
    assert torch.equal(label[sure], own[sure])
    assert torch.equal(label[~sure], product[~sure])
    assert torch.equal(modulate(probs, prior, below=1.1), product)
    _, used = contextual_mask(probs, prior, None, below=0.6)
    assert torch.equal(used, label)


def test_classes_drawn_from_the_prediction_without_prior():
    """The prior removes class 1 from the label; drawn with it, class 0 or 2 is one of two instead of one of three."""
    probs = torch.tensor([[0.8, 0.1, 0.1], [0.4, 0.5, 0.1], [0.1, 0.1, 0.8]]).T.view(1, 3, 1, 3).expand(1, 3, 8, 3)
    prior = torch.tensor([1.0, 0.1, 1.0]).view(3, 1, 1).expand(3, 8, 3)
    rng, shares = torch.Generator().manual_seed(0), {}
    for draw in ('modulated', 'own'):
        masks = [contextual_mask(probs, prior, None, rng, ratio=0.3, draw=draw) for _ in range(200)]
        assert all(torch.equal(label[0, 0], torch.tensor([0, 0, 2])) for _, label in masks)
        shares[draw] = sum(bool(mask.any()) for mask, _ in masks) / 200
    assert shares['modulated'] == 1
    assert 0.55 < shares['own'] < 0.78, 'a third of the draws takes the class that no pixel of the label has'


def test_the_first_of_equal_scores_wins():
    """As with `argmax`, on integers that are often equal."""
    scores = torch.randint(3, (2, 19, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(most_likely(scores), scores.argmax(1))
    first = [scores[0, :, 0, i].tolist().index(max(scores[0, :, 0, i].tolist())) for i in range(8)]
    assert most_likely(scores)[0, 0].tolist() == first


def test_prior_of_another_size_is_refused():
    with pytest.raises(ValueError, match='crop_prior'):
        modulate(torch.rand(1, 4, 3, 5), torch.rand(4, 1, 1))


def test_mask_is_where_the_chosen_classes_and_their_relatives_are():
    relations = relation_matrix(['I', 'II', 'III'], CITYSCAPES).tolist()
    logits = torch.randn(4, 19, 6, 7, generator=torch.Generator().manual_seed(3)) * 3
    prior = torch.rand(4, 19, 6, 7, generator=torch.Generator().manual_seed(4))
    probs = logits.softmax(1)
    plain, _ = contextual_mask(probs, prior, None, torch.Generator().manual_seed(5))
    mask, label = contextual_mask(probs, prior, relation_matrix(['I', 'II', 'III'], CITYSCAPES),
                                  torch.Generator().manual_seed(5))
    assert torch.equal(label, modulate(probs, prior))
    assert mask.shape == (4, 1, 6, 7)
    for b in range(4):
        present = [bool((label[b] == c).any()) for c in range(19)]
        half = [bool((plain[b, 0] & (label[b] == c)).any()) for c in range(19)]
        assert sum(half) == (sum(present) + 1) // 2
        closed = algorithm_1(half, present, relations)
        for y in range(6):
            for x in range(7):
                assert mask[b, 0, y, x] == closed[int(label[b, y, x])]


def test_the_classes_of_padding_are_not_present():
    """Two classes are shown and one is drawn, however many the padding has; void takes no part."""
    label = torch.tensor([[0, 1, 2], [0, 1, 3]]).expand(40, 2, 3)
    probs = torch.nn.functional.one_hot(label, 4).permute(0, 3, 1, 2).float()
    visible = (label < 2)
    mask, result = contextual_mask(probs, None, None, torch.Generator().manual_seed(0), valid=visible)
    assert torch.equal(result, torch.where(visible, label, 255))
    inside = {tuple(item.flatten().tolist()) for item in mask}
    assert inside == {(True, False, False) * 2, (False, True, False) * 2}


def test_table_is_complete():
    assert {name: set(members) for name, members in META_GROUPS.items() if not isinstance(members, dict)} == TABLE_1


@on_devices
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_mask_never_waits_for_the_device(device, dtype):
    probs = torch.randn(2, 19, 8, 8, device=device).softmax(1).to(dtype)
    prior = torch.rand(2, 19, 8, 8, device=device)
    relations = relation_matrix(['I', 'II'], CITYSCAPES).to(device)
    with no_sync():
        mask, label = contextual_mask(probs, prior, relations, seeded(0, device))
    assert mask.device == label.device == probs.device
    assert (mask.dtype, label.dtype) == (torch.bool, torch.long)
