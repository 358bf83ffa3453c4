"""``suite_gym.wrap_env``, ``create_environment``, and conf files that import each other."""

import os
import tempfile

import numpy as np
import torch
from cases_more import fields, make_env, small_env
from harness import case, refuses

import alf

T, B = alf.TensorSpec, alf.BoundedTensorSpec


def wrap(env, **options):
    from alf.environments import suite_gym

    return suite_gym.wrap_env(env, **options)


def kinds(env, count, action=0.0):
    """The step types of a reset and ``count`` steps."""
    out = [int(env.reset().step_type)]
    for _ in range(count):
        out.append(int(env.step(np.array([action], np.float32)).step_type))
    return out


@case("suite_gym.wrap_env.actions_are_normalized_by_default")
def _():
    """-1 and 1 are the bounds of the environment's own actions."""
    inner = make_env(length=50)
    e = wrap(inner)
    e.reset()
    for a in (-1.0, 0.0, 1.0):
        e.step(np.array([a], np.float32))
    return [e.action_spec(), [np.asarray(a, np.float32) for a in inner.actions]]


@case("suite_gym.wrap_env.actions_are_clipped_by_default")
def _():
    inner = make_env(length=50)
    e = wrap(inner)
    e.reset()
    for a in (-7.0, 9.0):
        e.step(np.array([a], np.float32))
    return [np.asarray(a, np.float32) for a in inner.actions]


@case("suite_gym.wrap_env.normalize_action_false")
def _():
    inner = make_env(length=50)
    e = wrap(inner, normalize_action=False)
    e.reset()
    for a in (-7.0, 0.5, 9.0):
        e.step(np.array([a], np.float32))
    return [e.action_spec(), [np.asarray(a, np.float32) for a in inner.actions]]


@case("suite_gym.wrap_env.clip_action_false")
def _():
    inner = make_env(length=50)
    e = wrap(inner, normalize_action=False, clip_action=False)
    e.reset()
    e.step(np.array([9.0], np.float32))
    return [np.asarray(a, np.float32) for a in inner.actions]


@case("suite_gym.wrap_env.max_episode_steps")
def _():
    return [
        kinds(wrap(make_env(length=50), max_episode_steps=2), 5),
        kinds(wrap(make_env(length=2)), 4),
    ]


@case("suite_gym.wrap_env.time_limit_keeps_the_discount")
def _():
    e = wrap(make_env(length=50), max_episode_steps=2)
    e.reset()
    return [float(e.step(np.zeros(1, np.float32)).discount) for _ in range(2)]


@case("suite_gym.wrap_env.image_channel_first")
def _():
    return [
        wrap(make_env(image=True)).observation_spec(),
        wrap(make_env(image=True), image_channel_first=False).observation_spec(),
        wrap(make_env(image=True)).reset().observation,
    ]


@case("suite_gym.wrap_env.order_of_wrappers")
def _():
    """Gym wrappers come first, ALF wrappers last, each list from the inside out."""
    from alf.environments import alf_wrappers, gym_wrappers

    order = []

    def noted(cls, name, *args):
        def make(env):
            order.append(name)
            return cls(env, *args)

        return make

    wrap(
        make_env(),
        alf_env_wrappers=[
            noted(alf_wrappers.AlfEnvironmentBaseWrapper, "alf 1"),
            noted(alf_wrappers.NonEpisodicAgent, "alf 2"),
        ],
        gym_env_wrappers=[
            noted(gym_wrappers.FrameSkip, "gym 1", 2),
            noted(gym_wrappers.FrameSkip, "gym 2", 3),
        ],
    )
    return order


@case("suite_gym.wrap_env.frame_skip_multiplies_the_reward")
def _():
    from alf.environments import gym_wrappers

    e = wrap(make_env(length=50), gym_env_wrappers=[lambda env: gym_wrappers.FrameSkip(env, 3)])
    e.reset()
    return [float(e.step(np.zeros(1, np.float32)).reward) for _ in range(2)]


@case("suite_gym.wrap_env.auto_reset_false")
def _():
    e = wrap(make_env(length=2), auto_reset=False)
    return kinds(e, 2)


@case("suite_gym.wrap_env.env_id_and_discount")
def _():
    e = wrap(make_env(length=2), env_id=5, discount=0.9)
    t = e.reset()
    out = [t.env_id]
    for _ in range(2):
        out.append(e.step(np.zeros(1, np.float32)).discount)
    return out


# ---- create_environment -------------------------------------------------------------------


def load(name, env_id=0, **options):
    return small_env(env_id or 0)


def create(**options):
    from alf.environments.utils import create_environment

    return create_environment(env_name="small", env_load_fn=load, seed=3, **options)


def look(env):
    out = [env.batched, env.batch_size, env.is_tensor_based, fields(env.reset())]
    for _ in range(3):
        out.append(fields(env.step(torch.full((env.batch_size, 1), 0.5))))
    env.close()
    return out


@case("create_environment.nonparallel")
def _():
    return look(create(nonparallel=True, num_parallel_environments=1))


@case("create_environment.nonparallel_of_several_is_refused")
def _():
    return refuses(create, nonparallel=True, num_parallel_environments=3)


@case("create_environment.parallel")
def _():
    return look(create(num_parallel_environments=2, start_serially=False))


@case("create_environment.batch_size_per_env")
def _():
    return look(create(num_parallel_environments=4, batch_size_per_env=2, start_serially=False))


@case("create_environment.batch_size_per_env_must_divide")
def _():
    return refuses(create, num_parallel_environments=3, batch_size_per_env=2)


@case("create_environment.batched_wrappers")
def _():
    from alf.environments import alf_wrappers

    e = create(
        nonparallel=True,
        num_parallel_environments=1,
        batched_wrappers=[alf_wrappers.AlfEnvironmentBaseWrapper],
    )
    out = type(e).__name__
    e.close()
    return out


@case("create_environment.for_evaluation_uses_its_own_loader")
def _():
    from alf.environments.utils import create_environment

    used = []

    def other(name, env_id=0, **options):
        used.append(name)
        return small_env()

    create_environment(
        env_name="small",
        env_load_fn=load,
        eval_env_load_fn=other,
        for_evaluation=True,
        nonparallel=True,
        num_parallel_environments=1,
        seed=1,
    ).close()
    return len(used) > 0


@case("create_environment.list_of_names_is_multitask")
def _():
    from alf.environments.utils import create_environment

    e = create_environment(
        env_name=["a", "b"], env_load_fn=load, nonparallel=True, num_parallel_environments=1, seed=1
    )
    out = {k: s for k, s in e.action_spec().items()}
    e.close()
    return out


@case("create_environment.load_with_random_max_episode_steps")
def _():
    from alf.environments.utils import load_with_random_max_episode_steps

    got = []
    for _ in range(40):
        load_with_random_max_episode_steps(
            "x",
            env_load_fn=lambda name, max_episode_steps: got.append(max_episode_steps),
            min_steps=2,
            max_steps=4,
        )
    return sorted(set(got))


@case("common.get_initial_time_step")
def _():
    from alf.utils import common

    e = create(nonparallel=True, num_parallel_environments=1)
    e.reset()
    t = common.get_initial_time_step(e, first_env_id=4)
    e.close()
    return fields(t)


# ---- conf files ---------------------------------------------------------------------------


def folder(**files):
    where = tempfile.mkdtemp()
    for name, text in files.items():
        with open(os.path.join(where, name + ".py"), "w") as f:
            f.write(text)
    return where


@case("config.import_config.runs_a_file_once")
def _():
    where = folder(
        counted="import builtins\nbuiltins._counted = getattr(builtins, '_counted', 0) + 1\n",
        main="import alf\nalf.import_config('counted.py')\nalf.import_config('counted.py')\n",
    )
    alf.load_config(os.path.join(where, "main.py"))
    import builtins

    count = builtins._counted
    del builtins._counted
    return count


@case("config.import_config.search_path")
def _():
    """A file that is not beside the importing one is sought in ALF_CONFIG_PATH."""
    other = folder(far="number = 23\n")
    where = folder(main="import alf\nnumber = alf.import_config('far.py').number\n")
    before = os.environ.get("ALF_CONFIG_PATH")
    os.environ["ALF_CONFIG_PATH"] = where + "x:" + other
    try:
        module = alf.load_config(os.path.join(where, "main.py"))
    finally:
        if before is None:
            del os.environ["ALF_CONFIG_PATH"]
        else:
            os.environ["ALF_CONFIG_PATH"] = before
    return getattr(module, "number", None)


@case("config.load_config.returns_the_globals_of_the_file")
def _():
    where = folder(main="a = 4\n")
    return getattr(alf.load_config(os.path.join(where, "main.py")), "a", None)


@case("config.load_config.relative_to_the_working_directory")
def _():
    where, before = folder(main="a = 4\n"), os.getcwd()
    os.chdir(where)
    try:
        return getattr(alf.load_config("main.py"), "a", None)
    finally:
        os.chdir(before)


@case("config.import_config.relative_to_the_importing_file")
def _():
    where = folder(main="import alf\nvalue = alf.import_config('sub/b.py').value\n")
    os.makedirs(os.path.join(where, "sub"))
    for name, text in (
        ("b", "import alf\nvalue = alf.import_config('c.py').value + 1\n"),
        ("c", "value = 1\n"),
    ):
        with open(os.path.join(where, "sub", name + ".py"), "w") as f:
            f.write(text)
    return alf.load_config(os.path.join(where, "main.py")).value


@case("config.import_config.missing_file")
def _():
    where = folder(main="import alf\nalf.import_config('nothing_here.py')\n")
    return refuses(alf.load_config, os.path.join(where, "main.py"))
