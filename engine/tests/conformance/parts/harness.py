"""Runs small cases on the installed ``alf`` and writes what they gave as JSON.

    python harness.py OUT.json [PREFIX ...] [--seed N]

A case must give the same with every seed: it fixes all it depends on, and of
what is random it reports only what is certain (or all but certain).

Every case is a function decorated with ``@case("area.name")`` in a file
``cases_*.py`` beside this one.  It takes nothing, returns a nest of numbers,
strings, tensors, specs, distributions, and is the same on each run.
"""

import collections
import glob
import importlib.util
import json
import math
import os
import random
import signal
import sys
import traceback
import warnings

import numpy as np

for _name, _value in (
    ("product", np.prod),
    ("bool", bool),
    ("float", float),
    ("int", int),
    ("object", object),
    ("float_", np.float64),
):
    if _name not in np.__dict__:
        setattr(np, _name, _value)
warnings.simplefilter("ignore")

import torch

torch.set_num_threads(1)

CASES = collections.OrderedDict()
SEED = 0
FULL = 200  # a tensor up to this many values is written whole
SHOWN = 50


def case(name):
    """Registers a function as the case ``name`` ("area.thing.fact")."""

    def add(function):
        if name in CASES:
            raise ValueError("two cases are named " + name)
        CASES[name] = function
        return function

    return add


# ---- what cases use -----------------------------------------------------


def refuses(function, *args, **kwargs):
    """Whether the call is refused with an exception, of any type."""
    try:
        function(*args, **kwargs)
    except Exception as error:
        return {"raises": True, "upstream_type": type(error).__name__}
    return {"raises": False}


def fill(module, scale=0.4):
    """Sets parameters and float buffers of ``module`` by their shapes only."""
    with torch.no_grad():
        for _, p in module.named_parameters():
            p.copy_(pattern(p.shape, scale))
        for name, b in module.named_buffers():
            if not b.dtype.is_floating_point:
                continue
            if "var" in name:
                b.copy_(1 + 0.5 * pattern(b.shape, 1.0).abs())
            elif "mean" in name:
                b.copy_(pattern(b.shape, 0.2))
    return module


def pattern(shape, scale=1.0, phase=0.3):
    """A wave in row-major order: [a, b] and [a * b] hold the same values."""
    shape = tuple(shape)
    count = int(np.prod(shape)) if shape else 1
    wave = torch.sin(torch.arange(count, dtype=torch.float64) * 1.7 + phase)
    return (wave * scale).float().reshape(shape)


def fill_symmetric(module, scale=0.4):
    """Like ``fill``, but the same whether a weight is stored transposed or not."""
    with torch.no_grad():
        for p in module.parameters():
            index = sum(
                torch.arange(n, dtype=torch.float64).reshape([-1] + [1] * (p.ndim - 1 - i))
                for i, n in enumerate(p.shape)
            )
            p.copy_((torch.sin(index * 1.7 + 0.3) * scale).float().expand(p.shape))
    return module


def ramp(*shape, lo=-1.0, hi=1.0):
    """Evenly spaced values from ``lo`` to ``hi`` in the given shape."""
    count = int(np.prod(shape)) if shape else 1
    return torch.linspace(lo, hi, count).reshape(shape)


# ---- encoding -----------------------------------------------------------


def _number(x):
    if isinstance(x, (bool, np.bool_)):
        return bool(x)
    if isinstance(x, (int, np.integer)):
        return int(x)
    x = float(x)
    if math.isnan(x):
        return "nan"
    if math.isinf(x):
        return "inf" if x > 0 else "-inf"
    return float("%.6g" % x)


def _array(values, dtype):
    flat = values.reshape(-1)
    out = {"shape": [int(n) for n in values.shape], "dtype": dtype}
    if flat.size <= FULL:
        out["values"] = [_number(x) for x in flat.tolist()]
    else:
        f = flat.astype(np.float64)
        out.update(
            mean=_number(f.mean()),
            std=_number(f.std()),
            min=_number(f.min()),
            max=_number(f.max()),
            first=[_number(x) for x in flat[:SHOWN].tolist()],
        )
    return out


def encode(x):
    """``x`` as something JSON can hold and ``comparison.py`` can compare."""
    if x is None or isinstance(x, str):
        return x
    if isinstance(x, (bool, int, float)) and not isinstance(x, np.generic):
        return _number(x)
    if isinstance(x, np.generic):  # a numpy scalar is an array of rank 0
        return _array(np.asarray(x), "np." + str(x.dtype))
    if isinstance(x, torch.dtype):
        return str(x).replace("torch.", "")
    if isinstance(x, np.dtype):
        return str(x)
    if isinstance(x, torch.Size):
        return [int(n) for n in x]
    if isinstance(x, torch.Tensor):
        value = x.detach().cpu()
        dtype = str(value.dtype).replace("torch.", "")
        if value.dtype == torch.bfloat16:
            value = value.float()
        return _array(value.numpy(), dtype)
    if isinstance(x, np.ndarray):
        return _array(x, "np." + str(x.dtype))
    if isinstance(x, torch.distributions.Distribution):
        return _distribution(x)
    if hasattr(x, "shape") and hasattr(x, "dtype") and hasattr(x, "is_bounded"):
        out = {
            "spec": True,
            "shape": [int(n) for n in x.shape],
            "dtype": str(x.dtype).replace("torch.", ""),
        }
        if hasattr(x, "minimum"):
            out["minimum"] = [_number(v) for v in np.ravel(x.minimum)]
            out["maximum"] = [_number(v) for v in np.ravel(x.maximum)]
        return out
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return {f: encode(getattr(x, f)) for f in x._fields}
    if isinstance(x, dict):
        return {str(k): encode(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [encode(v) for v in x]
    if isinstance(x, (set, frozenset)):
        return sorted(str(v) for v in x)
    if isinstance(x, type):
        return x.__name__
    raise TypeError("a case may not return %s" % type(x))


def _distribution(d):
    out = {
        "batch_shape": [int(n) for n in d.batch_shape],
        "event_shape": [int(n) for n in d.event_shape],
    }
    from alf.utils import dist_utils

    mode = dist_utils.get_mode(d)
    out["mode"] = encode(mode)
    out["log_prob_of_mode"] = encode(d.log_prob(mode))
    return out


# ---- running ------------------------------------------------------------


class _Late(Exception):
    pass


def _alarm(*_):
    raise _Late("over 60 s")


def _fresh_start():
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    torch.set_default_dtype(torch.float32)
    import alf

    alf.reset_configs()
    try:
        from alf.trainers import policy_trainer

        alf.summary.reset_global_counter()
    except Exception:
        pass


def run(function):
    """What one case gave, encoded; never raises."""
    signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(60)
    try:
        _fresh_start()
        result = {"value": encode(function())}
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        trace = traceback.extract_tb(error.__traceback__)
        here = [f for f in trace if os.path.basename(f.filename).startswith("cases_")]
        result = {
            "error": type(error).__name__ + ": " + str(error)[:300],
            "line": here[-1].lineno if here else None,
        }
        text = str(error)
        if isinstance(error, ImportError) or (
            isinstance(error, AttributeError) and ("module 'alf" in text or "type object" in text)
        ):
            result["missing"] = True
    finally:
        signal.alarm(0)
    return result


def load_cases(folder):
    for path in sorted(glob.glob(os.path.join(folder, "cases_*.py"))):
        name = os.path.splitext(os.path.basename(path))[0]
        if name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)


def main(argv):
    global SEED
    if "--seed" in argv:
        at = argv.index("--seed")
        SEED = int(argv[at + 1])
        argv = argv[:at] + argv[at + 2 :]
    out, prefixes = argv[0], tuple(argv[1:])
    sys.modules.setdefault("harness", sys.modules["__main__"])
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    load_cases(os.path.dirname(os.path.abspath(__file__)))
    results = {
        name: run(function)
        for name, function in CASES.items()
        if not prefixes or name.startswith(prefixes)
    }
    with open(out, "w") as f:
        json.dump(results, f)


if __name__ == "__main__":
    main(sys.argv[1:])
