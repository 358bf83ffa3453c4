"""Tree search on a hand-made model; MuZero models, targets and losses."""

from functools import partial

import torch
import torch.distributions as td
from fixtures import *
from harness import case, no_noise, params_of, refuses, seq, set_params, wave
from torch import nn

import alf
from alf.data_structures import AlgStep, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


def _model(reward=True, game_over=False, actions=None, n=3, scale=1.0):
    """A tree whose node is named by an integer; all its figures follow from it."""
    from alf.algorithms.mcts_models import MCTSModel, ModelOutput, ModelState

    class Tree(MCTSModel):
        def __init__(self):
            nn.Module.__init__(self)

        def _out(self, node, depth):
            x = node.to(torch.float32)
            logits = torch.stack([torch.sin(1.3 * x + k) for k in range(n)], -1)
            value = scale * torch.cos(0.7 * x + 0.2)
            r = 0.5 * scale * torch.sin(2.1 * x + 0.5) * (depth > 0).float()
            over = ((node % 5) == 3) & (depth > 0)
            a = ()
            if actions is not None:
                a = torch.stack(
                    [torch.stack([torch.sin(x + k), torch.cos(x + k)], -1) for k in range(n)], 1
                )
            return ModelOutput(
                value=value,
                reward=r if reward else (),
                game_over=over if game_over else (),
                actions=a,
                action_probs=logits.softmax(-1),
                state=ModelState(state=node, step=depth),
                action_distribution=td.Categorical(logits=logits),
            )

        def initial_representation(self, observation):
            return observation

        def initial_predict(self, latent, pred_state=()):
            if isinstance(latent, dict):
                latent = latent["observation"]
            node = latent[..., 0].round().to(torch.int64)
            return self._out(node, torch.zeros_like(node))

        def initial_inference(self, observation):
            return self.initial_predict(observation)

        def recurrent_inference(self, state, action):
            if actions is not None:
                action = (action.sum(-1) * 10).round().to(torch.int64).abs() % 7
            return self._out(state.state * n + action + 1, state.step + 1)

    return Tree()


OBS1 = torch.tensor([[0.0], [4.0], [11.0]])


def mcts(num_simulations=8, model=None, action_spec=DISC, obs_spec=TensorSpec((1,)), **kw):
    from alf.algorithms.mcts_algorithm import MCTSAlgorithm

    kw.setdefault("root_dirichlet_alpha", 0.3)
    kw.setdefault("root_exploration_fraction", 0.0)
    kw.setdefault("pb_c_init", 1.25)
    kw.setdefault("pb_c_base", 19652)
    kw.setdefault("discount", 0.9)
    kw.setdefault("is_two_player_game", False)
    kw.setdefault(
        "visit_softmax_temperature_fn", lambda steps: torch.ones_like(steps, dtype=torch.float32)
    )
    return MCTSAlgorithm(
        obs_spec, action_spec, num_simulations=num_simulations, model=model or _model(), **kw
    )


def search(obs=OBS1, steps=0, **kw):
    with no_noise():
        a = mcts(**kw)
        B = 3
        st = zero_state(a.predict_state_spec, B)
        st = st._replace(steps=torch.full((B,), steps, dtype=torch.int64))
        ts = step(B, observation=obs, action_spec=DISC)
        r = a.predict_step(ts, st)
        return {
            "action": r.output,
            "policy": r.info.candidate_action_policy,
            "value": r.info.value,
            "candidate_actions": r.info.candidate_actions,
            "steps": r.state.steps,
        }


_M = {
    "sims1": dict(num_simulations=1),
    "sims2": dict(num_simulations=2),
    "sims8": {},
    "sims40": dict(num_simulations=40),
    "discount1": dict(discount=1.0),
    "discount0": dict(discount=0.0),
    "known_bounds": dict(known_value_bounds=(-1.0, 1.0)),
    "known_bounds_wide": dict(known_value_bounds=(-10.0, 10.0), num_simulations=20),
    "no_reward": dict(model="no_reward"),
    "game_over": dict(model="game_over", num_simulations=20),
    "two_player": dict(is_two_player_game=True, num_simulations=20),
    "two_player_second_to_move": dict(is_two_player_game=True, num_simulations=20, steps=1),
    "two_player_known_bounds": dict(
        is_two_player_game=True, known_value_bounds=(-1.0, 1.0), num_simulations=20
    ),
    "two_player_game_over": dict(is_two_player_game=True, model="game_over", num_simulations=20),
    "two_player_no_reward": dict(is_two_player_game=True, model="no_reward", num_simulations=20),
    "c_init": dict(pb_c_init=0.1),
    "c_base": dict(pb_c_base=2.0, num_simulations=20),
    "minus_one": dict(ucb_parent_visit_count_minus_one=True),
    "value_min_max_delta": dict(value_min_max_delta=1.0),
    "unexpanded_0": dict(unexpanded_value_score=0.0),
    "unexpanded_max": dict(unexpanded_value_score="max"),
    "unexpanded_min": dict(unexpanded_value_score="min"),
    "unexpanded_mean": dict(unexpanded_value_score="mean"),
    "unexpanded_mean_with_parent": dict(unexpanded_value_score="mean_with_parent"),
    "unexpanded_none": dict(unexpanded_value_score="none"),
    "learn_temperature": dict(learn_policy_temperature=0.5),
    "learn_rkl": dict(learn_with_exploration_policy=True),
    "act_rkl": dict(act_with_exploration_policy=True),
    "act_learn_rkl": dict(act_with_exploration_policy=True, learn_with_exploration_policy=True),
    "act_learn_kl": dict(
        act_with_exploration_policy=True,
        learn_with_exploration_policy=True,
        exploration_policy_type="kl",
    ),
    "act_learn_rkl_none": dict(
        act_with_exploration_policy=True,
        learn_with_exploration_policy=True,
        unexpanded_value_score="none",
        num_simulations=2,
    ),
    "search_rkl": dict(
        act_with_exploration_policy=True,
        learn_with_exploration_policy=True,
        search_with_exploration_policy=True,
    ),
    "expand_all_children": dict(
        expand_all_children=True,
        act_with_exploration_policy=True,
        learn_with_exploration_policy=True,
    ),
    "expand_all_children_visits": dict(expand_all_children=True),
    "expand_all_children_two_player": dict(
        expand_all_children=True,
        is_two_player_game=True,
        act_with_exploration_policy=True,
        learn_with_exploration_policy=True,
    ),
    "expand_all_root_children": dict(
        expand_all_root_children=True,
        act_with_exploration_policy=True,
        learn_with_exploration_policy=True,
    ),
    "expand_all_root_children_visits": dict(expand_all_root_children=True),
    "parallel2": dict(num_parallel_sims=2),
    "parallel4": dict(num_parallel_sims=4, num_simulations=16),
    "parallel2_two_player": dict(num_parallel_sims=2, is_two_player_game=True, num_simulations=20),
    "parallel2_game_over": dict(num_parallel_sims=2, model="game_over", num_simulations=20),
    "parallel2_root_children": dict(num_parallel_sims=2, expand_all_root_children=True),
    "max_unroll_1": dict(max_unroll_length=1),
    "max_unroll_2": dict(max_unroll_length=2, num_simulations=20),
    "sampled_actions": dict(model="actions", action_spec=ACT),
    "low_temperature": dict(
        visit_softmax_temperature_fn=lambda s: 0.1 * torch.ones_like(s, dtype=torch.float32)
    ),
}


def _resolve(kw):
    kw = dict(kw)
    m = kw.get("model")
    if m is not None:
        kw["model"] = {
            "no_reward": partial(_model, reward=False),
            "game_over": partial(_model, game_over=True),
            "actions": partial(_model, actions=2),
        }[m]()
    return kw


for _n, _kw in _M.items():

    @case("mcts.search.%s" % _n)
    def _(kw=_kw):
        """Visit policy at the root, its value and the greedy action."""
        return search(**_resolve(kw))


@case("mcts.search.valid_action_mask")
def _():
    mask = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 0]], dtype=torch.bool)
    base = _model()
    return search(obs=dict(observation=OBS1, valid_action_mask=mask), model=base)


@case("mcts.search.to_play_in_observation")
def _():
    base = _model()
    return search(
        obs=dict(observation=OBS1, to_play=torch.tensor([0, 1, 1])),
        model=base,
        is_two_player_game=True,
        num_simulations=20,
    )


@case("mcts.search.steps_in_observation_set_temperature")
def _():
    base = _model()
    seen = []

    def temp(s):
        seen.append(s.clone())
        return torch.ones_like(s, dtype=torch.float32)

    search(
        obs=dict(observation=OBS1, steps=torch.tensor([3, 5, 7])),
        model=base,
        visit_softmax_temperature_fn=temp,
    )
    return seen


@case("mcts.state_specs")
def _():
    a = mcts()
    return [a.train_state_spec, a.rollout_state_spec, a.predict_state_spec]


for _n, _kw in dict(
    nested_action=dict(action_spec=dict(a=DISC)),
    bad_type=dict(exploration_policy_type="xkl"),
    parallel_expand_all=dict(num_parallel_sims=2, expand_all_children=True),
    indivisible=dict(num_simulations=9, num_parallel_sims=2),
    bad_unexpanded=dict(unexpanded_value_score="median"),
    two_rewards=dict(reward_spec=REW2),
).items():

    @case("mcts.refuses.%s" % _n)
    def _(kw=_kw):
        return refuses(lambda: mcts(**kw))


@case("mcts.needs_model")
def _():
    from alf.algorithms.mcts_algorithm import MCTSAlgorithm

    a = MCTSAlgorithm(
        TensorSpec((1,)),
        DISC,
        num_simulations=4,
        root_dirichlet_alpha=0.3,
        root_exploration_fraction=0.0,
        pb_c_init=1.25,
        pb_c_base=19652,
        discount=0.9,
        is_two_player_game=False,
        visit_softmax_temperature_fn=lambda s: torch.ones_like(s, dtype=torch.float32),
    )
    st = zero_state(a.predict_state_spec, 3)
    r = refuses(lambda: a.predict_step(step(3, observation=OBS1, action_spec=DISC), st))
    a.set_model(_model())
    return [
        r,
        a.predict_step(step(3, observation=OBS1, action_spec=DISC), st).info.value,
        a.discount,
    ]


for _n, _v, _p, _c in (
    ("uniform", [[0.0, 0, 0]], [[1 / 3, 1 / 3, 1 / 3]], 1.0),
    ("values", [[0.1, 0.5, -0.2]], [[0.2, 0.3, 0.5]], 1.0),
    ("small_c", [[0.1, 0.5, -0.2]], [[0.2, 0.3, 0.5]], 0.01),
    ("big_c", [[0.1, 0.5, -0.2]], [[0.2, 0.3, 0.5]], 100.0),
    ("zero_prior", [[0.9, 0.5, -0.2]], [[0.0, 0.5, 0.5]], 0.5),
    ("batch", [[0.1, 0.5], [1.0, -1.0]], [[0.9, 0.1], [0.5, 0.5]], 0.3),
):

    @case("mcts.exploration_policy.rkl.%s" % _n)
    def _(v=_v, p=_p, c=_c):
        """p_i = c q_i / (alpha - v_i), summing to one."""
        from alf.algorithms.mcts_algorithm import calculate_exploration_policy as f

        return f(torch.tensor(v), torch.tensor(p), torch.full((len(v), 1), c))[0]

    @case("mcts.exploration_policy.kl.%s" % _n)
    def _(v=_v, p=_p, c=_c):
        """p_i proportional to q_i exp(v_i / c)."""
        from alf.algorithms.mcts_algorithm import calculate_kl_exploration_policy as f

        return f(torch.tensor(v), torch.tensor(p), torch.full((len(v), 1), c))[0]


@case("mcts.temperature_by_moves")
def _():
    from alf.algorithms.mcts_algorithm import VisitSoftmaxTemperatureByMoves as V

    n = torch.tensor([0, 5, 6, 29, 30, 100])
    return [V()(n), V([(5, 2.0), (10, 1.0), (20, 0.5)])(n)]


for _n, _f in (
    ("atari", "create_atari_mcts"),
    ("control", "create_control_mcts"),
    ("chess", "create_chess_mcts"),
    ("go", "create_go_mcts"),
    ("shogi", "create_shogi_mcts"),
):

    @case("mcts.factory.%s.discount" % _n)
    def _(f=_f, n=_n):
        import inspect

        from alf.algorithms import mcts_algorithm as m

        kw = dict(debug_summaries=False) if n in ("chess", "go", "shogi") else {}
        return getattr(m, f)(TensorSpec((1,)), DISC, **kw).discount


@case("mcts.info_fields")
def _():
    from alf.algorithms.mcts_algorithm import MCTSInfo, MCTSState
    from alf.algorithms.mcts_models import ModelOutput, ModelState, ModelTarget
    from alf.algorithms.muzero_representation_learner import MuzeroInfo

    return [
        list(x._fields)
        for x in (MCTSInfo, MCTSState, ModelOutput, ModelState, ModelTarget, MuzeroInfo)
    ]


# --------------------------------------------------------------- MCTS models
def simple_model(action_spec=DISC, R=2, **kw):
    from alf.algorithms.mcts_models import SimpleMCTSModel, SimplePredictionNet
    from alf.networks import EncodingNetwork

    cat = alf.nest.utils.NestConcat

    def dyn(input_tensor_spec):
        pre = None
        if not input_tensor_spec[1].is_continuous:
            pre = nn.Sequential(alf.layers.OneHot(num_classes=3), alf.layers.Reshape([-1]))
        return EncodingNetwork(
            input_tensor_spec,
            input_preprocessors=(None, pre),
            preprocessing_combiner=cat(),
            fc_layer_params=(4,),
            activation=torch.tanh,
            last_layer_size=4,
            last_activation=torch.tanh,
        )

    m = SimpleMCTSModel(
        OBS,
        action_spec,
        num_unroll_steps=R,
        encoding_net_ctor=lambda o: EncodingNetwork(o, fc_layer_params=(4,), activation=torch.tanh),
        dynamics_net_ctor=dyn,
        prediction_net_ctor=lambda o, a: SimplePredictionNet(
            o,
            a,
            trunk_net_ctor=partial(EncodingNetwork, fc_layer_params=(4,), activation=torch.tanh),
        ),
        **kw,
    )
    return set_params(m)


def _outs(o):
    return {
        f: getattr(o, f)
        for f in ("value", "reward", "game_over", "value_pred", "reward_pred", "game_over_logit")
    }


for _n, _s, _kw in (
    ("discrete", DISC, {}),
    ("topk", DISC, dict(num_sampled_actions=2)),
    ("continuous", ACT, dict(num_sampled_actions=3)),
    ("no_game_over", DISC, dict(train_game_over_function=False)),
    ("game_over_thresh", DISC, dict(game_over_logit_thresh=-1.0)),
):

    @case("muzero.model.%s.inference" % _n)
    def _(s=_s, kw=_kw):
        with no_noise():
            m = simple_model(s, **kw)
            a = m.initial_inference(wave(2, 3))
            act = torch.tensor([1, 2]) if s is DISC else wave(2, 2)
            b = m.recurrent_inference(a.state, act)
            return [_outs(a), _outs(b), a.state.state, b.state.state]

    @case("muzero.model.%s.actions" % _n)
    def _(s=_s, kw=_kw):
        """Candidate actions with their probabilities."""
        with no_noise():
            o = simple_model(s, **kw).initial_inference(wave(2, 3))
            return [o.actions, o.action_probs]


@case("muzero.model.eval_mode_drops_predictions")
def _():
    m = simple_model()
    m.eval()
    o = m.initial_inference(wave(2, 3))
    return [o.value_pred, o.reward_pred]


@case("muzero.model.refuses_continuous_without_sampling")
def _():
    return refuses(lambda: simple_model(ACT))


@case("muzero.model.refuses_too_many_sampled")
def _():
    return refuses(lambda: simple_model(DISC, num_sampled_actions=3))


@case("muzero.model.repr_spec")
def _():
    return simple_model().repr_spec


def _target(B=2, R=2, policy=True, over=False):
    from alf.algorithms.mcts_models import ModelTarget

    ap = wave(B, R + 1, 3, k=0.4).softmax(-1)
    go = torch.zeros(B, R + 1, dtype=torch.bool)
    go[1, R] = True
    be = torch.zeros(B, R + 1, dtype=torch.bool)
    be[0, R] = True
    return ModelTarget(
        is_partial_trajectory=torch.tensor([True, False]),
        beyond_episode_end=be,
        reward=wave(B, R + 1, k=1.4),
        action=(),
        action_policy=ap,
        game_over=go,
        value=wave(B, R + 1, k=0.6),
        observation=(),
    )


def _unroll(m, R=2, actions=None):
    from alf.utils import dist_utils

    o = m.initial_inference(wave(2, 3))
    spec = dist_utils.extract_spec(o)
    outs = [dist_utils.distributions_to_params(o)]
    for i in range(R):
        o = m.recurrent_inference(o.state, (torch.tensor([0, 2]) + i) % 3)
        outs.append(dist_utils.distributions_to_params(o))
    st = alf.nest.map_structure(lambda *x: torch.stack(x, 1), *outs)
    return dist_utils.params_to_distributions(st, spec)


_ML = dict(
    default={},
    no_game_over=dict(train_game_over_function=False),
    no_reward=dict(train_reward_function=False),
    no_policy=dict(train_policy=False),
    entropy=dict(initial_alpha=0.1),
)
_CF = {
    "value_weight": {"MCTSModel.value_loss_weight": 0.25},
    "reward_weight": {"MCTSModel.reward_loss_weight": 0.3},
    "policy_weight": {"MCTSModel.policy_loss_weight": 2.0},
    "game_over_weight": {"MCTSModel.game_over_loss_weight": 0.1},
    "initial_weight_none": {"MCTSModel.initial_loss_weight": None},
    "initial_weight_3": {"MCTSModel.initial_loss_weight": 3.0},
    "no_initial_reward": {"MCTSModel.predict_initial_reward": False},
    "reward_sum": {"MCTSModel.predict_reward_sum": True},
    "partial_mask": {"MCTSModel.apply_partial_trajectory_mask": True},
}
for _n in list(_ML) + list(_CF):

    @case("muzero.model.calc_loss.%s" % _n)
    def _(n=_n):
        """Per sample sums over the unroll, later steps scaled by 1/num_unroll_steps."""
        if n in _CF:
            for k, v in _CF[n].items():
                alf.config1(k, v)
        m = simple_model(**_ML.get(n, {}))
        out = []
        for _ in range(2):
            li = m.calc_loss(_unroll(m), _target())
            out.append(li.loss)
        return out

    @case("muzero.model.calc_loss.extra.%s" % _n)
    def _(n=_n):
        for k, v in _CF.get(n, {}).items():
            alf.config1(k, v)
        x = _full(
            simple_model(**_ML.get(n, {}))
            .calc_loss(_unroll(simple_model(**_ML.get(n, {}))), _target())
            .extra
        )
        return {k: x[k] for k in ("value", "reward", "policy", "game_over") if k in x}


@case("muzero.model.calc_loss.extra_keys")
def _():
    m = simple_model()
    return sorted(m.calc_loss(_unroll(m), _target()).extra)


def _full(extra):
    return {k: v for k, v in extra.items() if not (isinstance(v, tuple) and v == ())}


# ------------------------------------------------------ MuZero representation
def impl(model_kw=None, action_spec=DISC, mod="impl", **kw):
    from alf.algorithms.muzero_representation_learner import MuzeroRepresentationImpl

    R = kw.setdefault("num_unroll_steps", 2)
    kw.setdefault("td_steps", 2)
    kw.setdefault("discount", 0.9)

    def ctor(observation_spec, action_spec, num_unroll_steps=R, **_):
        return simple_model(action_spec, num_unroll_steps, **(model_kw or {}))

    return MuzeroRepresentationImpl(
        OBS, action_spec, model_ctor=ctor, config=config(), enable_amp=False, optimizer=sgd(), **kw
    )


def replay(T=10, zero_reward=False):
    """Two environments; episodes end at 4 (terminal) and 7 (time limit) in the first,
    at 6 (terminal) in the second."""
    from alf.algorithms.mcts_algorithm import MCTSInfo
    from alf.data_structures import make_experience
    from alf.experience_replayers.replay_buffer import ReplayBuffer
    from alf.utils import dist_utils

    types = [[F, M, M, M, L, F, M, L, F, M], [F, M, M, M, M, M, L, F, M, M]]
    disc = [[1, 1, 1, 1, 0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 0, 1, 1, 1]]
    rb = None
    for t in range(T):
        ts = TimeStep(
            step_type=torch.tensor([types[0][t], types[1][t]], dtype=torch.int32),
            reward=torch.tensor([0.1 * t, 1.0 - 0.2 * t]) * (0.0 if zero_reward else 1.0),
            discount=torch.tensor([disc[0][t], disc[1][t]], dtype=torch.float32),
            observation=wave(2, 3, k=0.5 + 0.1 * t),
            prev_action=torch.tensor([t % 3, (t + 1) % 3]),
            env_id=torch.arange(2),
        )
        info = MCTSInfo(
            candidate_actions=(),
            value=torch.tensor([0.3 + 0.1 * t, -0.2 * t]),
            candidate_action_policy=wave(2, 3, k=0.2 + 0.3 * t).softmax(-1),
        )
        e = make_experience(
            ts, AlgStep(output=torch.tensor([(t + 1) % 3, (t + 2) % 3]), info=info), state=()
        )
        if rb is None:
            rb = ReplayBuffer(
                data_spec=dist_utils.extract_spec(e, from_dim=1),
                num_environments=2,
                max_length=16,
                keep_episodic_info=True,
            )
        rb.add_batch(e, e.env_id)
    return rb


def targets(a, positions=(0, 2), env_ids=(0, 1), T=1, rb=None):
    from alf.experience_replayers.replay_buffer import BatchInfo

    rb = rb or replay()
    env_ids, positions = torch.tensor(env_ids), torch.tensor(positions)
    pos = positions[:, None] + torch.arange(T)
    exp = rb.get_field(None, env_ids[:, None].expand_as(pos), pos)
    a.set_path("")
    return a.preprocess_experience(
        exp.time_step,
        exp.rollout_info,
        BatchInfo(env_ids=env_ids, positions=positions, replay_buffer=rb),
    )


for _n, _kw, _pk in (
    ("td2", {}, {}),
    ("td1", dict(td_steps=1), {}),
    ("td4", dict(td_steps=4), {}),
    ("monte_carlo", dict(td_steps=-1), {}),
    ("discount1", dict(discount=1.0, td_steps=3), {}),
    ("across_terminal", dict(td_steps=3), dict(positions=(2, 5))),
    ("across_time_limit", dict(td_steps=3), dict(positions=(5, 4), env_ids=(0, 0))),
    ("end_of_buffer", dict(td_steps=3), dict(positions=(8, 7))),
    ("two_steps", dict(td_steps=2), dict(T=2)),
    ("unroll3", dict(num_unroll_steps=3), dict(positions=(1, 3))),
    (
        "no_reward_function",
        dict(train_reward_function=False, td_steps=-1, model_kw=dict(train_reward_function=False)),
        dict(positions=(2, 5)),
    ),
    (
        "no_game_over",
        dict(train_game_over_function=False, model_kw=dict(train_game_over_function=False)),
        dict(positions=(2, 5)),
    ),
    (
        "no_reward_no_game_over",
        dict(
            train_game_over_function=False,
            train_reward_function=False,
            td_steps=2,
            model_kw=dict(train_reward_function=False, train_game_over_function=False),
        ),
        dict(positions=(2, 5)),
    ),
    ("reward_transformer", dict(reward_transformer=lambda r: 2 * r + 1), {}),
    (
        "repr_prediction",
        dict(train_repr_prediction=True, model_kw=dict(train_repr_prediction=True)),
        dict(positions=(2, 5)),
    ),
):

    def _fields(kw, pk):
        root, info = targets(impl(**kw), **pk)
        t = info.target
        keep = ~t.beyond_episode_end
        hide = lambda x: x * keep.reshape(keep.shape + (1,) * (x.ndim - 3)).to(x.dtype)
        out = dict(
            action=info.action,
            beyond_episode_end=t.beyond_episode_end,
            reward=t.reward,
            value=t.value,
            value_within_episode=() if t.value == () else hide(t.value),
            game_over=t.game_over,
            action_policy=t.action_policy,
            action_policy_within_episode=() if t.action_policy == () else hide(t.action_policy),
            is_partial_trajectory=t.is_partial_trajectory,
            observation=t.observation,
            root_reward=root.reward,
            candidate_actions=t.action,
        )
        return out

    for _f in (
        "action",
        "beyond_episode_end",
        "reward",
        "value",
        "value_within_episode",
        "game_over",
        "action_policy",
        "action_policy_within_episode",
        "is_partial_trajectory",
        "root_reward",
    ) + (("observation",) if "repr" in _n else ()):

        @case("muzero.targets.%s.%s" % (_n, _f))
        def _(kw=_kw, pk=_pk, f=_f, get=_fields):
            """A field of MuzeroInfo (target) made by preprocess_experience."""
            return get(kw, pk)[f]


for _n, _kw in (
    ("default", {}),
    ("gradient_scale_1", dict(recurrent_gradient_scaling_factor=1.0)),
    ("gradient_scale_0", dict(recurrent_gradient_scaling_factor=0.0)),
    (
        "no_game_over",
        dict(train_game_over_function=False, model_kw=dict(train_game_over_function=False)),
    ),
    (
        "no_reward",
        dict(train_reward_function=False, td_steps=-1, model_kw=dict(train_reward_function=False)),
    ),
):

    def _mk(kw):
        a = impl(**kw)
        root, info = targets(a, positions=(1, 4))
        x = alf.nest.map_structure(lambda v: v[:, 0], root)
        i = alf.nest.map_structure(lambda v: v[:, 0], info)
        tr = a.train_step(x, (), i).info
        tm = alf.nest.map_structure(lambda v: v.unsqueeze(0), tr)
        return a, tr, a.calc_loss(tm)

    @case("muzero.train_step.%s" % _n)
    def _(kw=_kw, mk=_mk):
        li = mk(kw)[1].loss
        return [li.loss, _full(li.extra)]

    @case("muzero.calc_loss.%s" % _n)
    def _(kw=_kw, mk=_mk):
        li = mk(kw)[2]
        return [li.loss, li.priority]

    @case("muzero.update.%s" % _n)
    def _(kw=_kw, mk=_mk):
        a, _, li = mk(kw)
        a.update_with_gradient(li._replace(extra=(), priority=()))
        return params_of(a)


@case("muzero.calc_loss.priority")
def _():
    """The default priority is the root of the value loss."""
    a = impl(calculate_priority=True)
    root, info = targets(a, positions=(1, 4))
    x = alf.nest.map_structure(lambda v: v[:, 0], root)
    i = alf.nest.map_structure(lambda v: v[:, 0], info)
    tm = alf.nest.map_structure(lambda v: v.unsqueeze(0), a.train_step(x, (), i).info)
    return a.calc_loss(tm).priority


@case("muzero.calc_loss.priority_function")
def _():
    a = impl(
        calculate_priority=True,
        priority_func="lambda loss_info: loss_info.extra['td_error'].sum(dim=0)",
    )
    root, info = targets(a, positions=(1, 4))
    x = alf.nest.map_structure(lambda v: v[:, 0], root)
    i = alf.nest.map_structure(lambda v: v[:, 0], info)
    tm = alf.nest.map_structure(lambda v: v.unsqueeze(0), a.train_step(x, (), i).info)
    return a.calc_loss(tm).priority


@case("muzero.linear_td_step_func")
def _():
    from alf.algorithms.muzero_representation_learner import LinearTdStepFunc

    age = torch.tensor([0.0, 0.1, 0.3, 0.5, 0.9])
    return [LinearTdStepFunc(0.5)(age, 5, 1.0), LinearTdStepFunc(0.4, min_td_steps=2)(age, 8, 1.0)]


def muzero(**kw):
    from alf.algorithms.mcts_algorithm import MCTSAlgorithm
    from alf.algorithms.muzero_algorithm import MuzeroAlgorithm
    from alf.algorithms.muzero_representation_learner import MuzeroRepresentationImpl

    return MuzeroAlgorithm(
        OBS,
        DISC,
        discount=0.9,
        representation_learner_ctor=partial(
            MuzeroRepresentationImpl,
            model_ctor=lambda observation_spec, action_spec, **_: simple_model(action_spec, 2),
            num_unroll_steps=2,
            td_steps=2,
            optimizer=sgd(),
        ),
        mcts_algorithm_ctor=partial(
            MCTSAlgorithm,
            num_simulations=6,
            root_dirichlet_alpha=0.3,
            root_exploration_fraction=0.0,
            pb_c_init=1.25,
            pb_c_base=19652,
            is_two_player_game=False,
            visit_softmax_temperature_fn=lambda s: torch.ones_like(s, dtype=torch.float32),
        ),
        config=config(),
        enable_amp=False,
        **kw,
    )


@case("muzero.algorithm.state_specs")
def _():
    a = muzero()
    return [a.train_state_spec, a.rollout_state_spec, a.predict_state_spec]


@case("muzero.algorithm.predict_step")
def _():
    with no_noise():
        a = muzero()
        r = a.predict_step(step(), zero_state(a.predict_state_spec))
        return [r.output, r.info]


@case("muzero.algorithm.rollout_step")
def _():
    with no_noise():
        a = muzero()
        r = a.rollout_step(step(), zero_state(a.rollout_state_spec))
        return [r.output, r.info, r.state.steps]


@case("muzero.representation_learner.training_options_defaults")
def _():
    from alf.algorithms.muzero_representation_learner import (
        MuzeroRepresentationTrainingOptions as O,
    )

    return dict(O()._asdict())


@case("muzero.representation_learner.steps")
def _():
    from alf.algorithms.muzero_representation_learner import (
        MuzeroRepresentationImpl,
        MuzeroRepresentationLearner,
    )

    a = MuzeroRepresentationLearner(
        OBS,
        DISC,
        config(),
        impl_cls=partial(
            MuzeroRepresentationImpl,
            model_ctor=lambda observation_spec, action_spec, **_: simple_model(action_spec, 2),
            num_unroll_steps=2,
            td_steps=2,
            discount=0.9,
            enable_amp=False,
        ),
    )
    x = step()
    return [
        a.output_spec,
        a.predict_step(x, ()).output,
        a.rollout_step(x, ()).output,
        a.train_step(x, (), ()).output,
        a.calc_loss(()).loss,
    ]
