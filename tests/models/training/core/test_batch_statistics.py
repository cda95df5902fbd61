"""Batch normalization over several processes does in one process what torch's own does."""

import torch
from torch import nn

from models.training.core.batch_statistics import SharedBatchNorm2d, share_statistics
from models.training.data.share import Share


def test_one_process_has_the_results_and_statistics_of_torch():
    torch.manual_seed(0)
    theirs, ours = nn.BatchNorm2d(5), SharedBatchNorm2d(5)
    nn.init.uniform_(theirs.weight)
    nn.init.uniform_(theirs.bias)
    ours.load_state_dict(theirs.state_dict())
    for _ in range(2):
        x = 3 * torch.randn(4, 5, 6, 7) + 2
        torch.testing.assert_close(ours(x), theirs(x))
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, msg=name)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_only_feature_maps_are_normalized_together_and_names_stay():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm1d(3))
    names = list(network.state_dict())
    share_statistics(network, Share(0, 2))
    assert [type(module) for module in network] == [SharedBatchNorm2d, nn.BatchNorm1d]
    assert list(network.state_dict()) == names


def test_a_process_alone_keeps_the_normalization_of_torch():
    network = nn.Sequential(nn.BatchNorm2d(3))
    share_statistics(network, Share())
    assert type(network[0]) is nn.BatchNorm2d
