"""Counter-based dropout masks, in numpy: the same bits as the Rust side draws, from (seed, step, site, row, column) alone.

Run as a program it checks the keep rate and that nothing but the five numbers matters: `python tests/reference/dropout.py`.
"""

import numpy as np

MASK64 = 2**64 - 1
GOLDEN64 = 0x9E3779B97F4A7C15
GOLDEN32 = np.uint32(0x9E3779B9)


def mix64(z: int) -> int:
    """A bijection of 64-bit integers that spreads every bit (the finaliser of splitmix64)."""
    z ^= z >> 30
    z = z * 0xBF58476D1CE4E5B9 & MASK64
    z ^= z >> 27
    z = z * 0x94D049BB133111EB & MASK64
    return z ^ z >> 31


def combine(key: int, value: int) -> int:
    """The key that follows from `key` and one more number."""
    return mix64((key ^ value) + GOLDEN64 & MASK64)


def stream(seed: int, step: int, site: int) -> int:
    """The key of one dropout site in one training step."""
    return combine(combine(mix64(seed), step), site)


def threshold(p: float) -> int:
    """An element is dropped when its 32 random bits are below this."""
    return round(p * 2**32)


def row_bits(row_key: int, columns: int) -> np.ndarray:
    """32 random bits for each element of a row: uint32 [columns]."""
    k0, k1 = np.uint32(row_key & 0xFFFFFFFF), np.uint32(row_key >> 32)
    x = np.arange(columns, dtype=np.uint32) * GOLDEN32 + k0
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= k1
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def keep_mask(seed: int, step: int, site: int, rows: range | list[int], columns: int, p: float) -> np.ndarray:
    """True where an element is kept: bool [rows, columns]. Kept values are to be multiplied by 1 / (1 - p)."""
    key = stream(seed, step, site)
    return np.stack([row_bits(combine(key, row), columns) >= threshold(p) for row in rows])


def _check() -> None:
    rows, columns = 2000, 384
    for p in (0.0, 0.1, 0.15, 0.2, 0.5):
        mask = keep_mask(7, 3, 4, range(rows), columns, p)
        deviation = 4 * (p * (1 - p) / mask.size) ** 0.5  # four standard deviations of the mean
        rate = mask.mean()
        print(f"p = {p}: kept {rate:.5f}, expected {1 - p:.5f} within {deviation:.5f}")
        assert abs(rate - (1 - p)) <= deviation
    masks = [keep_mask(*key, range(64), 65, 0.5) for key in [(7, 3, 4), (8, 3, 4), (7, 4, 4), (7, 3, 5)]]
    for other in masks[1:]:  # another seed, step or site gives an unrelated mask
        assert abs((masks[0] == other).mean() - 0.5) < 0.04
    assert np.array_equal(keep_mask(7, 3, 4, [5], 33, 0.1)[0], keep_mask(7, 3, 4, range(64), 65, 0.1)[5, :33])
    neighbours = keep_mask(1, 1, 1, range(2000), 384, 0.5).astype(float) - 0.5
    for shifted in (neighbours[1:] * neighbours[:-1], neighbours[:, 1:] * neighbours[:, :-1]):
        assert abs(shifted.mean()) < 0.002, "neighbouring elements are correlated"
    print("bits of (seed 7, step 3, site 0, row 0, columns 0..4):", row_bits(combine(stream(7, 3, 0), 0), 4).tolist())


if __name__ == "__main__":
    _check()
