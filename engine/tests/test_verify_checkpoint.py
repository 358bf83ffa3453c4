"""A fresh process acts as the one that has written the checkpoint, or it is said."""

from __future__ import annotations

from test_train_program import _CONF, _run

_HIDDEN = """
class Hidden(SacAlgorithm):
    num_trained = 0

    def train_step(self, *args, **kwargs):
        self.num_trained += 1
        return super().train_step(*args, **kwargs)

    def predict_step(self, inputs, state):
        step = super().predict_step(inputs, state)
        return step._replace(output=step.output * 0 + (self.num_trained > 0) / 2)


alf.config("TrainerConfig", algorithm_ctor=Hidden)
"""


def test_a_checkpoint_holds_all_of_an_algorithm(tmp_path):
    conf = tmp_path / "good_conf.py"
    conf.write_text(_CONF)
    status, out, err = _run("verify_checkpoint", "--conf", conf, "--num_iterations", 8)
    assert status == 0, err
    assert out.startswith("the same: ")
    assert out.endswith("20 steps\n")


def test_hidden_state_is_found(tmp_path):
    conf = tmp_path / "hidden_conf.py"
    conf.write_text(_CONF + _HIDDEN)
    status, _, err = _run("verify_checkpoint", "--conf", conf, "--num_iterations", 8)
    assert status == 1, err
    assert "acts otherwise from step 0 on (20 of 20 steps)" in err
    assert "differ after loading" not in err
