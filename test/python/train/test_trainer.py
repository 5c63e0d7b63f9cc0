"""The loop: what it reports and when, how it ends, and what it refuses to go on with."""

import json

import pytest
import torch
from small_training import Batches, Recorder, make_trainer

from pyworker.errors import WorkerError
from pyworker.files import write_files
from pyworker.kernels import SparseCode
from pyworker.saes import load_sae, seeded_generator
from pyworker.train.dead_latents import FiringStatistics


@pytest.mark.parametrize("architecture", ["standard", "gated", "jumprelu", "topk"])
def test_training_lowers_the_error_of_every_architecture(make_config, architecture):
    config = make_config(architecture, {"training_tokens": 64 * 90, "lr": 1e-2})
    trainer, seen = make_trainer(config)
    result = trainer.fit()
    errors = [row["losses/mse_loss"] for row in seen.metrics.values()]
    assert errors[-1] < 0.7 * errors[0]
    assert (result.ended, result.n_training_steps, result.n_training_samples) == ("done", 90, 5760)


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("standard", {"l1_coefficient": 0.5}),
        ("gated", {"l1_coefficient": 0.5}),
        # In float32 rounding decides now and then which side of a threshold a latent is on.
        ("jumprelu", {"jumprelu_bandwidth": 0.3, "jumprelu_init_threshold": 0.3, "dtype": "float64"}),
        ("matryoshka_batchtopk", {"dtype": "float64"}),
    ],
)
def test_200_steps_by_index_are_200_dense_ones_and_repeat_bit_for_bit(make_config, architecture, options):
    run = {"training_tokens": 64 * 200, "lr": 3e-3}

    def trained(kernels):
        config = make_config(architecture, run, kernels=kernels, **options)
        trainer, seen = make_trainer(config, batches=Batches(n=200))
        trainer.fit()
        return trainer.sae, [row["losses/overall_loss"] for row in seen.metrics.values()]

    _, dense_losses = trained("dense")
    sparse, sparse_losses = trained("sparse")
    again, _ = trained("sparse")
    assert len(dense_losses) == 100
    assert sparse_losses == pytest.approx(dense_losses, rel=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(sparse.parameters(), again.parameters(), strict=True))


def test_a_run_whose_latents_become_few_goes_by_index_says_so_once_and_repeats(make_config):
    config = make_config("standard", {"training_tokens": 64 * 60, "lr": 1e-2}, l1_coefficient=30.0)
    trainer, seen = make_trainer(config)
    trainer.fit()
    assert [kernels for _, kernels in seen.kernels] == ["sparse"]
    again, seen_again = make_trainer(config)
    again.fit()
    assert seen_again.kernels == seen.kernels
    assert all(
        torch.equal(a, b) for a, b in zip(trainer.sae.parameters(), again.sae.parameters(), strict=True)
    )


def test_metrics_have_saelens_names_on_saelens_steps(make_config):
    config = make_config("jumprelu", pre_act_loss_coefficient=0.1, l0_warm_up_steps=4)
    trainer, seen = make_trainer(config)
    trainer.fit()
    assert list(seen.metrics) == [1, 3, 5, 7, 9]
    assert seen.evaluated == [3, 7]
    assert set(seen.metrics[1]) == {
        "losses/overall_loss",
        "losses/mse_loss",
        "losses/l0_loss",
        "losses/pre_act_loss",
        "metrics/explained_variance",
        "metrics/explained_variance_legacy",
        "metrics/explained_variance_legacy_std",
        "metrics/l0",
        "sparsity/mean_passes_since_fired",
        "sparsity/dead_features",
        "details/current_learning_rate",
        "details/n_training_samples",
        "details/l0_coefficient",
    }
    assert seen.metrics[1]["details/l0_coefficient"] == pytest.approx(0.1 / 4)
    assert seen.metrics[3]["model_performance_preservation/ce_loss_score"] == 0.5
    assert list(seen.sparsity) == [4, 8]
    assert {"metrics/mean_log10_feature_sparsity", "sparsity/below_1e-5", "sparsity/below_1e-6"} == set(
        seen.sparsity[4][0]
    )


def test_recurring_checkpoints_come_after_so_many_tokens_beside_the_others(make_config, tmp_path):
    config = make_config("topk", {"n_checkpoints": 2, "checkpoint_every": 150})
    trainer, seen = make_trainer(config, Recorder(request_at=2, folder=tmp_path))
    trainer.fit()
    # The first step at or beyond 150, 300 and 450 tokens; at the end there is the SAE.
    recurring = [("recurring", n) for n in (192, 320, 512)]
    others = [("requested", 128), ("scheduled", 256), ("scheduled", 448)]
    assert seen.checkpoints == sorted(recurring + others, key=lambda one: one[1])


def test_checkpoints_come_at_their_thresholds_and_when_asked_for(make_config, tmp_path):
    loading = {"revision": "main", "token": "hf_secret"}
    run = {"n_checkpoints": 2, "save_final_checkpoint": True, "model_from_pretrained_kwargs": loading}
    config = make_config("topk", run, normalize_activations="expected_average_only_in")
    trainer, seen = make_trainer(config, Recorder(request_at=2, folder=tmp_path))
    trainer.fit()
    assert seen.checkpoints == [("requested", 128), ("scheduled", 256), ("scheduled", 448), ("final", 640)]
    plain, _ = make_trainer(make_config("topk", normalize_activations="expected_average_only_in"))
    plain.fit()
    assert torch.equal(plain.sae.W_enc, trainer.sae.W_enc), "writing checkpoints disturbed training"
    sae, cfg, log_sparsity = load_sae(tmp_path / "640")
    x = Batches().made[0]
    torch.testing.assert_close(sae(x), trainer.sae.eval()(x), rtol=1e-4, atol=1e-4)
    assert cfg["normalize_activations"] == "none"
    assert cfg["metadata"]["training_architecture"] == "topk"
    assert cfg["metadata"]["model_from_pretrained_kwargs"] == {"revision": "main"}
    assert cfg["metadata"]["l0"] == pytest.approx(4, abs=0.1)
    assert log_sparsity.shape == (32,)
    json.loads((tmp_path / "256" / "cfg.json").read_text())


def test_a_stop_is_orderly(make_config, tmp_path):
    trainer, _ = make_trainer(make_config(), Recorder(stop_at=3))
    result = trainer.fit()
    assert (result.ended, result.n_training_steps) == ("stopped", 3)
    write_files(trainer.sae_files(), tmp_path)
    load_sae(tmp_path)


def test_a_stop_is_heard_while_the_scale_is_estimated(make_config, tmp_path):
    config = make_config(
        "standard", {"save_final_checkpoint": True}, normalize_activations="expected_average_only_in"
    )
    trainer, seen = make_trainer(config, Recorder(stop_in=("estimate_scale", 1, 4), folder=tmp_path))
    result = trainer.fit()
    assert (result.ended, result.n_training_steps) == ("stopped", 0)
    assert seen.stages[-1] == ("estimate_scale", 1, 4)
    assert seen.checkpoints == [] and trainer.scaler.factor is None


def test_every_step_tells_how_far_the_run_is(make_config):
    trainer, seen = make_trainer(make_config("standard", {"training_tokens": 64 * 3 + 1}))
    trainer.fit()
    assert seen.stages == [("train", step, 4) for step in range(4)]
    assert (trainer.total_steps, trainer.schedule_steps) == (4, 3)


def test_the_end_of_the_data_is_the_end_of_training(make_config):
    trainer, _ = make_trainer(make_config(), batches=Batches(n=4))
    assert trainer.fit().ended == "data_ended"


def test_a_number_that_is_not_finite_stops_before_it_reaches_the_weights(make_config):
    trainer, _ = make_trainer(make_config(), batches=Batches(poison_at=3))
    with pytest.raises(WorkerError) as caught:
        trainer.fit()
    assert caught.value.code == "NOT_FINITE"
    assert caught.value.details["step"] == 3
    assert "mse_loss" in caught.value.details["terms"]
    assert "inf" in caught.value.message
    assert all(torch.isfinite(p).all() for p in trainer.sae.parameters())


@pytest.mark.parametrize(("dtype", "named"), [("float32", False), ("bfloat16", True)])
def test_a_narrow_dtype_is_named_where_numbers_are_not_finite(make_config, dtype, named):
    trainer, _ = make_trainer(make_config(dtype=dtype), batches=Batches(poison_at=1))
    with pytest.raises(WorkerError) as caught:
        trainer.fit()
    assert (f"dtype {dtype}" in caught.value.message) == named
    assert caught.value.details["dtype"] == dtype


@pytest.mark.parametrize("method", ["mean", "geometric_median"])
def test_b_dec_starts_in_the_middle_of_the_scaled_rows(make_config, method):
    options = {"b_dec_init_method": method, "normalize_activations": "expected_average_only_in"}
    trainer, seen = make_trainer(make_config(**options))
    trainer.prepare()
    told = [("estimate_scale", done, 4) for done in range(4)]
    assert seen.stages == [*told, ("init_b_dec", None, None)]
    assert torch.equal(next(trainer.batches), trainer.batches.made[0]), "the estimate used batches up"
    scaled = trainer.batches.peek_rows() * trainer.scaler.factor
    torch.testing.assert_close(trainer.sae.b_dec.data, scaled.mean(dim=0), rtol=0, atol=0.2)


def test_a_loss_that_explodes_ends_the_run_where_asked_before_it_reaches_weights_or_a_checkpoint(make_config):
    def exploding():
        batches = Batches()
        batches.made[20] *= 100
        return batches

    options = {"training_tokens": 64 * 30, "stop_on_loss_explosion": True, "checkpoint_every": 64}
    config = make_config("topk", options)
    trainer, seen = make_trainer(config, batches=exploding())
    with pytest.raises(WorkerError, match=r"step 20: the loss is \S+, and was \S+ until then") as raised:
        trainer.fit()
    error = raised.value
    assert error.code == "LOSS_EXPLODED" and error.details["loss"] > 100 * error.details["median"] > 0
    assert max(n for _, n in seen.checkpoints) == 20 * 64
    unharmed, _ = make_trainer(config, Recorder(stop_at=20))
    unharmed.fit()
    assert all(torch.equal(a, b) for a, b in zip(trainer.parameters, unharmed.parameters, strict=True))

    going_on, _ = make_trainer(config, batches=exploding())
    going_on.restore(unharmed.state())
    with pytest.raises(WorkerError, match="step 20: ") as again:
        going_on.advance(exploding().made[20])
    assert again.value.details == error.details, "the checkpoint keeps what is judged by"

    trainer, _ = make_trainer(make_config("topk", {"training_tokens": 64 * 30}), batches=exploding())
    assert trainer.fit().ended == "done", "without the option it is a warning"


def test_same_seed_same_weights(make_config):
    config = make_config("standard", noise_scale=0.2)
    first, second = (make_trainer(config)[0] for _ in range(2))
    first.fit(), second.fit()
    assert torch.equal(first.sae.W_dec, second.sae.W_dec)


def test_decoder_rows_are_unit_at_the_start_of_every_step(make_config):
    trainer, _ = make_trainer(make_config("standard", {"lr": 0.05}, normalize_sae_decoder=True))
    norms = []
    forward = trainer.training_forward
    trainer.training_forward = lambda step: (norms.append(trainer.sae.W_dec.norm(dim=1)), forward(step))[1]
    trainer.fit()
    torch.testing.assert_close(torch.stack(norms), torch.ones(10, 32))


@pytest.mark.parametrize("method", ["scale", "decoder", "unrotated_decoder"])
@pytest.mark.parametrize("vocabulary", ["v5", "v6"])
def test_fine_tuning_trains_what_it_names_and_nothing_else(make_config, tmp_path, method, vocabulary):
    run = {"training_tokens": 320, "finetuning_tokens": 320, "finetuning_method": method}
    config = make_config("standard", run, vocabulary=vocabulary, apply_b_dec_to_input=False)
    trainer, _ = make_trainer(config)
    states = []
    trainer.optimizer.register_step_post_hook(
        lambda *_: states.append({k: v.clone() for k, v in trainer.sae.state_dict().items()})
    )
    trainer.fit()
    start = 5 if vocabulary == "v5" else 4  # the last step before anything is frozen
    changed = {name for name in states[0] if not torch.equal(states[start][name], states[-1][name])}
    factor = set() if vocabulary == "v5" and method != "scale" else {"finetuning_scaling_factor"}
    expected = {"scale": set(), "decoder": {"W_dec", "b_dec"}, "unrotated_decoder": {"b_dec"}}[
        method
    ] | factor
    assert changed == expected
    rested = states[start]["finetuning_scaling_factor"]
    assert torch.equal(rested, torch.ones_like(rested)), "the factor learned before fine-tuning"
    write_files(trainer.sae_files(), tmp_path)
    x = Batches().made[0]
    torch.testing.assert_close(load_sae(tmp_path)[0](x), trainer.sae.eval()(x), rtol=1e-4, atol=1e-4)


def test_rare_latents_count_as_dead_once_a_window_has_passed(make_config):
    config = make_config("topk", {"dead_feature_threshold": 2.0})
    trainer, seen = make_trainer(config)
    trainer.fit()
    assert seen.metrics[3]["sparsity/dead_features"] == 0
    assert seen.metrics[5]["sparsity/dead_features"] == 32
    assert seen.metrics[5]["losses/auxiliary_reconstruction_loss"] > 0


def test_a_threshold_too_small_for_the_samples_seen_leaves_the_window_to_judge(make_config):
    run = {"training_tokens": 64 * 12, "dead_feature_window": 1000, "feature_sampling_window": 2}
    config = make_config("topk", {**run, "dead_feature_threshold": 1e-8})
    trainer, seen = make_trainer(config)
    with torch.no_grad():
        trainer.sae.b_enc[5] = -1e6  # never fires
    trainer.fit()
    assert {row["sparsity/dead_features"] for row in seen.metrics.values()} == {0}
    firing = trainer.firing
    firing.dead_feature_threshold = 1 / (firing.last_n_samples + firing.n_samples) + 1e-9
    assert firing.dead()[5] and not firing.dead()[firing.firings_F > 0].any()


@pytest.mark.parametrize("options", [{"autocast": True}, {"max_grad_norm": None}])
def test_numerics_options_train(make_config, options):
    trainer, seen = make_trainer(make_config("standard", {"training_tokens": 3840, "lr": 1e-2, **options}))
    trainer.fit()
    assert seen.metrics[59]["losses/overall_loss"] < 0.8 * seen.metrics[1]["losses/overall_loss"]


def test_a_compiler_that_fails_is_named(make_config):
    config = make_config("standard", {"compile_sae": True, "sae_compilation_mode": "no-such-mode"})
    with pytest.raises(WorkerError, match="compile_sae") as caught:
        make_trainer(config)[0].fit()
    assert caught.value.code == "TRAINING_FAILED"


def test_a_failed_allocation_is_named(make_config):
    trainer, _ = make_trainer(make_config())

    def forward(step):
        return torch.empty(1 << 60)

    trainer.training_forward = forward
    with pytest.raises(WorkerError, match="32 latents") as caught:
        trainer.fit()
    assert caught.value.code == "OUT_OF_MEMORY"


@pytest.mark.parametrize("architecture", ["standard", "gated", "jumprelu", "topk"])
def test_bfloat16_weights_train_and_save(make_config, tmp_path, architecture):
    config = make_config(architecture, {"lr": 1e-2}, dtype="bfloat16")
    trainer, seen = make_trainer(config)
    trainer.fit()
    assert seen.metrics[9]["losses/mse_loss"] < seen.metrics[1]["losses/mse_loss"]
    write_files(trainer.sae_files(), tmp_path)
    assert load_sae(tmp_path)[0].W_dec.dtype == torch.bfloat16


def test_a_device_that_is_not_waited_for_writes_nothing_either_and_the_failure_is_the_same(make_config):
    errors, weights = [], []
    for lags in (False, True):
        trainer, _ = make_trainer(make_config(), batches=Batches(poison_at=2))
        trainer.finite.lags = lags
        with pytest.raises(WorkerError) as caught:
            trainer.fit()
        errors.append((caught.value.code, caught.value.message, caught.value.details))
        weights.append([p.detach() for p in trainer.sae.parameters()])
        assert trainer.n_training_steps == (3 if lags else 2), "it is known one step later"
    assert errors[0] == errors[1]
    assert all(map(torch.equal, *weights)), "the step after the broken one was written"


@pytest.mark.parametrize("then", ["checkpoint", "metrics", "end of the data"])
def test_nothing_is_said_or_kept_of_a_step_before_it_is_known_to_be_finite(make_config, then):
    config = make_config()
    config.logger.wandb_log_frequency = 4 if then == "metrics" else 1000
    recorder = Recorder(request_at=4 if then == "checkpoint" else None)
    batches = Batches(n=4 if then == "end of the data" else 9, poison_at=3)
    trainer, seen = make_trainer(config, recorder, batches)
    trainer.finite.lags = True
    with pytest.raises(WorkerError) as caught:
        trainer.fit()
    assert caught.value.details["step"] == 3
    assert trainer.n_training_steps == (3 if then == "metrics" else 4)
    assert not seen.metrics and not seen.checkpoints


def test_the_numbers_of_dead_latents_follow_every_step_and_window():
    firing = FiringStatistics(d_sae=12, device="cpu", dead_feature_window=2, dead_feature_threshold=0.02)
    generator, seen = seeded_generator(0), set()
    for _ in range(5):
        for _ in range(6):
            z = torch.rand(10, 12, generator=generator) - torch.linspace(0.5, 1.0, 12)
            firing.update(SparseCode(torch.relu(z)), 10)
            assert torch.equal(firing.dead_latents(), firing.dead().nonzero().squeeze(-1))
            seen.add(len(firing.dead_latents()))
        firing.start_window()
        assert torch.equal(firing.dead_latents(), firing.dead().nonzero().squeeze(-1))
    assert len(seen) > 2, "the number of dead latents moved"
