"""The data path with a real language model and real stories."""

import pytest
import torch
from small_data import make_config

from pyworker.data.activation_stream import ActivationStream
from pyworker.data.held_out import open_token_data
from pyworker.data.model_rows import LanguageModelRows
from pyworker.lm.load import load_language_model

HOOK = "blocks.2.hook_resid_post"


@pytest.fixture(scope="module")
def stories(shared):
    def configure(**changes):
        return make_config(
            model_name=str(shared / "fixtures/models/stories260K"),
            model_class_name="HookedTransformer",
            hook_name=HOOK,
            dataset_path=str(shared / "fixtures/datasets/tinystories/train.parquet"),
            context_size=64,
            store_batch_size_prompts=8,
            train_batch_size_tokens=512,
            n_eval_batches=2,
            eval_batch_size_prompts=4,
            exclude_special_tokens=True,
            **changes,
        )

    return load_language_model(configure()), configure


def test_batches_are_the_models_activations_at_the_hook(stories):
    lm, configure = stories
    data = open_token_data(configure(), lm)
    sequences = data.training.sequences()
    first = [torch.from_numpy(next(sequences)) for _ in range(64)]
    stream = ActivationStream(configure(), LanguageModelRows(configure(), lm, data.training))
    x_BD = next(stream)
    assert x_BD.shape == (512, 64)
    rows = stream.rows
    assert lm.bos_token_id not in rows.token_id_N
    for i in range(0, 512, 37):
        tokens, position = first[int(rows.sequence_N[i])], int(rows.position_N[i])
        assert tokens[position] == rows.token_id_N[i]
        assert torch.allclose(x_BD[i], lm.activations(tokens[None])[0, position], atol=1e-4)


def test_a_background_thread_and_an_evaluation_between_batches_change_no_number(stories):
    lm, configure = stories
    data = open_token_data(configure(), lm)
    plain = ActivationStream(configure(), LanguageModelRows(configure(), lm, data.training))
    ahead = ActivationStream(
        configure(prefetch_llm_batches=2), LanguageModelRows(configure(), lm, data.training)
    )
    for _ in range(12):
        assert torch.equal(next(plain), next(ahead))
        for tokens_PC in data.evaluation.batches():
            lm.logits(tokens_PC, edit=lambda x_PCD: x_PCD * 0)
    ahead.close()


def test_every_sequence_of_stories_begins_with_bos_and_none_of_the_evaluation_is_trained_on(stories):
    lm, configure = stories
    data = open_token_data(configure(on_data_end="stop"), lm)
    trained = {tuple(sequence.tolist()) for sequence in data.training.sequences()}
    held_out = {tuple(tokens.tolist()) for tokens in data.evaluation.tokens_EC}
    assert {tokens[0] for tokens in trained | held_out} == {lm.bos_token_id}
    assert len(held_out) == 8
    assert not trained & held_out
