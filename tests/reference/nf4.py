"""What bitsandbytes makes of weights in NF4 with double quantisation: fixtures/nf4.json.

Usage: python tests/reference/nf4.py

Matrices of odd sizes, one with an outlier, one with rows of zeros. Of each: the packed codes, the codes of the blocks' scales, what these are
scaled by and shifted by, and the values that come back, as the bits of float32 in hexadecimal. Values are numbers of bfloat16, of which the upper half is written. `quant_map` and `nested_quant_map` are the tables themselves.
"""

import json
from pathlib import Path

import bitsandbytes.functional as functional
import numpy as np
import torch

OUTPUT = Path(__file__).parent / "fixtures" / "nf4.json"
SHAPES = [(1, 1), (3, 5), (1, 64), (7, 33), (24, 40), (57, 301)]


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(17)
    cases = [quantised(rng.normal(0, 0.02, shape).astype(np.float32)) for shape in SHAPES]
    outlier = rng.normal(0, 0.02, (16, 64)).astype(np.float32)
    outlier[3, 7], outlier[5], outlier[9] = 4.0, 0.0, 0.0
    cases.append(quantised(outlier))
    table = [bits(functional.get_4bit_type("nf4", device="cpu")), bits(functional.create_dynamic_map())]
    text = json.dumps({"quant_map": table[0], "nested_quant_map": table[1], "cases": cases}, separators=(",", ":"))
    OUTPUT.write_text(text.replace('{"shape"', '\n{"shape"') + "\n")
    print(f"{OUTPUT.name}: {len(cases)} matrices, {OUTPUT.stat().st_size / 1000:.0f} kB")


def quantised(values: np.ndarray) -> dict:
    weight = torch.from_numpy(values).bfloat16().float()
    packed, state = functional.quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
    back = functional.dequantize_4bit(packed, state).reshape(values.shape)
    return {
        "shape": list(values.shape),
        "values": weight.bfloat16().view(torch.int16).numpy().astype(">i2").tobytes().hex(),
        "packed": bytes(packed.flatten().tolist()).hex(),
        "absmax": bytes(state.absmax.flatten().tolist()).hex(),
        "nested_absmax": bits(state.state2.absmax),
        "offset": bits(state.offset.reshape(1)),
        "dequantised": bits(back),
    }


def bits(values: torch.Tensor) -> str:
    return values.detach().contiguous().flatten().numpy().astype(">f4").tobytes().hex()


if __name__ == "__main__":
    main()
