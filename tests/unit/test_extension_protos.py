"""A .proto of an extension against protobuf's own reading of JSON: what one gives the other takes."""

import subprocess
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from services.auth.extensions.protos import schema_of
from services.auth.extensions.schemas import check_data, check_schema
from shared.errors import InvalidInput
from tests.contract.tree import BIN

TEXT = """
syntax = "proto3";
package shop.v1;
import "google/protobuf/timestamp.proto";
// What was bought.
message OrderPlaced {
  enum Channel { CHANNEL_UNSPECIFIED = 0; CHANNEL_WEB = 1; }
  message Line { string article_id = 1; uint32 count = 2; double price = 3 [json_name = "unitPrice"]; }
  int64 order_id = 1;
  sint32 change = 2;
  repeated Line lines = 3;
  map<string, bool> flags = 4;
  Channel sold_by = 5;
  oneof paid { string card = 6; shop.v1.OrderPlaced.Line in_kind = 7; bytes proof_of = 8; }
  google.protobuf.Timestamp placed_at = 9;
  optional float weight = 10;
  reserved 11;
}
message Other {}
"""
LINE = st.fixed_dictionaries(
    {}, optional={"article_id": st.text(), "count": st.integers(0, 2**32 - 1), "price": st.floats()}
)
PAID = st.one_of(
    st.just({}), st.builds(lambda card: {"card": card}, st.text()), st.builds(lambda line: {"in_kind": line}, LINE)
)
REST = st.fixed_dictionaries(
    {},
    optional={
        "order_id": st.integers(-(2**63), 2**63 - 1),
        "change": st.integers(-(2**31), 2**31 - 1),
        "lines": st.lists(LINE, max_size=3),
        "flags": st.dictionaries(st.text(max_size=5), st.booleans(), max_size=3),
        "sold_by": st.sampled_from([0, 1]),
        "weight": st.floats(width=32),
    },
)
ORDER = st.builds(lambda rest, paid: rest | paid, REST, PAID)


@pytest.fixture(scope="module")
def order_placed(tmp_path_factory: pytest.TempPathFactory) -> type[Message]:
    folder = tmp_path_factory.mktemp("proto")
    (folder / "order.proto").write_text(TEXT)
    subprocess.run([BIN / "buf", "build", ".", "-o", "built.binpb"], cwd=folder, check=True, capture_output=True)
    files = descriptor_pb2.FileDescriptorSet.FromString((folder / "built.binpb").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.v1.OrderPlaced"))


SCHEMA = schema_of(TEXT, "order_placed", "says.order_placed")


@given(order=ORDER, keeps_names=st.booleans())
def test_what_protobuf_writes_is_taken(order_placed: type[Message], order: dict[str, Any], keeps_names: bool) -> None:
    told = json_format.MessageToDict(order_placed(**order), preserving_proto_field_name=keeps_names)
    check_data(SCHEMA, told)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"orderId": True}, "orderId"),
        ({"change": 2**31}, "change"),
        ({"change": "x"}, "change"),
        ({"lines": {}}, "lines"),
        ({"lines": [{"count": -1}]}, "lines.0.count"),
        ({"lines": [{"unit_price": 1}]}, "lines.0"),
        ({"flags": {"a": 1}}, "flags.a"),
        ({"sold_by": "CHANNEL_SHOP"}, "sold_by"),
        ({"card": "x", "inKind": {}}, ""),
        ({"placedAt": 5}, "placedAt"),
        ({"unknown": 1}, ""),
    ],
)
def test_what_protobuf_refuses_is_refused(order_placed: type[Message], data: dict[str, Any], field: str) -> None:
    with pytest.raises(json_format.ParseError):
        json_format.ParseDict(data, order_placed())
    with pytest.raises(InvalidInput) as refused:
        check_data(SCHEMA, data)
    assert refused.value.field == ".".join(filter(None, ["data", field]))


def test_it_is_a_schema_that_is_taken() -> None:
    check_schema(SCHEMA, "says.order_placed")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("message", "line 1"),
        ("", "it has 0 messages: name one OrderPlaced"),
        ("message A {} message B {}", "it has 2 messages: name one OrderPlaced"),
        ("message A { B b = 1; }", "A needs B, which this file does not declare"),
        ("message A { string a = 1; string b = 1; }", "a number to two fields"),
        ("message A { string a_b = 1; string aB = 2; }", "a name"),
        ("message A {} message A {}", "declares A twice"),
        ("message A {" * 1000, "too deep"),
        ("//" + "x" * 20000, "at most"),
    ],
)
def test_what_is_none_is_refused_in_words(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as refused:
        schema_of(text, "order_placed", "says.order_placed")
    assert refused.value.field == "says.order_placed"


def test_proto2_tells_what_must_be_there() -> None:
    schema = schema_of('syntax = "proto2"; message A { required string a_b = 1; }', "a", "says.a")
    check_data(schema, {"aB": "x"})
    with pytest.raises(InvalidInput):
        check_data(schema, {})


@given(st.text(max_size=200))
def test_any_text_gives_a_schema_or_a_reason(text: str) -> None:
    try:
        check_schema(schema_of(text, "a", "says.a"), "says.a")
    except InvalidInput as refused:
        assert refused.field
