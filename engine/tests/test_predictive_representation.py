"""Representations that foretell: what is looked up, what is decoded, what is learnt."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import small_learners as small
import torch
from point_world import ACTION, OBSERVATION, PointWorld
from torch import Tensor, nn

from alf.algorithms.agent import Agent
from alf.algorithms.predictive_representation_learner import (
    PredictiveRepresentationLearner,
    PredictiveRepresentationLearnerInfo,
    SimpleDecoder,
)
from alf.data_structures import AlgStep, StepType, TimeStep, make_experience
from alf.environments.suite_unittest import ActionType
from alf.experience_replayers.replay_buffer import BatchInfo, ReplayBuffer
from alf.layers import FC, Reshape
from alf.networks.containers import Sequential
from alf.networks.encoding_networks import EncodingNetwork, LSTMEncodingNetwork
from alf.optimizers import Adam
from alf.tensor_specs import TensorSpec
from alf.utils import dist_utils
from alf.utils.math_ops import identity

LAST = int(StepType.LAST)
LATENT = 16
SIZES = {"reward": 1, "observation": 2}


def _head(input_tensor_spec: TensorSpec, size: int) -> Any:
    net = EncodingNetwork(
        input_tensor_spec, fc_layer_params=(32,), last_layer_size=size, last_activation=identity
    )
    return net if size > 1 else Sequential(net, Reshape(()))


def _decoder(field: str, **options: Any) -> partial:
    head = partial(_head, size=SIZES.get(field, 2))
    return partial(SimpleDecoder, target_field=field, decoder_net_ctor=head, **options)


def _encoder(spec: Any) -> Any:
    return EncodingNetwork(spec, fc_layer_params=(LATENT,), activation=torch.tanh)


def _learner(R: int = 2, fields: Any = ("reward", "observation"), **options: Any) -> Any:
    settings = {
        "decoder_ctor": [_decoder(field) for field in fields],
        "encoding_net_ctor": _encoder,
        "dynamics_net_ctor": partial(LSTMEncodingNetwork, hidden_size=LATENT),
        **options,
    }
    return partial(PredictiveRepresentationLearner, num_unroll_steps=R, **settings)


def _made(*args: Any, **options: Any) -> PredictiveRepresentationLearner:
    learner = _learner(*args, **options)(OBSERVATION, ACTION)
    learner.set_path("")
    return learner


# ---- what is looked up ----


def _buffer(T: int = 20) -> ReplayBuffer:
    """Each number of a record says where it is; episodes end at random."""
    buffer: Any = None
    for t in range(T):
        code = 100.0 * torch.arange(3) + t
        types = torch.where(torch.rand(3) < 0.25, LAST, int(StepType.MID)).to(torch.int32)
        step = TimeStep(
            step_type=types,
            reward=code,
            discount=torch.ones(3),
            observation=torch.stack([code, -code], dim=1),
            prev_action=torch.stack([code + 0.5, code], dim=1),
            env_id=torch.arange(3),
        )
        experience = make_experience(step, AlgStep(output=torch.zeros(3, 2)), state=())
        if buffer is None:
            spec = dist_utils.extract_spec(experience, from_dim=1)
            buffer = ReplayBuffer(spec, num_environments=3, max_length=12)
        buffer.add_batch(experience, experience.env_id)
    return buffer


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("R", [0, 1, 4])
def test_what_followed_a_step_is_looked_up_up_to_its_episodes_end(R: int, seed: int) -> None:
    torch.manual_seed(seed)
    buffer, T = _buffer(), 2
    types = {}
    for e in range(3):
        for p in range(8, 20):
            types[e, p] = int(
                buffer.get_field("time_step.step_type", torch.tensor([e]), torch.tensor([p]))
            )
    env_ids, positions = torch.randint(3, (9,)), torch.randint(8, 18, (9,))
    root = TimeStep(step_type=torch.zeros(9, T))
    batch = BatchInfo(env_ids=env_ids, positions=positions, replay_buffer=buffer)
    _, info = _made(R).preprocess_experience(root, (), batch)
    assert isinstance(info, PredictiveRepresentationLearnerInfo)
    for b in range(9):
        for t in range(T):
            e, p = int(env_ids[b]), int(positions[b]) + t
            is_valid = True
            for r in range(R + 1):
                assert bool(info.mask[b, t, r]) == is_valid
                if is_valid:
                    code = 100 * e + p + r
                    assert float(info.target[0][b, t, r]) == code
                    assert info.target[1][b, t, r].tolist() == [code, -code]
                    if r > 0:
                        assert info.action[b, t, r - 1].tolist() == [code + 0.5, code]
                is_valid = is_valid and p + r < 19 and types[e, p + r] != LAST
    assert info.action.shape == (9, T, R, 2)


# ---- what is decoded ----


def test_the_loss_of_a_decoder_by_hand() -> None:
    decoder = _decoder(
        "observation", loss_ctor=partial(nn.MSELoss, reduction="none"), loss_weight=3.0
    )
    loss = decoder(TensorSpec((4,))).calc_loss(
        torch.tensor([[[1.0, 2.0], [0.0, 0.0]]]),
        torch.tensor([[[0.0, 4.0], [1.0, 1.0]]]),
        torch.tensor([[True, False]]),
    )
    assert loss.extra.tolist() == [[2.5, 0.0]]
    assert loss.loss.tolist() == [[7.5, 0.0]]


def test_a_target_of_any_rank_has_one_loss_per_step() -> None:
    decoder = SimpleDecoder(TensorSpec((4,)), "observation", partial(_head, size=2))
    assert decoder.calc_loss(torch.zeros(3, 2, 5, 4, 4), torch.ones(3, 2, 5, 4, 4)).loss.shape == (
        3,
        2,
    )


def test_normalized_targets_make_the_loss_the_same_at_any_scale() -> None:
    torch.manual_seed(0)
    losses = []
    target, wrong = torch.randn(50, 8, 2), torch.randn(50, 8, 2)
    for scale in (1.0, 1000.0):
        decoder = _decoder("observation", normalize_target=True)(TensorSpec((4,)))
        losses.append(float(decoder.calc_loss(scale * target, scale * wrong).loss.mean()))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


# ---- what is learnt ----


def _rollouts(rows: int, R: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Observations [B, 2], actions [B, R, 2], and what `PointWorld` does [B, R + 1, ...]."""
    world = PointWorld(rows)
    step = world.reset()
    start, actions = step.observation, 2 * torch.rand(rows, R, 2) - 1
    seen, rewards = [start], [-start.norm(dim=1)]
    for t in range(R):
        step = world.step(actions[:, t])
        seen.append(step.observation)
        rewards.append(step.reward)
    return start, actions, torch.stack(rewards, 1), torch.stack(seen, 1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_learns_to_foretell_along_actions(seed: int) -> None:
    """Rewards have a deviation of 0.3; what is foretold further than it was trained is good too."""
    torch.manual_seed(seed)
    learner = _made(3)
    optimizer = torch.optim.Adam(learner.parameters(), lr=5e-3)
    for _ in range(400):
        start, actions, rewards, seen = _rollouts(128, 3)
        mask = torch.ones(128, 4, dtype=torch.bool)
        info = PredictiveRepresentationLearnerInfo(actions, mask, [rewards, seen])
        loss = learner.train_step(TimeStep(observation=start), (), info).info
        optimizer.zero_grad()
        loss.loss.mean().backward()
        optimizer.step()
    start, actions, rewards, seen = _rollouts(500, 5)
    with torch.no_grad():
        latent = learner.predict_step(TimeStep(observation=start), ()).output
        foretold = learner.predict_multi_step(latent, actions, target_field="reward")
    error = (foretold.reshape(6, 500) - rewards.T).square().mean(1).sqrt()
    assert rewards.std() > 0.25
    assert error[:4].max() < 0.1
    assert error.max() < 0.15


def test_what_lies_behind_the_end_teaches_nothing() -> None:
    learner = _made(2, fields=["reward"])
    mask = torch.tensor([[True, True, False]])
    losses = []
    for behind in (0.0, 1000.0):
        target = torch.tensor([[0.3, 0.5, behind]])
        info = PredictiveRepresentationLearnerInfo(torch.ones(1, 2, 2), mask, target)
        step = TimeStep(observation=torch.ones(1, 2))
        losses.append(float(learner.train_step(step, (), info).info.loss.sum().detach()))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("recurrent", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_agent_learns_control_on_it(recurrent: bool) -> None:
    """Every action at random is paid 0.5."""
    torch.manual_seed(0)
    learner = _learner(
        1,
        decoder_ctor=_decoder("reward"),
        encoding_net_ctor=partial(LSTMEncodingNetwork, hidden_size=LATENT)
        if recurrent
        else _encoder,
    )
    ctor = partial(
        Agent,
        rl_algorithm_cls=small.sac(),
        representation_learner_cls=learner,
        optimizer=Adam(lr=1e-2),
    )
    config = small.replayed(use_rollout_state=recurrent)
    agent = small.make(ctor, small.bandit(ActionType.Continuous), config)
    for _ in range(150):
        agent.train_iter()
    assert small.mean_reward(agent, ActionType.Continuous) > 0.85


def test_optimizers_train_their_own_parts() -> None:
    learner = _made(
        1,
        fields=["reward"],
        postprocessor=FC(LATENT, 3),
        encoding_optimizer=Adam(lr=1e-3),
        dynamics_optimizer=Adam(lr=2e-3),
        postprocessor_optimizer=Adam(lr=3e-3),
    )
    assert learner.output_spec == TensorSpec((3,))
    counts = [sum(len(g["params"]) for g in o.param_groups) for o in learner.optimizers()]
    assert counts == [2, 6, 2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fields": ["reward", "reward"]}, "decoders need names of their own"),
        ({"dynamics_net_ctor": _encoder}, "needs recurrent dynamics"),
        ({"dynamics_net_ctor": partial(LSTMEncodingNetwork, hidden_size=3)}, "a latent is"),
        (
            {"postprocessor": torch.tanh, "postprocessor_optimizer": Adam(lr=1e-3)},
            "is no module with parameters",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _made(**options)


def test_an_answer_that_nobody_has_is_refused() -> None:
    latent, actions = torch.zeros(1, LATENT), torch.zeros(1, 2, 2)
    with pytest.raises(ValueError, match=r"no decoder of 'x', but of \['reward', 'observation'\]"):
        _made().predict_multi_step(latent, actions, target_field="x")
    with pytest.raises(ValueError, match="cannot look ahead 2"):
        _made(0).predict_multi_step(latent, actions)
    same_state = _made(encoding_net_ctor=partial(LSTMEncodingNetwork, hidden_size=LATENT))
    with pytest.raises(ValueError, match="needs the state of its encoder"):
        same_state.predict_multi_step(latent, actions)
