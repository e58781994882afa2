"""Small symmetric systems, built and solved one at a time inside compiled loops, in float32.

Only upper triangles are read. Sizes are multiples of 8: whole vectors of eight leave no remainder,
the slow part where a size is small.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

__all__ = ["add_outer", "add_products", "factorize", "solve"]


@nb.njit(fastmath=True, nogil=True, cache=True)
def add_products(a: Any, rows: Any, n: Any) -> None:
    """a[i, j] += rows[i, :n] · rows[j, :n] for i <= j; n is a multiple of 8.

    Sixteen dot products at a time: that is 16 multiplications for 8 loads and no store, which
    brings it near the speed of a BLAS, without its threads. Some entries below the diagonal are
    written too; nothing reads them.
    """
    for i in range(0, len(a), 4):
        x0, x1, x2, x3 = rows[i, :n], rows[i + 1, :n], rows[i + 2, :n], rows[i + 3, :n]
        a0, a1, a2, a3 = a[i], a[i + 1], a[i + 2], a[i + 3]
        for j in range(i, len(a), 4):
            y0, y1, y2, y3 = rows[j, :n], rows[j + 1, :n], rows[j + 2, :n], rows[j + 3, :n]
            s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = np.float32(0)
            s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = np.float32(0)
            for k in range(n):
                f0, f1, f2, f3 = x0[k], x1[k], x2[k], x3[k]
                g0, g1, g2, g3 = y0[k], y1[k], y2[k], y3[k]
                s00 += f0 * g0
                s01 += f0 * g1
                s02 += f0 * g2
                s03 += f0 * g3
                s10 += f1 * g0
                s11 += f1 * g1
                s12 += f1 * g2
                s13 += f1 * g3
                s20 += f2 * g0
                s21 += f2 * g1
                s22 += f2 * g2
                s23 += f2 * g3
                s30 += f3 * g0
                s31 += f3 * g1
                s32 += f3 * g2
                s33 += f3 * g3
            a0[j] += s00
            a0[j + 1] += s01
            a0[j + 2] += s02
            a0[j + 3] += s03
            a1[j] += s10
            a1[j + 1] += s11
            a1[j + 2] += s12
            a1[j + 3] += s13
            a2[j] += s20
            a2[j + 1] += s21
            a2[j + 2] += s22
            a2[j + 3] += s23
            a3[j] += s30
            a3[j + 1] += s31
            a3[j + 2] += s32
            a3[j + 3] += s33


@nb.njit(fastmath=True, nogil=True, cache=True)
def add_outer(a: Any, panel: Any, start: Any, stop: Any, first: Any, last: Any, sign: Any) -> None:
    """a[i, j] += sign * sum_{start <= k < stop} panel[k, i] panel[k, j], first <= i < last, i <= j.

    Four rows of `a` and four of `panel` at a time: 16 multiplications for 8 loads and 4 stores is
    what brings it near the speed of a BLAS, without its threads. Some entries below the diagonal
    are written too; nothing reads them.
    """
    # Rows of `a` outside: four of them stay in the first-level cache while the panel passes by.
    for i in range(first, last, 4):
        for k in range(start, stop, 4):
            f00, f01 = sign * panel[k, i], sign * panel[k, i + 1]
            f02, f03 = sign * panel[k, i + 2], sign * panel[k, i + 3]
            f10, f11 = sign * panel[k + 1, i], sign * panel[k + 1, i + 1]
            f12, f13 = sign * panel[k + 1, i + 2], sign * panel[k + 1, i + 3]
            f20, f21 = sign * panel[k + 2, i], sign * panel[k + 2, i + 1]
            f22, f23 = sign * panel[k + 2, i + 2], sign * panel[k + 2, i + 3]
            f30, f31 = sign * panel[k + 3, i], sign * panel[k + 3, i + 1]
            f32, f33 = sign * panel[k + 3, i + 2], sign * panel[k + 3, i + 3]
            # Whole vectors of eight leave no remainder, the slow part where d is small.
            left = i - i % 8
            p0, p1 = panel[k, left:], panel[k + 1, left:]
            p2, p3 = panel[k + 2, left:], panel[k + 3, left:]
            a0, a1, a2, a3 = a[i, left:], a[i + 1, left:], a[i + 2, left:], a[i + 3, left:]
            # From 0 over slices: otherwise Numba checks for negative indices and cannot vectorise.
            for j in range(len(a0)):
                q0, q1, q2, q3 = p0[j], p1[j], p2[j], p3[j]
                a0[j] += f00 * q0 + f10 * q1 + f20 * q2 + f30 * q3
                a1[j] += f01 * q0 + f11 * q1 + f21 * q2 + f31 * q3
                a2[j] += f02 * q0 + f12 * q1 + f22 * q2 + f32 * q3
                a3[j] += f03 * q0 + f13 * q1 + f23 * q2 + f33 * q3


@nb.njit(fastmath=True, nogil=True, cache=True)
def factorize(a: Any) -> None:
    """Overwrites the upper triangle of a [d, d] with U, a = U'U; d is a multiple of 8."""
    d = len(a)
    largest = np.float32(0)
    for i in range(d):
        largest = max(largest, a[i, i])
    for start in range(0, d, 4):
        add_outer(a, a, 0, start, start, start + 4, np.float32(-1))
        for k in range(start, start + 4):
            row = a[k, k:]
            for above in range(start, k):
                factor, other = a[above, k], a[above, k:]
                for j in range(len(row)):
                    row[j] -= factor * other[j]
            if row[0] < np.float32(1e-6) * largest:
                # What is left of this direction is rounding error: leave it out of the solution.
                row[0] = largest
                for j in range(1, len(row)):
                    row[j] = 0
            scale = np.float32(1) / np.sqrt(row[0])
            for j in range(len(row)):
                row[j] *= scale


@nb.njit(fastmath=True, nogil=True, cache=True)
def solve(u: Any, b: Any) -> None:
    """Overwrites b [d] with the solution of U'U x = b."""
    for i in range(len(b)):
        b[i] /= u[i, i]
        value, row, rest = b[i], u[i, i + 1 :], b[i + 1 :]
        for j in range(len(rest)):
            rest[j] -= value * row[j]
    for i in range(len(b) - 1, -1, -1):
        total, row, rest = np.float32(0), u[i, i + 1 :], b[i + 1 :]
        for j in range(len(rest)):
            total += row[j] * rest[j]
        b[i] = (b[i] - total) / u[i, i]
