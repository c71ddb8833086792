"""A voice of Piper, a VITS graph, as part of a served one: from letters of sound to samples.

Kim et al., Conditional Variational Autoencoder with Adversarial Learning for End-to-End Text-to-Speech, 2021.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from library.graphs.brought import add_constants, insert_after, replace, set_ends
from library.graphs.front import CONTRIB, IR_VERSION

OPSET: Final = 15
ML: Final = "ai.onnx.ml"
BLANK, BEGIN, END, NOTHING = 0, 1, 2, -1
HOP: Final = 256
PAUSE: Final = 16
TABLE: Final = 1021
SEED: Final = 20240501
FASTEST, SLOWEST = 4.0, 0.25
LENGTHS: Final = "/Ceil_output_0"
"""Inside the voice: frames of each number [batch, 1, length]."""


def front(numbers: Mapping[str, int], opset: int = OPSET, step: int = 2) -> onnx.ModelProto:
    """Letters of sound, a text [batch], to their numbers [batch, m] as the voice takes them, and how many there are;
    speed [batch] to the length of each sound.

    A blank stands after the beginning and after each letter, with a step of 1 none; one that the voice does not know is
    a blank too.
    """
    whole = {"blank": BLANK, "zero": 0, "one": 1, "step": step, "begin": BEGIN, "end": END}
    listed = {"axis": [1], "third": [2], "flat": [0, -1], "beside": [0, 0, 0, 0, 0, step - 1]}
    listed["around"] = [0, step, 0, 1]
    arrays = {name: np.array(value, "<i8") for name, value in (whole | listed).items()}
    arrays |= {"slowest": np.array(SLOWEST, "<f4"), "fastest": np.array(FASTEST, "<f4")}
    graph = helper.make_graph(
        [*_sounds({"": NOTHING, **numbers}), *_row()],
        "front",
        [helper.make_tensor_value_info(*end) for end in TAKEN],
        [helper.make_tensor_value_info(*end) for end in BETWEEN],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid(*pair) for pair in (("", opset), (CONTRIB, 1), (ML, 2))]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _sounds(letters: Mapping[str, int]) -> list[onnx.NodeProto]:
    """The number of each letter, and how many a row has; the length of each sound."""
    make = helper.make_node
    split: dict[str, Any] = {"mark": 0, "pad_value": "", "mincharnum": 1, "separators": [""]}
    table: dict[str, Any] = {"keys_strings": [*letters], "values_int64s": [*letters.values()], "default_int64": BLANK}
    return [
        make("Tokenizer", ["phonemes"], ["letters"], domain=CONTRIB, **split),
        make("LabelEncoder", ["letters"], ["found"], domain=ML, **table),
        make("Less", ["found", "blank"], ["absent"]),
        make("Where", ["absent", "blank", "found"], ["sounds"]),
        make("Not", ["absent"], ["present"]),
        make("Cast", ["present"], ["counted"], to=TensorProto.INT64),
        make("ReduceSum", ["counted", "axis"], ["count"], keepdims=1),
        make("Clip", ["speed", "slowest", "fastest"], ["bounded"]),
        make("Reciprocal", ["bounded"], ["pace"]),
    ]


def _row() -> list[onnx.NodeProto]:
    """Blanks between the letters, the beginning before the first, and the end after the last of each row."""
    make = helper.make_node
    return [
        make("Unsqueeze", ["sounds", "third"], ["column"]),
        make("Pad", ["column", "beside"], ["pairs"]),
        make("Reshape", ["pairs", "flat"], ["row"]),
        make("Pad", ["row", "around"], ["room"]),
        make("Shape", ["room"], ["width"], start=1, end=2),
        make("Squeeze", ["width"], ["size"]),
        make("Range", ["zero", "size", "one"], ["places"]),
        make("Mul", ["count", "step"], ["steps"]),
        make("Add", ["steps", "step"], ["last"]),
        make("Equal", ["places", "last"], ["is_last"]),
        make("Where", ["is_last", "end", "room"], ["ended"]),
        make("Equal", ["places", "zero"], ["is_first"]),
        make("Where", ["is_first", "begin", "ended"], ["numbers"]),
        make("Add", ["last", "one"], ["lengths_column"]),
        make("Squeeze", ["lengths_column", "axis"], ["lengths"]),
    ]


TAKEN: Final = (("phonemes", TensorProto.STRING, ["batch"]), ("speed", TensorProto.FLOAT, ["batch"]))
BETWEEN: Final = (
    ("numbers", TensorProto.INT64, ["batch", "length"]),
    ("lengths", TensorProto.INT64, ["batch"]),
    ("pace", TensorProto.FLOAT, ["batch"]),
)
GIVEN: Final = (("audio", TensorProto.FLOAT, ["batch", "samples"]),)


def voice(content: bytes, spread: float, rhythm: float) -> onnx.ModelProto:
    """The voice of a file from numbers to samples, zeros after the end of each, a pause of 0.19 s at least.

    Its noise is the same each time, so that the same text sounds the same; the pause also keeps what is computed of one
    text apart from those beside it in a batch. `spread` and `rhythm` are how much noise sound and lengths get.
    """
    model = onnx.load_from_string(content)
    graph = model.graph
    _take_numbers(graph)
    _fix_noise(graph, np.float32(spread), np.float32(rhythm))
    _pause(graph)
    _give_samples(graph)
    set_ends(graph, BETWEEN, GIVEN)
    bare = helper.make_graph([*graph.node], "voice", [*graph.input], [*graph.output], [*graph.initializer])
    for node in bare.node:
        node.doc_string = ""
    return helper.make_model(bare, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _take_numbers(graph: onnx.GraphProto) -> None:
    names = {"input": "numbers", "input_lengths": "lengths"}
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)
    add_constants(graph, voice_inner=np.array([1, 2], "<i8"))
    replace(graph, "/Gather_1_output_0", lambda name: [helper.make_node("Unsqueeze", ["pace", "voice_inner"], [name])])


def _fix_noise(graph: onnx.GraphProto, spread: Any, rhythm: Any) -> None:
    """Numbers from a table in place of the random ones, as many as there are frames, or letters."""
    for name in ("/Gather_output_0", "/Gather_2_output_0"):
        replace(graph, name, lambda _: [])
    table = np.random.RandomState(SEED).standard_normal((194, TABLE)).astype("<f4")
    add_constants(graph, **{"/Gather_output_0": np.array(spread), "/Gather_2_output_0": np.array(rhythm)})
    add_constants(graph, voice_sound=table[None, 2:], voice_lengths=table[None, :2])
    add_constants(graph, voice_zero=np.array(0, "<i8"), voice_one=np.array(1, "<i8"), voice_table=np.array(TABLE))
    for place, shape_of, values in (("/", "/Transpose_3_output_0", "sound"), ("/dp/", "", "lengths")):
        output = f"{place}RandomNormalLike_output_0"
        replace(graph, output, lambda name, s=shape_of, v=values: _repeated(name, s, v))  # type: ignore[misc]


def _repeated(name: str, shape_of: str, values: str) -> list[onnx.NodeProto]:
    """A table's columns again and again, in the shape of a tensor, or in that which the duration predictor names."""
    make, own = helper.make_node, f"voice_{values}"
    shape = f"{own}_shape" if shape_of else "/dp/Concat_output_0"
    return [
        *([make("Shape", [shape_of], [shape])] if shape_of else []),
        make("Gather", [shape, f"{own}_axis"], [f"{own}_size"]),
        make("Range", ["voice_zero", f"{own}_size", "voice_one"], [f"{own}_range"]),
        make("Mod", [f"{own}_range", "voice_table"], [f"{own}_columns"]),
        make("Gather", [own, f"{own}_columns"], [f"{own}_row"], axis=2),
        make("Expand", [f"{own}_row", shape], [name]),
    ]


def _pause(graph: onnx.GraphProto) -> None:
    add_constants(graph, voice_pause=np.array(PAUSE, "<i8"), voice_hop=np.array(HOP, "<i8"))
    add_constants(graph, voice_sound_axis=np.array(2, "<i8"), voice_lengths_axis=np.array(2, "<i8"))
    longest = "/ReduceMax_output_0"
    insert_after(graph, longest, helper.make_node("Add", [f"{longest}_before", "voice_pause"], [longest]))


def _give_samples(graph: onnx.GraphProto) -> None:
    """Zeros after each end: neither noise nor what the zeros before it sound like."""
    make = helper.make_node
    frames = next(node.input[0] for node in graph.node if "/ReduceMax_output_0_before" in node.output)
    add_constants(graph, voice_flat=np.array([0, -1], "<i8"), voice_column=np.array([1], "<i8"))
    add_constants(graph, voice_silence=np.array(0, "<f4"))
    replace(
        graph,
        "output",
        lambda _: [
            make("Reshape", ["/dec/Tanh_output_0", "voice_flat"], ["voice_samples"]),
            make("Shape", ["voice_samples"], ["voice_width"], start=1, end=2),
            make("Squeeze", ["voice_width"], ["voice_size"]),
            make("Range", ["voice_zero", "voice_size", "voice_one"], ["voice_places"]),
            make("Mul", [frames, "voice_hop"], ["voice_ends"]),
            make("Unsqueeze", ["voice_ends", "voice_column"], ["voice_ends_column"]),
            make("Less", ["voice_places", "voice_ends_column"], ["voice_is_spoken"]),
            make("Where", ["voice_is_spoken", "voice_samples", "voice_silence"], ["audio"]),
        ],
    )
