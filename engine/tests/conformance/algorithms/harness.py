"""Runs small cases on whichever ``alf`` is importable.

    python harness.py OUT.json [PREFIX ...]     run, write results

A case is a function registered with @case("area.name"); it returns a nest of
numbers, strings, tensors, specs or distributions, which is written as JSON.
"""

import contextlib
import glob
import importlib
import json
import logging
import math
import os
import random
import re
import signal
import sys
import traceback
import warnings

warnings.filterwarnings("ignore")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

for _old, _new in (
    ("product", "prod"),
    ("bool8", "bool_"),
    ("float_", "float64"),
    ("cumproduct", "cumprod"),
):
    if not hasattr(np, _old):
        setattr(np, _old, getattr(np, _new))

import torch
import torch.distributions as td

torch.set_num_threads(1)
logging.disable(logging.CRITICAL)

import alf

CASES = {}


def case(name):
    """Register a case; the name says which fact it tests."""

    def deco(fn):
        assert name not in CASES, name
        CASES[name] = fn
        return fn

    return deco


# ---------------------------------------------------------------- determinism
def set_params(module, scale=1.0):
    """Fill every parameter with at least one axis by a rule on its shape alone."""
    with torch.no_grad():
        for p in module.parameters():
            if p.ndim == 0:
                continue
            f = {1: 0.5, 2: 1.0, 3: 1.0}.get(p.ndim, 0.7) * scale
            p.copy_((torch.linspace(-0.3, 0.3, p.numel()) * f).reshape(p.shape))
    return module


def seq(*shape, lo=-1.0, hi=1.0):
    """Evenly spaced numbers of the given shape."""
    n = int(np.prod(shape)) if shape else 1
    t = torch.linspace(lo, hi, n) if n > 1 else torch.full((1,), hi)
    return t.reshape(shape)


def wave(*shape, k=1.0, amp=1.0):
    """Numbers which are neither monotone nor repeated."""
    n = int(np.prod(shape)) if shape else 1
    return (amp * torch.sin(k * torch.arange(n, dtype=torch.float32) + 0.3)).reshape(shape)


@contextlib.contextmanager
def no_noise(u=0.5, normal=None):
    """Every random draw gives its centre: normals their mean, categoricals
    their argmax, uniforms ``u`` of the way up, permutations the identity.
    With ``normal`` a standard normal draw of a shape is ``normal(*shape)``."""
    import torch.distributions.normal as _n
    import torch.distributions.utils as _u

    saved = []

    def patch(obj, name, value):
        saved.append((obj, name, getattr(obj, name)))
        setattr(obj, name, value)

    def _size(args, kw):
        size = kw.pop("size", None)
        if size is None:
            size = (
                args[0]
                if len(args) == 1 and isinstance(args[0], (tuple, list, torch.Size))
                else args
            )
        kw.pop("generator", None)
        return tuple(int(s) for s in size), kw

    def _zeros(*args, **kw):
        s, kw = _size(args, kw)
        if normal is not None:
            t = normal(*s)
            return t.requires_grad_() if kw.get("requires_grad") else t
        return torch.zeros(s, **kw)

    def _half(*args, **kw):
        s, kw = _size(args, kw)
        return torch.full(s, u, **kw)

    def _std_normal(shape, dtype, device):
        if normal is not None:
            return normal(*shape).to(dtype)
        return torch.zeros(shape, dtype=dtype, device=device)

    def _normal(mean, std=None, *a, **kw):
        if isinstance(mean, torch.Tensor):
            return mean.detach().clone()
        return torch.full(tuple(a[0]) if a else tuple(kw["size"]), float(mean))

    def _multinomial(p, num_samples, replacement=False, **kw):
        if replacement:
            return p.argmax(-1, keepdim=True).expand(*p.shape[:-1], num_samples).clone()
        return p.topk(num_samples, dim=-1)[1]

    def _randint(*args, **kw):
        kw.pop("generator", None)
        if "size" in kw:
            size, lohi = kw.pop("size"), args
        else:
            size, lohi = args[-1], args[:-1]
        low = kw.pop("low", lohi[0] if len(lohi) == 2 else 0)
        kw.pop("high", None)
        kw.setdefault("dtype", torch.int64)
        return torch.full(tuple(size), int(low), **kw)

    def _randperm(n, **kw):
        kw.pop("generator", None)
        return torch.arange(int(n), **kw)

    patch(_n, "_standard_normal", _std_normal)
    patch(_u, "_standard_normal", _std_normal)
    for m in (torch.distributions.multivariate_normal,):
        patch(m, "_standard_normal", _std_normal)
    patch(torch, "normal", _normal)
    patch(torch, "multinomial", _multinomial)
    patch(torch, "randn", _zeros)
    patch(torch, "rand", _half)
    patch(torch, "randn_like", lambda x, **k: _zeros(*x.shape).to(x.dtype))
    patch(torch, "rand_like", lambda x, **k: torch.full_like(x, u, **k))
    patch(torch, "randint", _randint)
    patch(torch, "randperm", _randperm)
    patch(torch.Tensor, "uniform_", lambda self, a=0.0, b=1.0, **k: self.fill_(a + u * (b - a)))
    patch(torch.Tensor, "normal_", lambda self, mean=0.0, std=1.0, **k: self.fill_(mean))
    try:
        yield
    finally:
        for obj, name, value in reversed(saved):
            setattr(obj, name, value)


def refuses(fn):
    """Whether calling ``fn`` is refused; only that fact is compared."""
    try:
        fn()
    except Exception as e:
        if _missing(e):
            raise
        return {"raises": True, "upstream_type": type(e).__name__}
    return {"raises": False}


# ------------------------------------------------------------------- encoding
def _num(x):
    x = float(x)
    if math.isnan(x):
        return "nan"
    if math.isinf(x):
        return "inf" if x > 0 else "-inf"
    return float("%.6g" % x)


def _tensor(t):
    t = t.detach()
    d = {"shape": list(t.shape), "dtype": str(t.dtype).replace("torch.", "")}
    v = t.reshape(-1)
    if t.dtype == torch.bool:
        v = v.to(torch.int64)
    if v.numel() <= 200:
        d["values"] = [_num(x) for x in v]
    else:
        w = v.to(torch.float64)
        d["mean"], d["std"] = _num(w.mean()), _num(w.std())
        d["min"], d["max"] = _num(w.min()), _num(w.max())
        d["values"] = [_num(x) for x in v[:50]]
    return d


def _base(d):
    while isinstance(d, (td.Independent, td.TransformedDistribution)):
        d = d.base_dist
    return d


def _dist(d):
    from alf.utils import dist_utils

    b = _base(d)
    out = {"batch": list(d.batch_shape), "event": list(d.event_shape)}
    if isinstance(b, (td.Categorical, td.OneHotCategorical)):
        out["logits"] = _tensor(b.logits)
    else:
        mode = dist_utils.get_mode(d)
        out["mode"] = _tensor(mode)
        for f in ("loc", "scale"):
            if isinstance(getattr(b, f, None), torch.Tensor):
                out[f] = _tensor(getattr(b, f))
        out["log_prob"] = _tensor(d.log_prob((mode * 0.9).detach()))
    return {"distribution": out}


def enc(x):
    if x is None or isinstance(x, (bool, str)):
        return x
    if isinstance(x, (int, np.integer)):
        return int(x)
    if isinstance(x, (float, np.floating)):
        return _num(x)
    if isinstance(x, torch.Size):
        return list(x)
    if isinstance(x, torch.Tensor):
        return _tensor(x)
    if isinstance(x, np.ndarray):
        if x.dtype == object or x.dtype.kind in "US":
            return [enc(i) for i in x.tolist()]
        return _tensor(torch.as_tensor(np.ascontiguousarray(x)))
    if isinstance(x, td.Distribution):
        return _dist(x)
    if isinstance(x, alf.TensorSpec):
        d = {"spec": [int(i) for i in x.shape], "dtype": str(x.dtype).replace("torch.", "")}
        if isinstance(x, alf.BoundedTensorSpec):
            d["min"] = [_num(i) for i in np.asarray(x.minimum).reshape(-1)]
            d["max"] = [_num(i) for i in np.asarray(x.maximum).reshape(-1)]
        return d
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        # fields holding an empty tuple count as absent
        return {
            f: enc(getattr(x, f))
            for f in x._fields
            if not (isinstance(getattr(x, f), tuple) and getattr(x, f) == ())
        }
    if isinstance(x, tuple) and x == ():
        return "()"
    if isinstance(x, (list, tuple)):
        return [enc(i) for i in x]
    if isinstance(x, dict):
        return {str(k): enc(v) for k, v in x.items()}
    if type(x).__name__ == "DistributionSpec":
        return {"distribution_spec": enc(x.input_params_spec)}
    raise TypeError("cannot encode %s" % type(x))


def params_of(module, names=None):
    """Parameters as a sorted multiset, so that their names do not matter."""
    rows = []
    for n, p in module.named_parameters():
        rows.append(
            (
                list(p.shape),
                [_num(v) for v in p.detach().reshape(-1)[:6]],
                _num(p.detach().double().sum()),
            )
        )
    rows.sort(key=lambda r: (str(r[0]), r[2]))
    return [{"shape": str(r[0]), "first": r[1], "sum": r[2]} for r in rows]


# ------------------------------------------------------------------ run
class _Timeout(Exception):
    pass


def _alarm(*_):
    raise _Timeout()


def _missing(e):
    if isinstance(e, (ImportError, ModuleNotFoundError)):
        return True
    return isinstance(e, AttributeError) and "module 'alf" in str(e)


def run_case(fn, limit=30):
    """What one case gave, encoded; never raises."""
    alf.reset_configs()
    if "fixtures" in sys.modules:
        sys.modules["fixtures"].restore()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    try:
        alf.summary.set_global_counter(0)
    except Exception:
        pass
    signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(limit)
    try:
        return {"value": enc(fn())}
    except _Timeout:
        return {"error": "over %d s" % limit}
    except BaseException as e:
        if isinstance(e, KeyboardInterrupt):
            raise
        tb = traceback.extract_tb(e.__traceback__)[-1]
        text = re.sub(r"/[\w.+-]+(/[\w.+-]+)+", "<path>", str(e))  # no paths of a machine
        text = "%s: %s" % (type(e).__name__, text[:200])
        r = {"error": "%s (%s:%s)" % (text, os.path.basename(tb.filename), tb.lineno)}
        if _missing(e):
            r["missing"] = True
        return r
    finally:
        signal.alarm(0)


def load(here=None):
    here = here or os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, here)
    for f in sorted(glob.glob(os.path.join(here, "cases_*.py"))):
        importlib.import_module(os.path.basename(f)[:-3])


def main(argv):
    load()
    out, prefixes = argv[0], tuple(argv[1:])
    results = {
        name: run_case(fn)
        for name, fn in sorted(CASES.items())
        if not prefixes or name.startswith(prefixes)
    }
    with open(out, "w") as f:
        json.dump(results, f)


if __name__ == "__main__":
    sys.modules["harness"] = sys.modules[__name__]
    main(sys.argv[1:])
