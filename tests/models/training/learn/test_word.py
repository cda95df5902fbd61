"""A new word moves away from the other prompts, and none of them moves."""

import pytest
import torch

from models.autodir.assessor import Assessor, prompt_of
from models.errors import TrainingError
from models.networks.clip import tokenize
from models.networks.token_table import TokenTable, compact
from models.training.core.text_encoder import class_embeddings
from models.training.learn.word import own_tokens, teach_word
from models.vocabulary import CLEAN

NAMES = ("noise", "rain", CLEAN)


@pytest.mark.parametrize("few_tokens", [False, True])
def test_the_prompts_of_the_others_stay_bit_for_bit(random_config, few_tokens):
    clip = Assessor(random_config.clip, NAMES).clip.requires_grad_(False)
    if few_tokens:  # the word is none of them, and joins them
        kept = tokenize([prompt_of(name) for name in NAMES]).flatten()
        tensors = compact(clip.get_parameter("token_embedding.weight"), kept)
        clip.token_embedding = TokenTable(len(tensors["ids"]), random_config.clip.text.width)
        clip.token_embedding.requires_grad_(False).load_state_dict(tensors)
    classes = {name: prompt_of(name) for name in NAMES}
    before = class_embeddings(clip, classes, torch.device("cpu"))
    far = float((before[1] @ class_embeddings(clip, {"x": prompt_of("moire")}, torch.device("cpu"))[1].T).max())
    cosine = teach_word(clip, NAMES, "moire", steps=100)
    after = class_embeddings(clip, classes, torch.device("cpu"))
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert cosine < far
    if few_tokens:
        word = tokenize(["moire"])[0, 1:-1].unique()
        assert clip.token_embedding.kept == len(kept.unique()) + len(set(word.tolist()) - set(kept.tolist()))


def test_a_word_of_the_words_of_others_is_refused():
    with pytest.raises(TrainingError, match="Choose another --name"):
        own_tokens("rain noise", NAMES)
    assert own_tokens("rain dust", NAMES) == tokenize(["dust"])[0, 1:2].tolist()
