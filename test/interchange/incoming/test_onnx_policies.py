"""Networks in ONNX: found however a graph spells them, equal to what ONNX Runtime answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from foreign_policies import HIDDEN, INPUTS, OUTPUTS, OnnxBuilder, onnx_policy, weights

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.interchange.incoming.equality import compare
from qpolicy_ros.interchange.incoming.onnx_file import read_onnx


def silu(b, x):
    return b.op("Mul", x, b.op("Sigmoid", x))


def gelu_by_erf(b, x):
    inner = b.op("Erf", b.op("Div", x, b.constant(math.sqrt(2))))
    return b.op("Mul", b.op("Mul", x, b.op("Add", inner, b.constant(1.0))), b.constant(0.5))


def gelu_by_tanh(b, x):
    cube = b.op("Mul", b.op("Pow", x, b.constant(3.0)), b.constant(0.044715))
    inner = b.op("Tanh", b.op("Mul", b.op("Add", x, cube), b.constant(math.sqrt(2 / math.pi))))
    return b.op("Mul", b.op("Mul", x, b.constant(0.5)), b.op("Add", inner, b.constant(1.0)))


def softplus_by_log(b, x):
    return b.op("Log", b.op("Add", b.op("Exp", x), b.constant(1.0)))


def elu_by_where(b, x):
    below = b.op("Sub", b.op("Exp", b.op("Min", x, b.constant(0.0))), b.constant(1.0))
    return b.op("Where", b.op("Greater", x, b.constant(0.0)), x, below)


def layer_norm_by_hand(b, x):
    centred = b.op("Sub", x, b.op("ReduceMean", x, axes=[-1]))
    spread = b.op("ReduceMean", b.op("Pow", centred, b.constant(2.0)), axes=[-1])
    root = b.op("Sqrt", b.op("Add", spread, b.constant(1e-5)))
    scale, shift = weights(7, HIDDEN, 1)
    scaled = b.op("Mul", b.op("Div", centred, root), b.constant(scale[:, 0]))
    return b.op("Tanh", b.op("Add", scaled, b.constant(shift)))


def layer_norm(b, x):
    scale, shift = weights(7, HIDDEN, 1)
    constants = b.constant(scale[:, 0]), b.constant(shift)
    return b.op("Relu", b.op("LayerNormalization", x, *constants, epsilon=1e-3))


def batch_norm(b, x):
    scale, shift = weights(7, HIDDEN, 1)
    names = [b.constant(v) for v in (scale[:, 0], shift, shift * 2, np.square(shift) + 1)]
    return b.op("Relu", b.op("BatchNormalization", x, *names))


ACTIVATIONS = {
    "relu": (lambda b, x: b.op("Relu", x), [("relu",)]),
    "relu by max": (lambda b, x: b.op("Max", x, b.constant(0.0)), [("relu",)]),
    "leaky relu": (lambda b, x: b.op("LeakyRelu", x, alpha=0.2), [("leaky_relu", 0.2)]),
    "leaky relu by max": (
        lambda b, x: b.op("Max", x, b.op("Mul", x, b.constant(0.25))),
        [("leaky_relu", 0.25)],
    ),
    "elu": (lambda b, x: b.op("Elu", x, alpha=0.5), [("elu", 0.5)]),
    "elu by where": (elu_by_where, [("elu", 1.0)]),
    "selu": (lambda b, x: b.op("Selu", x), [("selu",)]),
    "silu": (silu, [("silu",)]),
    "gelu by erf": (gelu_by_erf, [("gelu",)]),
    "gelu by tanh": (gelu_by_tanh, [("gelu_tanh",)]),
    "tanh": (lambda b, x: b.op("Tanh", x), [("tanh",)]),
    "softplus": (lambda b, x: b.op("Softplus", x), [("softplus", 1.0)]),
    "softplus by log": (softplus_by_log, [("softplus", 1.0)]),
    "relu6": (lambda b, x: b.op("Clip", x, b.constant(0.0), b.constant(6.0)), [("clip", 0.0, 6.0)]),
    "layer norm": (layer_norm, [("layer_norm", 1e-3), ("relu",)]),
    "layer norm by hand": (layer_norm_by_hand, [("layer_norm", 1e-5), ("tanh",)]),
    "batch norm": (batch_norm, [("relu",)]),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_known_however_it_is_spelt(name, tmp_path):
    build, steps = ACTIVATIONS[name]
    incoming = read_onnx(onnx_policy(tmp_path / "a.onnx", build))
    found = [(kind, *map(pytest.approx, numbers)) for kind, *numbers in incoming.network.steps]
    assert found == [("linear",), *steps, ("linear",)]
    assert compare(incoming, 200).holds


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 20, 22])
@pytest.mark.parametrize("gemm", [True, False])
def test_every_opset_is_read(opset, gemm, tmp_path):
    incoming = read_onnx(onnx_policy(tmp_path / "a.onnx", opset=opset, gemm=gemm))
    assert compare(incoming, 100).holds
    assert (incoming.width, incoming.outputs) == (INPUTS, OUTPUTS)


def test_limits_are_attributes_before_opset_11(tmp_path):
    path = onnx_policy(
        tmp_path / "a.onnx", lambda b, x: b.op("Clip", x, min=-1.0, max=1.0), opset=9
    )
    assert read_onnx(path).network.steps[1] == ("clip", -1.0, 1.0)


@pytest.mark.parametrize("order", ["sub div clip", "mul add clip", "add div", "sub mul clip scale"])
def test_a_normaliser_in_the_graph_is_found(order, tmp_path):
    rng, b = np.random.default_rng(0), OnnxBuilder()
    value = "obs"
    for word in order.split():
        if word == "clip":
            value = b.op("Clip", value, b.constant(-5.0), b.constant(5.0))
        elif word == "scale":  # after the clip: the first layer takes it in
            value = b.op("Mul", value, b.constant(rng.uniform(0.5, 2, INPUTS)))
        else:
            low = 0.5 if word in {"div", "mul"} else -2
            value = b.op(word.title(), value, b.constant(rng.uniform(low, 2, (1, INPUTS))))
    value = b.layer(b.op("Relu", b.layer(value, 0, HIDDEN, INPUTS)), 1, OUTPUTS, HIDDEN)
    incoming = read_onnx(b.finish(tmp_path / "a.onnx", [value]))
    assert incoming.network.clip == (5.0 if "clip" in order else 1e6)
    assert (incoming.network.std != 1).any()
    assert compare(incoming, 200).holds


@pytest.mark.parametrize("way", ["tanh", "clip", "limits of each", "scaled tanh"])
def test_an_output_is_kept(way, tmp_path):
    b = OnnxBuilder()
    value = b.layer(b.op("Relu", b.layer("obs", 0, HIDDEN, INPUTS)), 1, OUTPUTS, HIDDEN)
    if way == "clip":
        value = b.op("Clip", value, b.constant(-1.0), b.constant(1.0))
    elif way == "limits of each":
        value = b.op("Min", b.op("Max", value, b.constant([-2.0, -0.5])), b.constant([1.0, 0.25]))
    else:
        value = b.op("Tanh", value)
    if way == "scaled tanh":
        value = b.op("Add", b.op("Mul", value, b.constant([2.0, 3.0])), b.constant([0.5, 0.0]))
    incoming = read_onnx(b.finish(tmp_path / "a.onnx", [value]))
    assert incoming.network.steps[-1][0] == ("tanh" if "tanh" in way else "clip")
    assert compare(incoming, 200).holds


@pytest.mark.parametrize("way", ["split", "slice", "two outputs"])
def test_of_a_distribution_the_mean_is_taken(way, tmp_path):
    b = OnnxBuilder(13)
    hidden = b.op("Elu", b.layer("obs", 0, HIDDEN, INPUTS))
    if way == "two outputs":
        outputs = [b.layer(hidden, 1, OUTPUTS, HIDDEN), b.op("Exp", b.layer(hidden, 2, 2, HIDDEN))]
        names = ["mean", "log_std"]
    else:
        both = b.layer(hidden, 1, 2 * OUTPUTS, HIDDEN)
        if way == "split":
            sizes = b.constant([OUTPUTS, OUTPUTS], np.int64)
            first = b.op("Split", both, sizes, outputs=2, axis=-1)[0]
        else:
            numbers = [b.constant([number], np.int64) for number in (0, OUTPUTS, 1)]
            first = b.op("Slice", both, *numbers)
        outputs, names = [b.op("Tanh", first)], ["actions"]
    incoming = read_onnx(b.finish(tmp_path / "a.onnx", outputs, names=names))
    assert incoming.outputs == OUTPUTS
    assert len(incoming.network.weights[-1]) == OUTPUTS
    assert compare(incoming, 100).holds


def test_weights_may_lie_beside(tmp_path):
    path = onnx_policy(tmp_path / "a.onnx", external=True)
    assert (tmp_path / "weights.data").is_file()
    assert compare(read_onnx(path), 100).holds
    (tmp_path / "weights.data").rename(tmp_path / "other.data")
    with pytest.raises(InputError, match=r"lies in 'weights.data', which is not there; put that"):
        read_onnx(path)


def test_weights_outside_the_folder_are_not_read(tmp_path):
    import onnx  # noqa: PLC0415

    (tmp_path / "inner").mkdir()
    path = onnx_policy(tmp_path / "inner" / "a.onnx", external=True)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../secret"
    path.write_bytes(model.SerializeToString())
    (tmp_path / "secret").write_bytes(bytes(10_000))
    with pytest.raises(InputError, match=r"'../secret', which is not beside the file"):
        read_onnx(path)


def test_a_free_batch_is_no_hindrance(tmp_path):
    assert read_onnx(onnx_policy(tmp_path / "a.onnx", shape=("batch", INPUTS))).width == INPUTS


def two_inputs(path):
    b = OnnxBuilder()
    value = b.op("Add", "obs", "time_step")
    return b.finish(path, [b.layer(value, 0, 2, INPUTS)], inputs=["obs", "time_step"])


def lstm(path):
    b = OnnxBuilder()
    value = b.op("Unsqueeze", "obs", b.constant([0], np.int64))
    gates, rng = 4 * HIDDEN, np.random.default_rng(0)
    names = [b.constant(rng.normal(size=(1, gates, width))) for width in (INPUTS, HIDDEN)]
    value = b.op("LSTM", value, *names, outputs=3, hidden_size=HIDDEN)[0]
    return b.finish(path, [b.layer(b.op("Squeeze", value), 0, 2, HIDDEN)])


def residual(path):
    b = OnnxBuilder()
    hidden = b.op("Relu", b.layer("obs", 0, INPUTS, INPUTS))
    return b.finish(path, [b.layer(b.op("Add", hidden, "obs"), 1, 2, INPUTS)])


def unnamed_outputs(path):
    b = OnnxBuilder()
    return b.finish(path, [b.layer("obs", 0, 2, INPUTS), b.layer("obs", 1, 2, INPUTS)])


REFUSED = {
    "two inputs": (two_inputs, r"2 inputs \('obs', 'time_step'\); a policy has one observation"),
    "an LSTM": (lstm, r"'LSTM LSTM_\d': is an LSTM, which a policy file cannot hold; distil it"),
    "a residual": (residual, "add joins two branches of the network"),
    "two outputs": (unnamed_outputs, "2 outputs: 'out0', 'out1'; say which is the action"),
    "a free width": (
        lambda path: onnx_policy(path, shape=("batch", "n")),
        r"\[batch, n\]: how many values it has is not fixed",
    ),
    "an unknown operator": (
        lambda path: onnx_policy(path, lambda b, x: b.op("Sin", x)),
        r"'Sin Sin_\d': is an operator that is not known here \(sin\)",
    ),
    "an unknown function": (
        lambda path: onnx_policy(path, lambda b, x: b.op("Abs", x)),
        r"the function after layer 1 \(Abs Abs_\d\) is none that a policy file can hold",
    ),
    "an old opset": (lambda path: onnx_policy(path, opset=6), "opset 6, read are 7 and newer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_held_is_refused_by_its_name(name, tmp_path):
    build, text = REFUSED[name]
    with pytest.raises(InputError, match=text) as caught:
        read_onnx(build(tmp_path / "a.onnx"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x0a" * 40, bytes(100)])
def test_what_is_no_onnx_file_is_refused(content, tmp_path):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"no ONNX file|no operators"):
        read_onnx(tmp_path / "a.onnx")


def test_a_file_of_a_gibibyte_is_not_read(tmp_path):
    with (tmp_path / "a.onnx").open("wb") as file:
        file.truncate(1 << 30)  # sparse: it takes no space
    with pytest.raises(InputError, match="1073741824 bytes, at most 268435456 are read"):
        read_onnx(tmp_path / "a.onnx")
