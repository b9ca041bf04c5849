"""Reports of dcaudit made by hand, for the tests of the page."""

from __future__ import annotations

import random
from typing import Any

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def tensor(index: int, name: str, layer: str, op: str, role: str, size: int, **more: Any) -> Any:
    rng = random.Random(index)
    purposes = {"record": 32, "symbols": max(1, int(size * 0.8)), "scales": 16, "gaps": size // 9}
    bell = [sum(rng.random() for _ in range(6)) for _ in range(size)]
    histogram = [0] * 48
    for value in bell:
        histogram[min(47, int(value * 8))] += 1
    levels = sorted({round(-0.4 + 0.8 * i / 31, 4) for i in range(32)})
    row = {
        "index": index,
        "name": name,
        "tied_to": None,
        "layer": layer,
        "op": op,
        "role": role,
        "dtype": "FLOAT",
        "shape": [16, size // 16],
        "elements": size,
        "layout": "GAP" if size > 900 else "DENSE",
        "values": "CODEBOOK",
        "coder": "HUFFMAN",
        "number": "FLOAT",
        "status": "ok",
        "reason": "",
        "bytes": sum(purposes.values()),
        "share": 0.1,
        "purposes": purposes,
        "bits_per_element": 8 * sum(purposes.values()) / size,
        "zeros": size // 3,
        "distinct": 32,
        "levels": 32,
        "q_format": None,
        "entropy_bits": size * 5.9,
        "coded_bytes": purposes["symbols"],
        "efficiency": 1 + rng.random() / 9,
        "low": -0.41,
        "high": 0.43,
        "histogram": histogram if role == "weight" else None,
        "level_values": levels if role == "weight" else None,
        "largest_error": 0.0031,
        "rms_error": 0.0011,
        "content": "00",
    }
    return {**row, **more}


OPS = ("Conv", "Conv", "Gemm", "LSTM", "BatchNormalization", "Gather")


def report(layers: int = 6, name: str = "model.dcf", names: Any = None) -> Any:
    """Return a report of a model of so many layers, with weight and bias each."""
    rng = random.Random(layers)
    tensors: list[Any] = []
    groups = []
    for number in range(layers):
        layer = names[number] if names else f"block{number // 4}/{LETTERS[number % 26]}{number}"
        op = OPS[number % len(OPS)]
        size = 64 + int(4000 * rng.random() ** 3)
        made = [
            tensor(len(tensors), f"{layer}.weight", layer, op, "weight", size),
            tensor(len(tensors) + 1, f"{layer}.bias", layer, op, "bias", 64),
        ]
        tensors += made
        purposes: dict[str, int] = {}
        for row in made:
            for key, value in row["purposes"].items():
                purposes[key] = purposes.get(key, 0) + value
        groups.append(
            {
                "name": layer,
                "op": op,
                "tensors": [row["index"] for row in made],
                "bytes": sum(purposes.values()),
                "share": 0.1,
                "elements": size + 64,
                "purposes": purposes,
            }
        )
    frame = [
        {"purpose": "header", "bytes": 48},
        {"purpose": "section_table", "bytes": 256},
        {"purpose": "graph", "bytes": 900 + 40 * layers},
        {"purpose": "names", "bytes": 20 * layers},
        {"purpose": "huffman", "bytes": 77, "table": 0, "users": [groups[0]["name"]]},
    ]
    total = sum(row["bytes"] for row in [*tensors, *frame])
    purposes = {}
    for row in frame:
        purposes[row["purpose"]] = purposes.get(row["purpose"], 0) + row["bytes"]
    for row in tensors:
        for key, value in row["purposes"].items():
            purposes[key] = purposes.get(key, 0) + value
    return {
        "command": "dcaudit",
        "version": "0.1.0",
        "schema": "1.2",
        "status": "ok",
        "file": {
            "name": name,
            "format": "dcf",
            "bytes": total,
            "content_id": "0123456789abcdef" * 4,
            "producer": "dcformat 0.1.0",
        },
        "source": None,
        "estimate": None,
        "sections": [],
        "purposes": [
            {"purpose": k, "bytes": v, "share": v / total}
            for k, v in sorted(purposes.items(), key=lambda item: -item[1])
        ],
        "frame": frame,
        "tensors": tensors,
        "layers": groups,
        "totals": {
            "tensors": len(tensors),
            "elements": sum(row["elements"] for row in tensors),
            "zeros": sum(row["zeros"] for row in tensors),
            "bits_per_element": 4.2,
            "entropy_bits": 1.0,
            "coded_bytes": 1,
            "efficiency": 1.043,
        },
        "problems": [],
        "diff": None,
        "budget": None,
        "compute": None,
        "activations": None,
    }


def full(layers: int = 12) -> Any:
    """Return a report that has every block."""
    made = report(layers)
    rows = [
        {
            "name": row["name"],
            "op": row["op"],
            "where": "",
            "status": "counted",
            "inputs": [[1, 16, 14, 14]],
            "outputs": [[1, 16, 14, 14]],
            "weights": [],
            "macs": 9000 * (number + 1),
            "flops": 18000 * (number + 1),
            "skipped": 2000 * number,
            "parameters": row["elements"],
            "parameter_bytes": 4 * row["elements"],
            "activation_bytes": 25088,
            "intensity": 3.25,
            "in_total": True,
        }
        for number, row in enumerate(made["layers"])
    ]
    made["compute"] = {
        "macs": sum(row["macs"] for row in rows),
        "flops": 2 * sum(row["macs"] for row in rows),
        "complete": True,
        "skipped": 120_000,
        "parameters": 1,
        "parameter_bytes": 4,
        "activation_bytes": 1,
        "intensity": 3.0,
        "peak": {"bytes": 25088, "node": "block0/a0", "tensors": [], "complete": True},
        "layers": rows,
        "separable": [
            {
                "depthwise": "dw",
                "pointwise": "pw",
                "depthwise_macs": 7_225_344,
                "pointwise_macs": 102_760_448,
                "macs": 109_985_792,
                "plain_macs": 924_844_032,
            }
        ],
        "assumed": ["input 'x': dimension 'N' taken as 1"],
        "notes": [],
    }
    made["activations"] = {
        "samples": 64,
        "epsilon": 0.0,
        "layers": [
            {
                "name": "relu1",
                "op": "Relu",
                "tensor": "r",
                "shape": [8, 28, 28],
                "elements": 401_408,
                "zeros": 200_000,
                "zero_share": 0.498,
                "near_zeros": 210_000,
                "near_zero_share": 0.523,
                "low": 0.0,
                "high": 6.25,
                "not_finite": 0,
                "fraction8": 4,
                "fraction16": 12,
                "channels": 8,
                "dead_channels": [3],
                "histogram": [5] * 48,
            }
        ],
        "notes": [],
    }
    made["diff"] = {
        "baseline": {"name": "old.dcf", "bytes": 12},
        "bytes": -320,
        "rows": [
            {
                "name": "a",
                "was": "b",
                "how": "content",
                "before": 400,
                "after": 80,
                "change": -320,
                "purposes": {},
                "changed_content": True,
            }
        ],
        "frame": [],
    }
    made["budget"] = {
        "ok": False,
        "limits": [
            {
                "what": "file",
                "limit": 1000,
                "bytes": 1200,
                "over": 200,
                "ok": False,
                "advice": "take bits = 4 for block1/e4",
            }
        ],
    }
    return made
