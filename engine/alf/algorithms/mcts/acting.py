"""The algorithm that acts by searching trees, and what it remembers and finds out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from alf.algorithms.mcts.policy import (
    UNEXPANDED_SCORES,
    calculate_exploration_policy,
    calculate_kl_exploration_policy,
)
from alf.algorithms.mcts.search import Search
from alf.algorithms.mcts.settings import SearchSettings
from alf.algorithms.mcts.tree import CHILD, VISITS
from alf.algorithms.mcts_models import MCTSModel, ModelOutput
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.config_util import configurable
from alf.data_structures import AlgStep, TimeStep, namedtuple
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import finite_checks, summary_utils
from alf.utils.action_samplers import (
    MultinomialSampler,
    _CategoricalSeedSamplerBase,
)

PUBLIC_MODULE = "alf.algorithms.mcts_algorithm"  # under which names are configured

MCTSState = namedtuple(
    "MCTSState",
    ["steps", "pred_state", "action_sampler_state", "next_predicted_reward"],
    default_value=(),
)
MCTSState.__doc__ = """What is remembered from step to step.

Fields:
    steps: int64 [B], steps of the episode so far.
    pred_state: state of the model's prediction network, if it is kept.
    action_sampler_state: that of the sampler, if it has one.
    next_predicted_reward: [B], what the model expects as the reward of the action taken; in
        rollouts only.
"""

MCTSInfo = namedtuple(
    "MCTSInfo", ["candidate_actions", "value", "candidate_action_policy"], default_value=()
)
MCTSInfo.__doc__ = """What a search found out.

Fields:
    candidate_actions: nest of [B, K, ...]; () if all actions are candidates.
    value: [B], mean return of the search.
    candidate_action_policy: [B, K], the policy to learn.
"""


@configurable
class MCTSAlgorithm(OffPolicyAlgorithm):
    """Searches a tree from each observation, and acts by how often its children were visited.

    The search is that of MuZero (Schrittwieser et al. 2020, appendix B, arXiv:1911.08265), with
    sampled actions where the model gives some (Hubert et al. 2021, arXiv:2104.06303), and with
    exploration policies in place of visit counts where asked for (Grill et al. 2020,
    arXiv:2007.12509). In particular:

    * all rewards and values are those of player 0; player 1 looks for small ones;
    * what is brought to the scale from 0 to 1 is reward plus discounted value;
    * the root counts one visit before the search, so that the first choice heeds the prior;
    * nothing is expanded beyond a state at which the model says the game is over; its value is
      what the model says;
    * the best children of a node are found anew when a path has passed it, not before the next;
    * the bounds of the scale are those of reward plus discounted mean value, over all nodes that
      paths have passed; the root's is without reward. ``known_value_bounds`` stay as they are;
    * the weight of the divergence in exploration policies is that of pUCT divided by ``sqrt(N)``,
      N the visits of the node;
    * the children of a node that are expanded at once count as one visit each, all of the value
      that the prior expects of them. With ``expand_all_children`` their discounted values widen the
      bounds without their rewards, as in ALF.

    Of a dictionary observation three entries are used if they are there: ``valid_action_mask``
    (bool [B, K], the actions allowed now), ``steps`` (moves made in this game; else they are
    counted here, which is wrong if others make some) and ``to_play`` (0 or 1, who is to move; else
    ``steps % 2``).

    It has nothing to learn. The model passed to the constructor is a part of it; one given by
    `set_model()` stays the property of whoever made it.

    Args:
        num_simulations: expansions in a search, each one call of the model.
        root_dirichlet_alpha: concentration of the noise for exploration in rollouts.
        root_exploration_fraction: weight of that noise in the prior of the root's children.
        pb_c_init: c1 of the pUCT rule (appendix B, eq. 2).
        pb_c_base: c2 of that rule.
        discount: per step.
        is_two_player_game: whether two players move in turn, one's gain the other's loss.
        visit_softmax_temperature_fn: called with the steps [B]; gives the temperatures t [B].
            Actions are drawn with probabilities proportional to ``visits ** (1 / t)`` (appendix D).
        model: None: `set_model()` is to be called.
        keep_model_pred_state: hand the state of the model's prediction network from one
            observation to the next.
        predict_action_sampler: draws from probabilities, see `alf.utils.action_samplers`.
        rollout_action_sampler: the same in rollouts.
        learn_policy_temperature: the policy to learn is ``p ** (1 / temperature)``.
        reward_spec: only of one reward.
        expand_all_children: expand all children of a leaf at once. Visits do not tell then how good
            a child is: act and learn with the exploration policy.
        expand_all_root_children: the same for the root alone, before the search.
        known_value_bounds: (min, max) that values can have.
        value_min_max_delta: values are not stretched to the scale of 0 to 1 by more than 1 / delta.
        ucb_break_tie_eps: scores get a random number up to this.
        ucb_parent_visit_count_minus_one: do not count the visit in which the parent was expanded;
            the first choice then ignores the prior. With ``ucb_break_tie_eps`` it is at random.
        unexpanded_value_score: of a child that has not been expanded: a number, or "max", "min" or
            "mean" of its siblings, or "mean_with_parent". "none": it keeps its prior probability
            (exploration policies), or as "min" (visits).
        act_with_exploration_policy: draw actions from the exploration policy.
        search_with_exploration_policy: choose children by it.
        learn_with_exploration_policy: it is the policy to learn.
        exploration_policy_type: "rkl" or "kl", see `calculate_exploration_policy` and
            `calculate_kl_exploration_policy`.
        max_unroll_length: largest depth of a tree.
        num_parallel_sims: paths in each tree at a time; must divide ``num_simulations``. Of paths
            that are the same so far each takes the next best child, where the visits of the better
            ones, but not yet their values, are known. Not with ``expand_all_children``.
    """

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        num_simulations: int,
        root_dirichlet_alpha: float,
        root_exploration_fraction: float,
        pb_c_init: float,
        pb_c_base: float,
        discount: float,
        is_two_player_game: bool,
        visit_softmax_temperature_fn: Callable[[Tensor], Tensor],
        model: MCTSModel | None = None,
        keep_model_pred_state: bool = False,
        predict_action_sampler: nn.Module = MultinomialSampler(),
        rollout_action_sampler: nn.Module = MultinomialSampler(),
        learn_policy_temperature: float = 1.0,
        reward_spec: TensorSpec = TensorSpec(()),
        expand_all_children: bool = False,
        expand_all_root_children: bool = False,
        known_value_bounds: tuple[float, float] | None = None,
        value_min_max_delta: float = 1e-30,
        ucb_break_tie_eps: float = 0.0,
        ucb_parent_visit_count_minus_one: bool = False,
        unexpanded_value_score: float | str = 0.5,
        act_with_exploration_policy: bool = False,
        search_with_exploration_policy: bool = False,
        learn_with_exploration_policy: bool = False,
        exploration_policy_type: str = "rkl",
        max_unroll_length: int = 1_000_000,
        num_parallel_sims: int = 1,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "MCTSAlgorithm",
    ) -> None:
        kinds = {"rkl": calculate_exploration_policy, "kl": calculate_kl_exploration_policy}
        _check_choice("exploration_policy_type", exploration_policy_type, kinds)
        if isinstance(unexpanded_value_score, str):
            _check_choice("unexpanded_value_score", unexpanded_value_score, UNEXPANDED_SCORES)
        if not 0 <= root_exploration_fraction <= 1 or learn_policy_temperature <= 0:
            raise ValueError(
                f"root_exploration_fraction={root_exploration_fraction} has to be within [0, 1], "
                f"learn_policy_temperature={learn_policy_temperature} positive"
            )
        if nest.is_nested(action_spec):
            raise ValueError(f"{name}: a search needs one action, its action_spec is {action_spec}")
        if reward_spec.numel != 1:
            raise ValueError(f"{name}: a search needs one reward, its reward_spec is {reward_spec}")
        settings = SearchSettings(
            num_simulations=num_simulations,
            discount=discount,
            pb_c_init=pb_c_init,
            pb_c_base=pb_c_base,
            known_value_bounds=known_value_bounds,
            value_min_max_delta=value_min_max_delta,
            ucb_break_tie_eps=ucb_break_tie_eps,
            ucb_parent_visit_count_minus_one=ucb_parent_visit_count_minus_one,
            unexpanded_value_score=unexpanded_value_score,
            policy=kinds[exploration_policy_type],
            by_policy=search_with_exploration_policy,
            expand_all_children=expand_all_children,
            expand_all_root_children=expand_all_root_children,
            max_unroll_length=max_unroll_length,
            num_parallel_sims=num_parallel_sims,
        )
        pred_state_spec: Any = ()
        if keep_model_pred_state:
            if model is None:
                raise ValueError("keep_model_pred_state=True needs the model in the constructor")
            pred_state_spec = model.pred_state_spec

        # What a replay buffer keeps of a state, for reanalyze (`TrainerConfig.use_rollout_state`).
        kept_spec = MCTSState(steps=TensorSpec((), dtype=torch.int64), pred_state=pred_state_spec)

        def state_spec(sampler: nn.Module) -> Any:
            return kept_spec._replace(action_sampler_state=getattr(sampler, "state_spec", ()))

        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            train_state_spec=kept_spec,
            rollout_state_spec=state_spec(rollout_action_sampler)._replace(
                next_predicted_reward=TensorSpec(())
            ),
            predict_state_spec=state_spec(predict_action_sampler),
            reward_spec=reward_spec,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._settings = settings
        self._root_dirichlet_alpha = root_dirichlet_alpha
        self._root_exploration_fraction = root_exploration_fraction
        self._is_two_player_game = is_two_player_game
        self._visit_softmax_temperature_fn = visit_softmax_temperature_fn
        self._keep_model_pred_state = keep_model_pred_state
        self._predict_action_sampler = predict_action_sampler
        self._rollout_action_sampler = rollout_action_sampler
        self._learn_policy_temperature = learn_policy_temperature
        self._act_with_exploration_policy = act_with_exploration_policy
        self._learn_with_exploration_policy = learn_with_exploration_policy
        self._own_model = model
        self._models = () if model is None else (model,)  # where nn.Module does not look

    @property
    def discount(self) -> float:
        """Discount per step."""
        return self._settings.discount

    @property
    def is_two_player_game(self) -> bool:
        """Do two players move in turn?"""
        return self._is_two_player_game

    @property
    def has_model(self) -> bool:
        """Is it known which model is searched with?"""
        return bool(self._models)

    def set_model(self, model: MCTSModel) -> None:
        """Search with this model from now on."""
        if self._own_model is not None:
            raise ValueError(f"{self.name!r} was constructed with a model and keeps it")
        self._models = (model,)

    @property
    def _model(self) -> MCTSModel:
        if not self._models:
            raise ValueError(f"{self.name!r} has no model yet: call set_model()")
        return self._models[0]

    # ---- acting ---------------------------------------------------------------------------------

    def predict_step(self, time_step: TimeStep, state: Any) -> AlgStep:
        """Act without the noise of exploration."""
        return self._step(time_step, state, self._predict_action_sampler, noisy=False)

    def rollout_step(self, time_step: TimeStep, state: Any) -> AlgStep:
        """Act; the info is what the search found out."""
        step = self._step(time_step, state, self._rollout_action_sampler, noisy=True)
        if self._debug_summaries and summary.should_record_summaries():
            with summary.scope(self.name):
                error = (time_step.reward - state.next_predicted_reward).abs()
                is_known = (~time_step.is_first()).to(error.dtype)
                summary.scalar(
                    "reward_error", (error * is_known).sum() / is_known.sum().clamp(min=1)
                )
                summary_utils.add_mean_hist_summary("value", step.info.value)
        return step

    @torch.no_grad()
    def _step(self, time_step: TimeStep, state: Any, sampler: nn.Module, noisy: bool) -> AlgStep:
        observation, model = time_step.observation, self._model
        steps = state.steps
        if "steps" in _entries(observation):
            steps = observation["steps"].long()
        latent = model.initial_representation(observation)
        root = model.initial_predict(
            latent, state.pred_state if self._keep_model_pred_state else ()
        )
        if not isinstance(root.action_probs, Tensor):
            raise ValueError(f"{self.name}: a search needs a model with train_policy=True")
        search = self._search(root, observation, steps, noisy)
        tree, roots = search.tree, search.tree.roots
        visits = tree.edges[roots, VISITS]
        visited = visits / visits.sum(dim=1, keepdim=True)
        explored = visited
        if self._act_with_exploration_policy or self._learn_with_exploration_policy:
            explored = search.root_policy()
        temperature = self._visit_softmax_temperature_fn(steps).unsqueeze(1)
        acting = explored if self._act_with_exploration_policy else visited
        choice, sampler_state = self._draw(acting, temperature, sampler, state)
        learned = explored if self._learn_with_exploration_policy else visited
        learned = _tempered(learned, self._learn_policy_temperature).softmax(dim=1)
        reward = ()
        if noisy:
            child = tree.edges[roots, CHILD].gather(1, choice.unsqueeze(1)).squeeze(1).long()
            reward = torch.where(child > 0, tree.reward[roots + child.clamp(min=0)], 0.0)
        return AlgStep(
            output=self._action(tree.action_of(roots, choice)),
            state=MCTSState(
                steps=steps + 1,
                pred_state=root.state.pred_state if self._keep_model_pred_state else (),
                action_sampler_state=sampler_state,
                next_predicted_reward=reward,
            ),
            info=MCTSInfo(
                candidate_actions=root.actions,
                value=tree.value_sum[roots] / tree.visits[roots],
                candidate_action_policy=learned,
            ),
        )

    def _action(self, action: Any) -> Any:
        return nest.map_structure(lambda x, spec: x.to(spec.dtype), action, self.action_spec)

    def _draw(
        self, policy: Tensor, temperature: Tensor, sampler: nn.Module, state: Any
    ) -> tuple[Tensor, Any]:
        probs = _tempered(policy, temperature).softmax(dim=1)
        if isinstance(sampler, _CategoricalSeedSamplerBase):
            return sampler(probs, state.action_sampler_state)
        return sampler(probs), ()

    # ---- searching ------------------------------------------------------------------------------

    def _search(self, root: ModelOutput, observation: Any, steps: Tensor, noisy: bool) -> Search:
        forbidden = None
        prior = root.action_probs.float()
        if "valid_action_mask" in _entries(observation):
            allowed = observation["valid_action_mask"].bool()
            if allowed.shape != prior.shape:
                raise ValueError(
                    f"valid_action_mask has shape {tuple(allowed.shape)}, which needs all actions "
                    f"to be candidates; there are {tuple(prior.shape)}"
                )
            # Where nothing is allowed (the game is over) anything is.
            forbidden = ~allowed & allowed.any(dim=1, keepdim=True)
            # As in ALF what is left does not sum to one.
            prior = torch.where(forbidden, 0.0, prior + 1e-20)
        if noisy and self._root_exploration_fraction > 0 and self._root_dirichlet_alpha > 0:
            noise = _dirichlet(self._root_dirichlet_alpha, prior, forbidden)
            prior = torch.lerp(prior, noise, self._root_exploration_fraction)
        to_play = None
        if self._is_two_player_game:
            given = "to_play" in _entries(observation)
            to_play = observation["to_play"].long() if given else steps % 2
        search = Search(
            self._model, root._replace(action_probs=prior), self._settings, to_play, forbidden
        )
        tree = search.run()
        values = tree.value_sum[tree.roots]
        finite_checks.check_later(self, "search", "the value of all plans", values)
        return search


def _entries(observation: Any) -> Any:
    return observation if isinstance(observation, dict) else ()


def _check_choice(name: str, value: Any, allowed: Any) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, it must be one of {list(allowed)}")


def _tempered(policy: Tensor, temperature: Any) -> Tensor:
    """Logits of ``policy ** (1 / temperature)``."""
    return policy.log() / temperature


def _dirichlet(alpha: float, like: Tensor, forbidden: Tensor | None) -> Tensor:
    """Dirichlet noise [B, K] on what is not forbidden."""
    # For small alpha the draws underflow: then all of a row can be zero.
    gamma = torch.distributions.Gamma(torch.full_like(like, alpha), 1.0, validate_args=False)
    noise = gamma.sample() + 1e-30
    if forbidden is not None:
        noise = torch.where(forbidden, 0.0, noise)
    return noise / noise.sum(dim=1, keepdim=True)
