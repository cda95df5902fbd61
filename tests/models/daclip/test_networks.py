"""The networks' optimizations are exact: folded cross-attention, attention by heads, constants computed once."""

import pytest
import torch
import torch.nn.functional as F
from parity_check import assert_parity
from torch import nn

from models.daclip import attention
from models.daclip.attention import HEAD_CHANNELS, LinearAttention, SelfAttention, SpatialTransformer
from models.daclip.conditional_nafnet import ConditionalNAFNet, NAFNetConfig
from models.daclip.conditional_unet import ConditionalUNet, Constants, UNetConfig
from models.daclip.controller import preprocess, tokens
from models.pixels import to_tensor

SMALL = UNetConfig(width=32, multipliers=(1, 2, 2, 4), context_dim=48)


def with_open_branches(network):
    """Randomize weights that are initialized with zero, which would hide the layers before them."""
    torch.manual_seed(0)
    for name, value in network.named_parameters():
        if name.endswith(("proj_out.weight", "beta", "gamma")):
            nn.init.normal_(value, std=0.2)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def unet():
    return with_open_branches(ConditionalUNet(SMALL))


def test_the_degradation_alone_conditions_a_network_without_cross_attention(vectors, weights):
    """Its layout has no key list, but the random weights are functions of key and shape, so ours must be theirs."""
    network = ConditionalUNet(UNetConfig(width=32, multipliers=(1, 2, 2, 4), context_dim=48, cross=False)).eval()
    network.load_state_dict(
        {key: weights.daclip_tensor(key, tuple(value.shape)) for key, value in network.state_dict().items()}
    )
    own = vectors("b_unet_small_degraonly")
    with torch.inference_mode():
        for told, name in ((own["degra"], "out_32x48_t50"), (None, "out_32x48_t50_nodegra")):
            found = network(own["x_32x48"], own["mu_32x48"], torch.tensor([50]), network.prepare(None, told))
            assert_parity(found, own[name])
        constants = network.prepare(None, own["text_context_b"])
        assert_parity(network(own["xb"], own["mub"], own["tb"], constants), own["outb"])


def test_the_matching_loss_through_the_network_has_the_published_gradients(vectors, random_state):
    """One training step of the authors' modules: the loss, and nine tensors' gradients."""
    from models.daclip.irsde import IRSDE, diffuse, matching_loss

    own, state = vectors("t_train_unet"), random_state("unet")
    network = ConditionalUNet(SMALL)
    network.load_state_dict({key: state[key] for key in network.state_dict()})
    at, t = IRSDE().at(own["t"].flatten()), own["t"].flatten()
    x = diffuse(own["x0"], own["mu"], own["noise"], at)
    assert_parity(x, own["state"])
    eps = network(x, own["mu"], t, network.prepare(own["image_context"], own["degra"]))
    loss = matching_loss(x, own["x0"], own["mu"], eps, at)
    assert_parity(loss, own["loss"])
    loss.backward()
    found = dict(network.named_parameters())
    for key in (key for key in own if key.startswith("grad.")):
        expected = own[key]
        gradient = found[key.removeprefix("grad.")].grad
        assert_parity(gradient, expected, of_range=2e-4)


def test_cross_attention_over_one_token_is_a_constant():
    """Against torch's own multi-head attention with queries, keys and softmax."""
    torch.manual_seed(0)
    folded = SpatialTransformer(64, 48).transformer_blocks[0].attn2
    heads = nn.MultiheadAttention(64, 2, kdim=48, vdim=48, bias=True, batch_first=True).eval()
    with torch.no_grad():
        heads.v_proj_weight.copy_(folded.to_v.weight)
        heads.in_proj_bias.zero_()
        heads.out_proj.weight.copy_(folded.to_out[0].weight)
        heads.out_proj.bias.copy_(folded.to_out[0].bias)
        token = torch.randn(3, 1, 48)
        expected, _ = heads(torch.randn(3, 7, 64), token, token)  # any seven positions
        assert_parity(folded(token[:, 0])[:, None].expand(-1, 7, -1), expected)


def test_self_attention_is_the_explicit_one():
    torch.manual_seed(0)
    part, x = SelfAttention(64, 2), torch.randn(2, 10, 64)
    q, k, v = (layer(x).reshape(2, 10, 2, HEAD_CHANNELS).transpose(1, 2) for layer in (part.to_q, part.to_k, part.to_v))
    scores = (q @ k.transpose(-1, -2) / HEAD_CHANNELS**0.5).softmax(dim=-1)
    assert_parity(part(x), part.to_out((scores @ v).transpose(1, 2).flatten(2)))


@pytest.mark.parametrize("together", [True, False], ids=["all-heads", "head-by-head"])
def test_linear_attention_is_that_of_its_heads(together, monkeypatch):
    """As written in the paper it came from, head by head, position by position."""
    monkeypatch.setattr(attention, "ALL_HEADS_MAX_POSITIONS", 10**9 if together else 0)
    torch.manual_seed(0)
    part, x = LinearAttention(8), torch.randn(2, 8, 5, 7)
    found = []
    for head in part.to_qkv(x).reshape(2, 3, 4, HEAD_CHANNELS, 35).unbind(2):
        q, k, v = head.unbind(1)  # (B, 32, N)
        context = torch.einsum("bdn,ben->bde", k.softmax(dim=-1), v / 35)
        found.append(torch.einsum("bde,bdn->ben", context, q.softmax(dim=1) * HEAD_CHANNELS**-0.5))
    expected = part.to_out(torch.cat(found, dim=1).reshape(2, -1, 5, 7))
    assert_parity(part(x), expected)


def test_images_at_different_times_do_not_influence_each_other(unet):
    x, mu = torch.rand(2, 3, 3, 41, 35)
    content, degradation = torch.randn(2, 3, 48)
    t = torch.tensor([1, 50, 100])
    together = unet(x, mu, t, unet.prepare(content, degradation))
    for i in range(3):
        own = unet.prepare(content[[i]], degradation[[i]])
        alone = unet(x[[i]], mu[[i]], t[[i]], own)
        assert_parity(together[[i]], alone)


def test_constants_and_times_computed_before_give_the_same_answer(unet):
    x, mu = torch.rand(2, 2, 3, 32, 32)
    content, degradation = torch.randn(2, 2, 48)
    constants = unet.prepare(content, degradation)
    again = Constants.stack([constants[0], constants[1]])
    assert len(constants) == len(again) == 2
    rows = torch.stack([unet.embed(torch.arange(5.0), constants[i])[3] for i in range(2)])
    expected = unet(x, mu, torch.tensor([3, 3]), constants)
    assert_parity(unet.denoise(x, mu, rows, again.cross_vectors), expected)


def test_a_missing_embedding_is_an_error(unet):
    with pytest.raises(ValueError, match="no image context"):
        unet.prepare(None, torch.randn(1, 48))
    with pytest.raises(ValueError, match="without a condition"):
        ConditionalUNet(UNetConfig(prompt=False, cross=False))


NAFNET = NAFNetConfig(width=32, encoder_blocks=(1, 1), middle_blocks=2, decoder_blocks=(1, 1), context_dim=48)


def test_a_nafnet_that_learned_nothing_adds_only_its_ending():
    """beta and gamma are zero at the start, so nothing of the conditions comes through."""
    torch.manual_seed(0)
    network, mu = ConditionalNAFNet(NAFNET).eval(), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        network.ending.weight.zero_()
        network.ending.bias.fill_(0.25)
        found = network(mu, network.prepare(torch.randn(1, 48), torch.randn(1, 48)))
    torch.testing.assert_close(found, mu + 0.25)


def test_both_embeddings_reach_the_nafnet_and_batches_are_made_of_images():
    network, mu = with_open_branches(ConditionalNAFNet(NAFNET)), torch.rand(2, 3, 30, 45)
    content, degradation = torch.randn(2, 2, 48)
    plain = network(mu, network.prepare(content, degradation))
    assert plain.shape == mu.shape
    for change in (network.prepare(content + 1, degradation), network.prepare(content, 5 * degradation)):
        assert not torch.allclose(network(mu, change), plain)
    for i in range(2):
        alone = network(mu[[i]], network.prepare(content[[i]], degradation[[i]]))
        assert_parity(plain[[i]], alone)
    with pytest.raises(ValueError, match="expected two"):
        network.prepare(content, None)


def test_tokens_equal_those_of_open_clip():
    from models.networks.torchvision_mend import mend_torchvision

    mend_torchvision()
    from open_clip import tokenize

    texts = ["a photo of a cat", "", "rainy " * 100]
    assert torch.equal(tokens(texts), tokenize(texts))


@pytest.mark.parametrize("size", [(224, 224), (300, 500), (97, 130), (640, 225)])
def test_preprocessing_equals_that_of_torchvision(size):
    """CLIP's published transform, in torchvision's words."""
    from models.networks.torchvision_mend import mend_torchvision

    mend_torchvision()
    import numpy as np
    from PIL import Image
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

    from models.networks.clip import ClipConfig

    config = ClipConfig()
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    theirs = Compose(
        [Resize(224, InterpolationMode.BICUBIC), CenterCrop(224), ToTensor(), Normalize(config.mean, config.std)]
    )
    assert_parity(preprocess(to_tensor(pixels), config), theirs(Image.fromarray(pixels)))


def test_a_very_long_image_is_cropped_to_its_center():
    from models.networks.clip import ClipConfig

    strip = torch.zeros(3, 4, 4000)
    strip[..., 1990:2010] = 1
    middle = strip[..., 1900:2100]
    torch.testing.assert_close(preprocess(strip, ClipConfig()), preprocess(middle, ClipConfig()), atol=0.02, rtol=0)


def test_gelu_is_the_exact_one():
    part = attention.GatedGELU(4, 4)
    x = torch.randn(2, 3, 4)
    value, gate = part.proj(x).chunk(2, dim=-1)
    exact = gate * 0.5 * (1 + torch.erf(gate / 2**0.5))
    torch.testing.assert_close(part(x), value * exact)
    assert not torch.allclose(part(x), value * F.gelu(gate, approximate="tanh"), atol=1e-6)
