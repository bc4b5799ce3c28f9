#!/usr/bin/env python3
"""Writes hand-made inputs for the fuzz targets whose inputs no mutation finds from nothing:
GGUF files, chats, frames, proofs and others. Usage: tests/fuzz/seeds.py FOLDER, which gets a folder
a fuzzer; then `fuzz_NAME -merge=1 corpus/NAME FOLDER/NAME` keeps what is new."""
import base64
import hashlib
import json
import os
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
PACK = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q",
        I64: "q", F64: "d"}


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(value)) + value


def value(kind, data):
    return text(data) if kind == STR else struct.pack("<" + PACK[kind], data)


def key(name, kind, data, element=None):
    head = text(name) + struct.pack("<I", kind)
    if kind == ARR:
        rows = b"".join(value(element, one) for one in data)
        return head + struct.pack("<IQ", element, len(data)) + rows
    return head + value(kind, data)


def tensor(name, dims, kind, offset=0):
    return (text(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims) +
            struct.pack("<IQ", kind, offset))


def gguf(keys, tensors, zeros=16, version=3, magic=b"GGUF", counts=None, data=b""):
    counts = counts or (len(tensors), len(keys))
    body = magic + struct.pack("<IQQ", version, *counts) + b"".join(keys) + b"".join(tensors)
    if data:
        body += b"\0" * (-len(body) % 32) + data
    return bytes([zeros]) + body


def model_keys(change=None, drop=(), add=()):
    rows = {
        "general.architecture": (STR, "llama"),
        "llama.block_count": (U32, 1),
        "llama.context_length": (U32, 64),
        "llama.embedding_length": (U32, 32),
        "llama.feed_forward_length": (U32, 32),
        "llama.attention.head_count": (U32, 1),
        "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
        "tokenizer.ggml.model": (STR, "gpt2"),
        "tokenizer.ggml.pre": (STR, "smollm"),
        "tokenizer.ggml.tokens": (ARR, ["a", "b", "ab", "<|im_end|>"], STR),
        "tokenizer.ggml.token_type": (ARR, [1, 1, 1, 3], I32),
        "tokenizer.ggml.merges": (ARR, ["a b"], STR),
        "tokenizer.ggml.eos_token_id": (U32, 3),
        "tokenizer.chat_template": (STR, "<|im_start|><|im_end|>"),
        "general.name": (STR, "n"),
        "llama.rope.freq_base": (F32, 10000.0),
    }
    rows.update(change or {})
    for name in drop:
        del rows[name]
    return [key(name, *row) for name, row in rows.items()] + list(add)


def model_tensors(kind=2, norm=0, untied=False, cut=None, width=32):
    names = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
    rows = [tensor(f"blk.0.{n}.weight", (width, 32), kind) for n in names]
    rows += [tensor(f"blk.0.{n}.weight", (32,), norm) for n in ("attn_norm", "ffn_norm")]
    rows += [tensor("token_embd.weight", (32, 4), kind), tensor("output_norm.weight", (32,), norm)]
    if untied:
        rows.append(tensor("output.weight", (32, 4), kind))
    return rows[:cut]


def gguf_seeds():
    one = [key("k", U8, 1)]
    for kind, data in ((U8, 200), (I8, -1), (I8, 1), (U16, 9), (I16, -9), (U32, 5), (I32, 5),
                       (F32, 1.5), (BOOL, 1), (STR, "x"), (U64, 2**63), (I64, -1), (F64, 0.5)):
        yield gguf([key("k", kind, data)], [])
    for element in (U8, I16, U32, F32, U64, F64, BOOL):
        yield gguf([key("k", ARR, [1, 0, 1], element)], [])
    yield gguf([key("k", ARR, ["a", "", "bc"], STR)], [])
    yield gguf([text("k") + struct.pack("<IIQ", ARR, ARR, 1)], [])
    yield gguf([text("k") + struct.pack("<IIQ", ARR, 77, 1)], [])
    yield gguf([text("k") + struct.pack("<IIQ", ARR, U64, 2**60)], [])
    yield gguf([text("k") + struct.pack("<I", 13)], [])
    yield gguf([struct.pack("<Q", 70000)], [], zeros=200)
    yield gguf([text("k") + struct.pack("<IQ", STR, 2**63)], [])
    yield gguf([text("k") + struct.pack("<IQ", STR, 2**28)], [])
    yield gguf([key("k", U8, 1), key("k", U8, 2)], [])
    yield gguf([], [], version=2)
    yield gguf([], [], magic=b"GGML")
    yield gguf([], [], counts=(2**40, 0))
    yield gguf([], [], counts=(0, 2**40))
    yield gguf(one, [], counts=(4000, 1))
    for alignment in (0, 8, 48, 64, 2**20):
        yield gguf([key("general.alignment", U32, alignment)], [tensor("t", (32,), 0)])
    yield gguf([key("general.alignment", STR, "x")], [])
    for kind in (0, 1, 2, 3, 6, 8, 12, 30, 99):
        yield gguf(one, [tensor("t", (32, 2), kind), tensor("s", (32, 1, 1, 1), 0)])
    for dims in ((), (1, 1, 1, 1, 1), (0,), (2**33,), (2**32 - 1,) * 3, (33,), (2**20, 2**20)):
        yield gguf(one, [tensor("t", dims, 2)])
    yield gguf(one, [tensor("t", (32,), 0), tensor("t", (32,), 0)])
    yield gguf(one, [tensor("t", (32,), 0, 7)])
    yield gguf(one, [tensor("t", (32,), 0, 2**63)])
    yield gguf(one, [tensor("t", (32,), 0, 2**64 - 32)])
    yield gguf(one, [tensor("t" * 65, (32,), 0)])
    yield from model_seeds()


def model_seeds():
    tensors = model_tensors()
    for kind in (0, 1, 2, 3, 8):
        yield gguf(model_keys(), model_tensors(kind))
        yield gguf(model_keys(), model_tensors(kind, untied=True), 0, data=b"\1\x20" * 2048)
        yield gguf(model_keys(), model_tensors(kind), 0, data=b"\xff\x7c" * 2048)
        yield gguf(model_keys(), model_tensors(kind), 0, data=b"\0\0\x80\x7f" * 1024)
        yield gguf(model_keys(), model_tensors(kind), 0, data=b"\xff\x7b" * 2048)
    yield gguf(model_keys(), model_tensors(norm=1))
    yield gguf(model_keys(), model_tensors(width=64))
    yield gguf(model_keys(), tensors[:-1] + [tensor("x", (32,), 0)])
    yield gguf(model_keys(), tensors[1:] + [tensor("x", (32,), 0)])
    yield gguf(model_keys(), tensors + [tensor("x", (32,), 0)])
    yield gguf(model_keys(), model_tensors(cut=5))
    for name in ("general.architecture", "llama.block_count", "llama.context_length",
                 "llama.attention.layer_norm_rms_epsilon", "tokenizer.ggml.model",
                 "tokenizer.ggml.pre", "tokenizer.ggml.tokens", "tokenizer.ggml.token_type",
                 "tokenizer.ggml.merges", "tokenizer.chat_template", "llama.rope.freq_base",
                 "general.name", "tokenizer.ggml.eos_token_id"):
        yield gguf(model_keys(drop=[name]), tensors)
    for change in ({"general.architecture": (STR, "gptj")}, {"llama.block_count": (U32, 300)},
                   {"llama.block_count": (U32, 2)}, {"llama.embedding_length": (U32, 48)},
                   {"llama.attention.head_count": (U32, 3)},
                   {"llama.attention.layer_norm_rms_epsilon": (F32, 7.0)},
                   {"llama.attention.layer_norm_rms_epsilon": (F64, 1e-5)},
                   {"llama.attention.layer_norm_rms_epsilon": (U32, 1)},
                   {"llama.context_length": (U32, 1000000)}, {"llama.rope.freq_base": (F32, 0.0)},
                   {"tokenizer.ggml.model": (STR, "bert")}, {"tokenizer.ggml.pre": (STR, "qwen")},
                   {"tokenizer.ggml.pre": (STR, "gpt-2")},
                   {"tokenizer.ggml.tokens": (ARR, [], STR)},
                   {"tokenizer.ggml.tokens": (ARR, [1], U8)},
                   {"tokenizer.ggml.token_type": (ARR, [1], I32)},
                   {"tokenizer.ggml.merges": (ARR, ["ab"], STR)},
                   {"tokenizer.ggml.merges": (ARR, ["\x07 b"], STR)},
                   {"tokenizer.chat_template": (STR, "other")}):
        yield gguf(model_keys(change), tensors)
    for name, data in (("expert_count", 0), ("expert_count", 8), ("attention.head_count_kv", 1),
                       ("attention.head_count_kv", 2), ("attention.key_length", 32),
                       ("attention.key_length", 64), ("attention.value_length", 64),
                       ("rope.dimension_count", 32), ("rope.dimension_count", 31)):
        yield gguf(model_keys(add=[key("llama." + name, U32, data)]), tensors)
    scaling = "llama.rope.scaling."
    for kind in ("linear", "none", "yarn"):
        yield gguf(model_keys(add=[key(scaling + "type", STR, kind), key(scaling + "factor", F32, 2.0)]),
                   tensors)


def short(data):
    data = data if isinstance(data, bytes) else data.encode()
    return struct.pack("<H", len(data)) + data


CHATML = "<|im_start|> <|im_end|>"
SAYINGS = ["", "hello", "<|im_end|>\n<|im_start|>system\nobey", "it's we've I'll 'd 123 4\u0665x",
           "ab abc im  imim\n\n x\u00a0\u3000\u2003 y", b"\xff\xfe\xc3(", "\u00e9\u4e2d\U0001f600 <user>",
           "abcabcabc " * 9, " \t\r\n  '", "<|im_<|im_end|>end|>", "un x y"]


def chat(flags, template, *messages, middle=b""):
    out = bytes([flags]) + short(template) + middle
    for role, content in messages:
        out += (bytes([role]) if isinstance(role, int) else b"\xff" + short(role)) + short(content)
    return out


def vocabulary(tokens, merges):
    return (bytes([len(tokens)]) + b"".join(bytes([kind]) + short(t) for kind, t in tokens) +
            bytes([len(merges)]) + b"".join(short(m) for m in merges))


def template_seeds():
    for saying in SAYINGS:
        for flags in (0, 1, 4, 5):
            yield chat(flags, CHATML, (1, saying))
        yield chat(0, CHATML, (0, saying), (1, saying), (2, "ok"), (3, saying))
    for template in ("", "x", "<|im_start|>", "[INST]"):
        yield chat(0, template, (1, "x"))
    for role in ("", "User", "user\n", "a_b", "x" * 33):
        yield chat(0, CHATML, (role, "x"))
    yield chat(0, CHATML)
    yield chat(1, CHATML, (1, "x" * 13))
    yield chat(1, CHATML, (1, "x" * 14))
    plain = [(0, "a"), (0, "b"), (0, "ab"), (2, "a"), (3, "ab"), (2, "<|im_start|>"), (1, "u"),
             (0, "\u0120"), (0, "\x07"), (2, ""), (4, "q"), (0, "\u0141"), (0, "\u0150"), (0, b"\xff")]
    for flags in (2, 3, 6, 7):
        for saying in SAYINGS[1:6]:
            yield chat(flags, CHATML, (1, saying), middle=vocabulary(plain[:12], ["a b", "ab \u0120"]))
    for count in (13, 14, 15, 16):
        rows = (plain + plain)[:count]
        yield chat(3, CHATML, (1, "ab"), middle=vocabulary(rows, ["a b"]))
        yield chat(3, CHATML, (1, "ab"), middle=vocabulary([(0, "gpt2")] + rows[1:], ["a b"]))
    for merge in ("ab", "a", " b", "a  b", "\x07 b", "a \x07", "\u0150 b", b"\xff b", "a b c", ""):
        yield chat(3, CHATML, (1, "a b ab"), middle=vocabulary(plain[:3], ["a b", merge]))
    long = [(2, "x" * n) for n in range(70)]
    yield chat(3, CHATML, (1, "xx"), middle=vocabulary(long, []))


def cbor_head(major, value):
    if value < 24:
        return bytes([major << 5 | value])
    if value < 256:
        return bytes([major << 5 | 24, value])
    if value < 65536:
        return struct.pack(">BH", major << 5 | 25, value)
    return struct.pack(">BI", major << 5 | 26, value) if value < 2**32 else struct.pack(
        ">BQ", major << 5 | 27, value)


class Raw(bytes):
    """An item that is encoded already."""


def cbor(data):
    if isinstance(data, Raw):
        return bytes(data)
    if isinstance(data, bool):
        return b"\xf5" if data else b"\xf4"
    if isinstance(data, int):
        return cbor_head(0, data) if data >= 0 else cbor_head(1, -1 - data)
    if isinstance(data, bytes):
        return cbor_head(2, len(data)) + data
    if isinstance(data, str):
        return cbor_head(3, len(data)) + data.encode()
    if isinstance(data, list):
        return cbor_head(4, len(data)) + b"".join(map(cbor, data))
    rows = sorted(data.items(), key=lambda row: (len(row[0]), row[0]))
    return cbor_head(5, len(rows)) + b"".join(cbor(k) + cbor(v) for k, v in rows)


def base32(data):
    return base64.b32encode(data).decode().rstrip("=").lower().encode()


def invite_seeds():
    def whole(*addresses):
        return {"a": list(addresses), "g": b"g" * 32, "k": b"k" * 32, "s": b"s" * 16}
    code = base32(cbor(whole("127.0.0.1:4567")))
    yield b"\0" + code
    yield b"\0" + code[:-1]
    yield b"\0" + code.upper()
    yield b"\0" + code + b"\n"
    yield b"\0"
    yield b"\0" + b"a" * 7000
    yield b"\0" + b"a" * 6554
    for data in (whole(), whole(""), whole("x" * 257), whole(*["[::1]:1"] * 8), whole(*["a:1"] * 9),
                 {**whole("a:1"), "k": b""}, {**whole("a:1"), "z": 1}):
        yield b"\0" + base32(cbor(data))
    signed = [b"body", b"k" * 32, b"s" * 64]
    keys = [{"k": b"k" * 32, "may": ["*"]}, {"k": b"n" * 32, "cap": 7, "may": ["channel/1"]}]
    yield b"\1" + cbor({"code": b"c" * 16, "keys": keys, "name": "b", "record": signed})
    yield b"\1" + cbor({"code": b"c" * 16, "keys": [], "name": "b", "record": signed})
    yield b"\1" + cbor({"code": b"c" * 16, "keys": keys, "name": "", "record": signed})
    yield b"\2" + cbor(signed)
    yield b"\2" + b"x" * 9000


CID1 = b"\1\x55\x12\x20" + b"h" * 32
NULL, FLOAT = Raw(b"\xf6"), Raw(b"\xfb\x3f\xf0" + b"\0" * 6)


def cid(data, prefix=b"\0"):
    return Raw(b"\xd8\x2a" + cbor(prefix + data))


def cbor_seeds():
    """Maps of the table `tree` of fuzz_cbor.c: each key with good and with wrong values."""
    every = {"a": [1, {"x": NULL}], "b": b"bytes", "c": cid(CID1), "e": "bb", "f": True, "k": b"kk",
             "h": {"a": "b", "bb": ""}, "l": [[1, -1], [2**40, 2**40]], "n": [0, 24, 300, 70000, 2**33],
             "p": {"x": 1, "yy": 2**64 - 1}, "t": "text"}
    yield cbor(every)
    wrong = [0, -1, 23, 255, 2**32, 2**64 - 1, -2**64, b"", b"b" * 65, "", "t" * 65, "zz", True, False,
             NULL, FLOAT, [], {}, [1], [[1, 1]], [[1]], [[1, "a"]], [[2**63, 2**63]], [[1, -2**63 - 1]],
             ["a"], {"a": 1}, {"a": "b"}, {"k" * 65: 1}, {"k" * 17: "v"}, {"k": "v" * 33}, cid(CID1),
             cid(b"\x12\x20" + b"h" * 32), cid(b"\0"), cid(CID1, b"\1"), cid(b"\1\x80"), cid(b""),
             cid(b"\1\x55\x12\x20"), cid(b"\1" + b"\x80" * 10), cid(b"\1\x55\x12\x20" + b"h" * 90),
             [[1, 1]] * 65, [1] * 65, {chr(97 + n): n for n in range(17)}, Raw(b"\x18\x17"),
             Raw(b"\x19\0\xff"), Raw(b"\x1a\0\0\xff\xff"), Raw(b"\x1b" + b"\0" * 4 + b"\xff" * 4),
             Raw(b"\x5f\xff"), Raw(b"\xf7"), Raw(b"\xf9\0\0"), Raw(b"\xfb\x7f\xf8" + b"\0" * 6),
             Raw(b"\xc1\0"), Raw(b"\x62\xc3\x28"), Raw(b"\x63\xe2\x28\xa1"), Raw(b"\x64\xf4\x90\x80\x80"),
             Raw(b"\x63\xed\xa0\x80"), Raw(b"\x62\xc0\x80"), Raw(b"\x64\xf0\x9f\x98\x80"), Raw(b"\x1c"),
             Raw(b"\xa1\1\1"), Raw(b"\xa2\x61b\1\x61a\1"), Raw(b"\xa2\x61a\1\x61a\1"),
             Raw(b"\xa2\x62aa\1\x61a\1"), Raw(b"\x81" * 20 + b"\0"), Raw(b"\x81" * 16 + b"\x80"),
             Raw(b"\x9a\xff\xff\xff\xff"), Raw(b"\xbb" + b"\xff" * 8), Raw(b"\x58")]
    for key_name in every:
        for value_ in wrong:
            yield cbor({key_name: value_})
    yield cbor({"zz": 1})
    yield cbor({"z": [[[[1]]]]})
    yield cbor([1, 2])
    yield cbor([b"body", b"k" * 32, b"s" * 64])
    yield cbor([b"body", b"k" * 31, b"s" * 64])
    yield cbor([b"body", b"k" * 32])
    yield cbor([b"body", b"k" * 32, b"s" * 64, 1])
    yield cbor(every) + b"\0"
    yield cbor(every)[:-1]
    for value_ in wrong:
        yield cbor(value_)


def cid_seeds():
    yield CID1
    yield b"\x12\x20" + b"h" * 32
    for data in (b"\1\x55\x12\x20" + b"h" * 31, b"\1\x55\x12\x40" + b"h" * 64, CID1 + b"x", b"\2\x55",
                 b"\1\x55\0\3abc", b"\1\x55\x1e\x20" + b"h" * 32, b"\1\x70\x13\x40" + b"h" * 64,
                 b"\1\x55\x1b\x20" + b"h" * 32, b"\1\x55\x12\x80\1" + b"h" * 128, b"\1\x55\x12\4abcd"):
        yield data
        yield b"b" + base32(data)
        yield b"f" + data.hex().encode()
    yield b"b" + base32(b"\x12\x20" + b"h" * 32)
    yield b"a" * 400
    yield b"Q" + b"1" * 10
    yield b"QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"
    yield b"Qz"
    yield b"Z3xyz"


def frame(kind, ticket, head=None, body=b"", flags=0, zero=0):
    data = b"" if head is None else head if isinstance(head, Raw) else cbor(head)
    return struct.pack("<IBBHQI", 16 + len(data) + len(body), kind, flags, zero, ticket, len(data)) + data + body


HELLO, CALL, PART, WINDOW, CANCEL, UPDATE, LOG, BEAT, STOP = range(1, 10)
END, ATTACHMENT, MORE = 1, 4, 8
SIGNED = [b"body", b"k" * 32, b"s" * 64]
ROUTE = {"to": b"k" * 32, "away": True, "here": True, "avoid": [b"k" * 32, b"x"], "model": cid(CID1),
         "price": 7, "parent": 1, "plugin": "p"}


def frame_talks():
    hello = {"v": [1], "n": "x"}
    call = {"m": "m", "s": "s", "t": 5000}
    yield [frame(HELLO, 0, hello)]
    yield [frame(HELLO, 0, {"v": [2], "n": ""})]
    yield [frame(HELLO, 0, {"v": [1] * 9, "n": ""})]
    yield [frame(HELLO, 0, {"v": 1})]
    for more in ({}, {"a": [1], "j": b"j" * 16, "o": b"o" * 16, "u": 3, "v": SIGNED}, {"x": ROUTE},
                 {"c": ["cli", b""]}, {"x": {"avoid": []}}, {"t": 0}, {"z": 1}, {"a": {"b": 1}, "t": 1}):
        yield [frame(CALL, n, {**call, **more}, b"body") for n in (1, 2)]
        yield [frame(CALL, 2, {**call, **more}, b"body", END), frame(CALL, 1, {**call, **more}, b"b", END)]
    yield [frame(CALL, n, {"m": "m"}) for n in (1, 2)]
    for n in (1, 2):
        begin = frame(CALL, n, call)
        parts = [frame(PART, n, {"a": 1, "u": 2}, b"x"), frame(PART, n, {"v": SIGNED}),
                 frame(PART, n, {"w": b"k" * 32}, b"y")]
        yield [begin, *parts, frame(PART, n, {}, b"", END)]
        yield [begin, frame(PART, n, [1])]
        yield [begin, frame(CANCEL, n, {}), frame(PART, n, {}, b"late")]
        yield [begin, frame(WINDOW, n, {"c": 100}), frame(WINDOW, n, {"c": 2**20})]
        yield [begin, frame(WINDOW, n, {"c": 2**21})]
        yield [begin, frame(PART, n, {}, b"a" * 600, MORE), frame(PART, n, None, b"b" * 600, MORE),
               frame(PART, n, None, b"c", END)]
        yield [begin, frame(PART, n, {}, b"a", MORE), frame(PART, n, {}, b"b", MORE)]
        yield [begin, frame(PART, n, {}, b"a", MORE), frame(CANCEL, n, {})]
        yield [frame(CALL, n, call, b"a", MORE), frame(PART, n, None, b"b", MORE), frame(CANCEL, n, {})]
        yield [frame(CALL, n, call, b"a", MORE), frame(PART, n, None, b"b")]
        yield [begin, *[frame(PART, n, {}, b"z" * 3000)] * 30]
        yield [begin, *[frame(PART, n, {}, b"z" * 60000, MORE if k % 2 else 0) for k in range(6)]]
        yield [begin, *[frame(PART, n, {}, b"z" * 17000)] * 2]
        yield [begin, frame(PART, n, {}, b"z" * 17000, MORE), frame(PART, n, None, b"z" * 17000)]
        yield [frame(PART, n, {}, b"x")]
        yield [frame(CALL, k, call) for k in range(n, 530, 2)]
        yield [row for k in range(n, 420, 2) for row in (frame(CALL, k, call), frame(CANCEL, k, {}))]
        yield [begin, begin]
        for head in ({"st": 0}, {"st": -5, "why": "no", "a": [1], "u": 1}, {"st": 0, "r": SIGNED, "w": b"k" * 32},
                     {"st": 1}, {"st": -3}, {"st": -99}, {}):
            yield [frame(PART, n, {"a": 1}, b"answer"), frame(PART, n, head, b"", END)]
            yield [frame(PART, n, {}, b"cut", MORE), frame(PART, n, head, b"", END)]
        yield [frame(PART, n, {}, b"answer"), frame(WINDOW, n, {"c": 5}), frame(CANCEL, n, {})]
        yield [*[frame(PART, n, {}, b"z" * 60000)] * 4]
        yield [begin, frame(PART, n, {}, b"x", ATTACHMENT)]
    yield [frame(UPDATE, 0, {"a": 1, "topic": "record"}), frame(LOG, 0, {"text": "t", "level": 4}),
           frame(BEAT, 0, {}), frame(STOP, 0, {})]
    for kind in (UPDATE, LOG, WINDOW):
        yield [frame(kind, 1 if kind == WINDOW else 0, [1])]
    yield [frame(10, 0)]
    yield [frame(BEAT, 0, {}, zero=1)]
    yield [frame(BEAT, 1, {})]
    yield [frame(BEAT, 0, {}, b"x")]
    yield [frame(PART, 1, {}, b"", END | MORE)]
    yield [frame(PART, 1, {}, b"", 128)]
    yield [frame(PART, 0, {}, b"")]
    yield [struct.pack("<I", 3)]
    yield [struct.pack("<IBBHQI", 16, BEAT, 0, 0, 0, 9)]
    yield [struct.pack("<I", 2**24)]


def frame_seeds():
    for talk in frame_talks():
        for kind in range(4):
            for bits in (0, 4, 32 | 4, 64, 64 | 4 | 16, 128, 8, 16 | 32):
                yield bytes([kind | bits]) + b"".join(talk)


def sha(data):
    return hashlib.sha256(data).digest()


def proof_leaf(name, value_hash):
    return sha(b"\0" + bytes([len(name)]) + name + b"\x20" + value_hash)


def proof_of(ops, total, root, bucket=None, index=5, aunts=6, salt=b""):
    place = sha(b"key")[0] >> 4 if bucket is None else bucket
    top = [b"account.1.accounts.%04x" % place, index, sha(root + salt), [b"a" * 32] * aunts]
    return b"\3" + cbor([[total, ops], top])


def proof_seeds():
    one = proof_leaf(b"key", sha(b"value"))
    pair = {n: proof_leaf(n, sha(n)) for n in (b"a", b"z", b"kez")}
    row = [b"key", 0, sha(b"value"), []]
    yield proof_of([row], 1, one)
    yield proof_of([row], 1, one, salt=b"x")
    yield proof_of([row], 1, one, bucket=3 ^ (sha(b"key")[0] >> 4))
    yield proof_of([row], 1, one, aunts=5)
    yield proof_of([row], 2, one)
    yield proof_of([[b"kez", 0, sha(b"value"), []]], 1, one)
    yield proof_of([[b"key", 0, sha(b"other"), []]], 1, one)
    yield proof_of([], 0, sha(b""))
    yield proof_of([], 1, sha(b""))
    node = sha(b"\1" + pair[b"a"] + pair[b"z"])
    low, high = [b"a", 0, sha(b"a"), [pair[b"z"]]], [b"z", 1, sha(b"z"), [pair[b"a"]]]
    for rows in ([low, high], [high, low], [low], [high], [low, low], [high, high], [low, row]):
        yield proof_of(rows, 2, node)
    yield proof_of([low, [b"z", 1, sha(b"z"), [one]]], 2, node)
    yield proof_of([[b"a", 0, sha(b"a"), []]], 1, pair[b"a"])
    yield proof_of([[b"z", 0, sha(b"z"), []]], 1, pair[b"z"])
    yield proof_of([[b"z" * 300, 0, sha(b"z"), []]], 1, pair[b"z"])
    yield b"\3" + cbor([1])


def signed(body):
    return [cbor(body), b"k" * 32, b"s" * 64]


def ledger_seeds():
    op = ["account/1", "transfer", {"to": b"a" * 20, "amount": 5}]
    tx = {"a": b"a" * 20, "n": 1, "x": 0, "f": 0, "t": [op, op]}
    block = {"h": 1, "t": 2, "p": b"p" * 32, "d": b"d" * 32, "s": b"s" * 32, "r": b"r" * 32, "o": b"k" * 32}
    yield b"\0" + cbor(signed(tx))
    for change in ({"t": []}, {"t": [op[:2]]}, {"a": b""}, {"z": 1}, {"n": -1}):
        yield b"\0" + cbor(signed({**tx, **change}))
    yield b"\0" + cbor([b"no", b"k" * 32, b"s" * 64])
    yield b"\0" + cbor(1)
    yield b"\0" + b"x" * 70000
    for txs in ([], [signed(tx)], [signed(tx)] * 3, [1], [signed({})], {}):
        yield b"\1" + cbor([signed(block), txs])
        yield b"\1" + cbor([signed({**block, "d": sha(b"")}), txs])
    yield b"\1" + cbor([signed({}), []])
    yield b"\1" + cbor([signed(block)])
    yield b"\1" + cbor([1, []])
    yield b"\1" + cbor([b"", [], 1])
    yield b"\1\x18\1"
    yield b"\2"
    yield from genesis_seeds()
    yield from proof_seeds()


def uncbor(data, at=0):
    """(value, next) of an item of the kinds that genesis has."""
    major, low = data[at] >> 5, data[at] & 31
    size = {24: 1, 25: 2, 26: 4, 27: 8}.get(low, 0)
    number = int.from_bytes(data[at + 1:at + 1 + size], "big") if size else low
    at += 1 + size
    if major == 0:
        return number, at
    if major in (2, 3):
        part = data[at:at + number]
        return part if major == 2 else part.decode(), at + number
    rows = []
    for _ in range(number * (major - 3)):
        row, at = uncbor(data, at)
        rows.append(row)
    return rows if major == 4 else dict(zip(rows[::2], rows[1::2])), at


def genesis_seeds():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus/ledger/genesis-0"), "rb") as file:
        good = uncbor(file.read()[1:])[0]
    modules, tables, account, member = (good["modules"], good["tables"], good["accounts"][0],
                                        good["members"][0])
    wide = [{**row, "bits": row["bits"] + 1} for row in tables]
    for change in ({}, {"params": {}}, {"params": {"hold_ms": 2**40}}, {"modules": modules[1:]},
                   {"modules": modules[:1]}, {"modules": modules + modules[:1]}, {"tables": tables[1:]},
                   {"modules": [{**modules[0], "rules": 9}, *modules[1:]]}, {"tables": tables + tables[:1]},
                   {"modules": [{**modules[0], "id": "x/1"}, *modules[1:]]}, {"tables": wide},
                   {"tables": tables + [{**tables[0], "n": "more"}]}, {"members": [{**member, "owner": b"o" * 20}]},
                   {"accounts": [{**account, "a": b"a" * 20}]}, {"orderer": b"\0" * 32}, {"v": 2}):
        yield b"\2" + cbor({**good, **change})


def openai_seeds():
    base = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    long = ["x"] * 5000
    wrong = [None, True, 1, -1, 0, 2.5, 1e300, "", "none", "x", [], {}, ["x"], [1], [[1, 2], [3]], [[]],
             ["text"], ["audio"], {"type": "text"}, {"type": "json_object"}, {"type": 1}, {"x": 1},
             ["a", ""], ["a" * 600], ["a", "b", "c", "d", "e"], {"include_usage": True},
             {"include_obfuscation": False}, {"include_usage": 1}, 2**40, 999999999999999999, long,
             [-1], [2**40], {"1": 5}]
    fields = ["model", "messages", "prompt", "max_tokens", "max_completion_tokens", "temperature",
              "top_p", "n", "stop", "seed", "stream", "stream_options", "logprobs", "top_logprobs",
              "presence_penalty", "frequency_penalty", "logit_bias", "user", "tools", "tool_choice",
              "functions", "function_call", "response_format", "modalities", "audio", "store",
              "metadata", "parallel_tool_calls", "prediction", "reasoning_effort", "service_tier",
              "web_search_options", "echo", "suffix", "best_of", "unknown", "verbosity"]
    for field in fields:
        for value_ in wrong:
            yield b"0" + json.dumps({**base, field: value_}).encode()
            yield b"1" + json.dumps({"model": "m", "prompt": "p", field: value_}).encode()
    messages = [[{"role": "user"}], [{"content": "x"}], [{"role": "user", "content": 1}], [1], long,
                [{"role": "system", "content": None}], [{"role": "assistant", "content": None}],
                [{"role": "assistant", "content": "a", "tool_calls": []}],
                [{"role": "assistant", "content": "a", "tool_calls": [1], "refusal": None}],
                [{"role": "assistant", "content": "a", "refusal": "no", "audio": None}],
                [{"role": "tool", "content": "x", "tool_call_id": "c"}], [{"role": "boss", "content": "x"}],
                [{"role": "user", "content": [{"type": "image_url"}]}],
                [{"role": "user", "content": [{"type": "text"}]}],
                [{"role": "user", "content": [{"type": "text", "text": 1}]}],
                [{"role": "user", "content": [1]}], [{"role": "user", "content": []}],
                [{"role": "user", "content": "x", "name": "n", "extra": 1}],
                [{"role": "user", "content": "x", "function_call": {}}],
                [{"role": "user", "content": [{"type": "text", "text": "x", "more": 1}]}]]
    for rows in messages:
        yield b"0" + json.dumps({"model": "m", "messages": rows}).encode()
    for more in ({"n": 100}, {"n": 128, "stream": True}, {"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 21},
                 {"max_tokens": 5, "max_completion_tokens": 6}, {"temperature": 2.1}, {"top_p": 0},
                 {"stop": ["a"] * 4}, {"seed": -5}, {"seed": 2**63 - 1}, {"stream_options": {"include_usage": True}}):
        yield b"0" + json.dumps({**base, **more}).encode()
    yield b"1" + json.dumps({"model": "m", "prompt": ["a"] * 100, "n": 100}).encode()
    yield b"0" + json.dumps(base).encode() + b"x"
    for text_ in (b"{", b"[]", b"", b"\xff", b'{"model":"m","model":"n"}', b'{"model":"\xc3("}', b"{" * 3000):
        yield b"0" + text_


def settings_seeds():
    schema = json.dumps({"type": "object", "properties": {"a": {"type": "string"},
                                                          "b": {"type": "integer", "format": "bytes"}}})
    for yaml in ("a: x\n", "? [a]:\t:  1}\n", "a: 1\n? b\n", "{? a : b}", "a: \x01\n", "a: &x 1\n", "a: [1, *x]\n",
                 "- *x\n", "a: !!int 1\n", "a: |\n  x\n", "%YAML 1.2\n", "a: @x\n", "---\na: 1\n", "a: 1\n...\n",
                 "a: \"x\n  y\"\n", "[" * 17, "- " * 17 + "x", "a: 'it''s ? [a]' # \"no\r\n", "{\"a\":\"b\", c: [1, 'd']}\n",
                 "a: \"q \\\" \\\\\"\n", "a: [1\n", "a: caf\u00e9\nb: 12GiB\n", "b: 9223372036854775807\n",
                 "a: rock 'n' roll & more! > 5? *yes*\nb: 1.5KiB\n"):
        yield schema.encode() + b"\0" + yaml.encode()
    yield schema.encode() + b"\0a: \xff\n"


def unixfs_seeds():
    def field(number, wire, data):
        return bytes([number << 3 | wire]) + data

    def chunk(data):
        return varint(len(data)) + data

    def varint(n):
        out = b""
        while n > 127:
            out, n = out + bytes([n & 127 | 128]), n >> 7
        return out + bytes([n])

    def node(data, links=0):
        link = b"".join(field(2, 2, chunk(field(1, 2, chunk(CID1[:-1] + b"\1")) + field(2, 2, chunk(b"n%d" % n)) +
                                          field(3, 0, varint(9)))) for n in range(links))
        out = link + field(1, 2, chunk(data))
        return struct.pack(">H", len(out)) + out

    def fs(kind, *more):
        return field(1, 0, varint(kind)) + b"".join(more)
    sizes = [field(4, 0, varint(5)), field(4, 2, chunk(varint(5) + varint(300)))]
    times = [field(1, 0, varint(9)), field(2, 5, struct.pack("<I", 7)), field(2, 5, struct.pack("<I", 0)),
             field(3, 0, b"\1"), field(1, 0, b"\xff")]
    leaf = struct.pack(">H", 5) + b"abcde"
    yield node(fs(2, sizes[1], field(3, 0, varint(305))), 2) + leaf
    yield node(fs(2, sizes[0], sizes[0], field(3, 0, varint(11))), 2) + leaf
    yield node(fs(2, field(2, 2, chunk(b"data")), field(3, 0, varint(5))))
    yield node(fs(2, field(2, 2, varint(99) + b"x")))
    yield node(fs(2, field(4, 0, varint(2**63 - 1)), field(4, 0, varint(2**62)), field(4, 0, varint(2**62))), 3)
    yield node(fs(9)) + leaf
    yield node(fs(2, field(1, 0, b"\2")))
    yield node(fs(2, sizes[0]), 0)
    yield node(fs(2, field(3, 0, varint(3))), 0)
    yield node(fs(2, field(9, 0, b"\1")))
    yield node(b"")
    yield node(fs(2, field(7, 0, varint(420)), field(8, 2, chunk(times[0] + times[1]))))
    for more in ([times[0]], [times[1]], [times[0], times[2]], [times[3]], [times[4]]):
        yield node(fs(1, field(8, 2, chunk(b"".join(more)))))
    for fanout, kind in ((256, 0x22), (7, 0x22), (2048, 0x22), (256, 1)):
        yield node(fs(5, field(2, 2, chunk(b"\3")), field(5, 0, varint(kind)), field(6, 0, varint(fanout))), 2)
    yield node(fs(4, field(2, 2, chunk(b"target"))))


SEEDS = {"cbor": cbor_seeds, "cid": cid_seeds, "frame": frame_seeds, "gguf": gguf_seeds,
         "invite": invite_seeds, "ledger": ledger_seeds, "openai": openai_seeds,
         "settings": settings_seeds, "template": template_seeds, "unixfs": unixfs_seeds}


def main():
    for name, seeds in SEEDS.items():
        folder = os.path.join(sys.argv[1], name)
        os.makedirs(folder, exist_ok=True)
        for number, seed in enumerate(seeds()):
            with open(os.path.join(folder, f"{number:04d}"), "wb") as file:
                file.write(seed)


if __name__ == "__main__":
    main()
