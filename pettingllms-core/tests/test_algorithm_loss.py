"""The loss against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from pettingllms.algorithm.loss import (  # noqa: E402
    LossSettings,
    clipped_surrogate,
    kl_k3,
    policy_loss,
    token_weights,
)

torch.set_num_threads(1)


def surrogate(ratio, advantage, **settings):
    """Loss of one token, whether the clip bound it, and the gradient by its log-probability."""
    logprob = torch.tensor([[[math.log(ratio)]]], dtype=torch.float64, requires_grad=True)
    old = torch.zeros(1, 1, 1, dtype=torch.float64)
    advantages = torch.tensor([[advantage]], dtype=torch.float64)
    loss, bound = clipped_surrogate(logprob, old, advantages, LossSettings(**settings))
    loss.sum().backward()
    return loss.item(), bound.item(), logprob.grad.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "bound", "gradient"),
    [
        # -min(r A, clip(r, .8, 1.2) A); where the clip binds there is no gradient, elsewhere it is -r A
        (1.5, 1.0, -1.2, True, 0.0),  # min(1.5, 1.2)
        (1.1, 1.0, -1.1, False, -1.1),
        (0.5, 1.0, -0.5, False, -0.5),  # min(.5, .8)
        (1.5, -1.0, 1.5, False, 1.5),  # min(-1.5, -1.2)
        (0.9, -1.0, 0.9, False, 0.9),
        (0.5, -1.0, 0.8, True, 0.0),  # min(-.5, -.8)
        (1.0, 2.0, -2.0, False, -2.0),
        (3.0, 0.0, 0.0, False, 0.0),
    ],
)
def test_the_clip_for_both_signs(ratio, advantage, loss, bound, gradient):
    got = surrogate(ratio, advantage)
    assert got[0] == pytest.approx(loss)
    assert got[1] is bound
    assert got[2] == pytest.approx(gradient)


def test_the_upper_clip_range_moves_the_upper_bound_alone():
    assert surrogate(1.5, 1.0, clip_epsilon_high=0.4) == pytest.approx((-1.4, True, 0.0))
    assert surrogate(1.3, 1.0, clip_epsilon_high=0.4) == pytest.approx((-1.3, False, -1.3))
    assert surrogate(0.5, -1.0, clip_epsilon_high=0.4) == pytest.approx((0.8, True, 0.0))


def test_dual_clip_bounds_the_loss_of_negative_advantages_alone():
    assert surrogate(5.0, -2.0) == pytest.approx((10.0, False, 10.0))
    assert surrogate(5.0, -2.0, dual_clip=3.0) == pytest.approx((6.0, True, 0.0))  # 3 * 2
    assert surrogate(2.0, -2.0, dual_clip=3.0) == pytest.approx((4.0, False, 4.0))
    assert surrogate(5.0, 2.0, dual_clip=3.0) == pytest.approx((-2.4, True, 0.0))  # -1.2 * 2


def test_k3_by_hand():
    logprob = torch.tensor(
        [math.log(0.2), math.log(0.5), math.log(0.3)], dtype=torch.float64, requires_grad=True
    )
    reference = torch.tensor([math.log(0.4), math.log(0.25), math.log(0.3)], dtype=torch.float64)
    # q/p - log(q/p) - 1 at q/p = 2, .5, 1: 2 - .6931472 - 1, .5 + .6931472 - 1, 0
    values = kl_k3(logprob, reference)
    assert values.tolist() == pytest.approx([0.3068528, 0.1931472, 0.0], abs=1e-7)
    values.sum().backward()
    assert logprob.grad.tolist() == pytest.approx([-1.0, 0.5, 0.0])  # 1 - q/p


def test_token_weights_add_up_over_micro_batches():
    first = torch.tensor([[[1, 1, 1], [1, 0, 0]]], dtype=torch.bool)
    second = torch.tensor([[[1, 1], [0, 0]]], dtype=torch.bool)  # its second response is masked
    # 6 tokens in 3 responses of 3, 1 and 2 tokens
    assert token_weights(first, "token-mean", 6, 3).flatten().tolist() == pytest.approx(
        [1 / 6, 1 / 6, 1 / 6, 1 / 6, 0, 0]
    )
    assert token_weights(first, "sequence-mean", 6, 3).flatten().tolist() == pytest.approx(
        [1 / 9, 1 / 9, 1 / 9, 1 / 3, 0, 0]
    )
    assert token_weights(second, "sequence-mean", 6, 3).flatten().tolist() == pytest.approx(
        [1 / 6, 1 / 6, 0, 0]
    )
    for how in ("token-mean", "sequence-mean"):
        total = token_weights(first, how, 6, 3).sum() + token_weights(second, how, 6, 3).sum()
        assert total.item() == pytest.approx(1.0)


def loss_of(logprobs, old, generator, advantages, weights, reference=None, entropy=None, **settings):
    tensors = [torch.tensor(x, dtype=torch.float64) for x in (logprobs, old, generator, advantages, weights)]
    tensors[0].requires_grad_()
    entropy = torch.zeros_like(tensors[0]) if entropy is None else torch.tensor(entropy, dtype=torch.float64)
    reference = None if reference is None else torch.tensor(reference, dtype=torch.float64)
    loss, metrics = policy_loss(
        tensors[0], entropy, *tensors[1:], LossSettings(**settings), reference_logprobs_BKR=reference
    )
    loss.backward()
    return loss.item(), {name: value.item() for name, value in metrics.items()}, tensors[0].grad


def test_the_loss_of_a_group_by_hand():
    # Two responses, A = 1 and -1, two tokens each, the last one padding; weights 1/3.
    # ratios 1.5 .5 | 1.5 (pad): surrogates -1.2 -.5 | 1.5; sum -.2, /3 = -.0666667
    logs = [[[math.log(1.5), math.log(0.5)], [math.log(1.5), 7.0]]]
    zeros, weights = [[[0.0, 0.0], [0.0, 0.0]]], [[[1 / 3, 1 / 3], [1 / 3, 0.0]]]
    loss, metrics, gradient = loss_of(logs, zeros, zeros, [[1.0, -1.0]], weights)
    assert loss == pytest.approx(-0.0666667, abs=1e-7)
    assert gradient.flatten().tolist() == pytest.approx([0.0, -0.5 / 3, 0.5, 0.0])
    assert metrics["clip_fraction"] == pytest.approx(1 / 3)
    # |log 1.5| twice and |log .5|: (.4054651 * 2 + .6931472) / 3
    assert metrics["generator_drift"] == pytest.approx(0.5013591, abs=1e-7)
    # r - log r - 1: (.5 - .4054651) * 2 + (-.5 + .6931472), / 3
    assert metrics["ratio_kl"] == pytest.approx(0.1274057, abs=1e-6)
    assert "reference_kl" not in metrics


def test_the_importance_weight_is_truncated_and_carries_no_gradient():
    # learner / generator = 3, cut to 2, and .5; ratio new / old = 1: loss (-1 * 2 - 1 * .5) / 2
    old, generator = [[[math.log(0.6), math.log(0.1)]]], [[[math.log(0.2), math.log(0.2)]]]
    loss, _, gradient = loss_of(old, old, generator, [[1.0]], [[[0.5, 0.5]]], importance_cap=2.0)
    assert loss == pytest.approx(-1.25)
    assert gradient.flatten().tolist() == pytest.approx([-1.0, -0.25])
    plain, _, _ = loss_of(old, old, generator, [[1.0]], [[[0.5, 0.5]]])
    assert plain == pytest.approx(-1.0)


def test_the_kl_to_the_reference_is_added():
    # k3 = 2 - log 2 - 1 = .3068528 where the reference is twice as likely, 0 on the masked token
    logs, reference = [[[math.log(0.2), math.log(0.2)]]], [[[math.log(0.4), math.log(0.9)]]]
    loss, metrics, gradient = loss_of(
        logs, logs, logs, [[0.0]], [[[1.0, 0.0]]], reference, kl_coefficient=0.1
    )
    assert metrics["reference_kl"] == pytest.approx(0.3068528, abs=1e-7)
    assert loss == pytest.approx(0.03068528, abs=1e-8)
    assert gradient.flatten().tolist() == pytest.approx([-0.1, 0.0])  # downhill: towards the reference


def test_the_entropy_bonus_raises_entropy():
    logits = torch.tensor([2.0, 0.0, -1.0], dtype=torch.float64, requires_grad=True)

    def entropy(values):
        logs = torch.log_softmax(values, -1)
        return -(logs.exp() * logs).sum()

    zeros, ones = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    before = entropy(logits)
    loss, metrics = policy_loss(
        zeros, before.view(1, 1, 1), zeros, zeros, zeros[0], ones, LossSettings(entropy_coefficient=0.5)
    )
    assert loss.item() == pytest.approx(-0.5 * before.item())
    assert metrics["entropy"].item() == pytest.approx(before.item())
    loss.backward()
    assert entropy(logits.detach() - 0.1 * logits.grad) > before
