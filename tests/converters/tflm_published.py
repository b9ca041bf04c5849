"""What TFLite Micro tests its own Huffman decoder with: a stream, its tables, and what it says.

Numbers of tensorflow/lite/micro/kernels/decode_state_huffman_test.cc in tensorflow/tflite-micro,
Copyright 2025 The TensorFlow Authors, Apache License 2.0.
"""

from __future__ import annotations

TEXT = b"nmmacnanefdacopjomeckifookhbdbdmjjdmjgojfecpbiibmanbbjbnlgjafejp"

ENCODED = bytes.fromhex("f00d79fc9c1a6e4c32af29b35df6360250158ca795db29683fbab7edb119e2e0")

#: Entries of 16 bits, the first table of eight.
NARROW_TABLE = (
    0x986D, 0x9861, 0x986A, 0x0005, 0x0806, 0x0809, 0x000E, 0x000F,
    0x886F, 0x8868,
    0x8864, 0x8864, 0x9069, 0x9066,
    0x8863, 0x8863, 0x0002, 0x906B,
    0x8867, 0x886C,
    0x8865, 0x8862,
    0x8870, 0x886E,
)  # fmt: skip

#: The same in entries of 32 bits.
WIDE_TABLE = (
    0x9800006D, 0x98000061, 0x9800006A, 0x00000005, 0x08000006, 0x08000009, 0x0000000E, 0x0000000F,
    0x8800006F, 0x88000068,
    0x88000064, 0x88000064, 0x90000069, 0x90000066,
    0x88000063, 0x88000063, 0x00000002, 0x9000006B,
    0x88000067, 0x8800006C,
    0x88000065, 0x88000062,
    0x88000070, 0x8800006E,
)  # fmt: skip
