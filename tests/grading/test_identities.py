"""Identities that hold at some points only, or of notation that is not understood, are no equality.

Each kind has pairs that must differ, whichever side is the reference, and neighbours that are right. All items are
written for these tests.
"""

from __future__ import annotations

import pytest

from dart_tasks.grading import equal

DIFFERENT: dict[str, list[tuple[str, str]]] = {
    "function of its argument": [
        ("f(x+y)", "f(x)+f(y)"),
        ("2f(x)", "f(2x)"),
        ("f(g(x))", "g(f(x))"),
        ("f(x^2)", "x f(x)"),
        ("f(x)", "f x"),
        ("f(x^2)", "f(x)^2"),
        ("f(-x)", "-f(x)"),
        ("f(x, y)", "f(y, x)"),
        ("f(0)", "0"),
        ("f(x)g(x)", "f(g(x))"),
        ("f(3)", "3f(1)"),
        ("f'(x)", "f(x)"),
        ("f(x+1)", "f(x)+1"),
        (r"f\left(\frac{x}{2}\right)", r"\frac{f(x)}{2}"),
        (r"f^{-1}(x)", r"\frac{1}{f(x)}"),
        ("h(x+y)", "h(x)+h(y)"),
        ("P(x^2)", "P(x)x"),
        (r"\phi(2n)", r"2\phi(n)"),
        (r"\Gamma(n+1)", r"\Gamma(n)+\Gamma(1)"),
        (r"\operatorname{Var}(2X)", r"2\operatorname{Var}(X)"),
        (r"\mathrm{Var}(2X)", r"2\mathrm{Var}(X)"),
        ("Cov(X, 2Y)", "2Cov(X, Y)"),
        ("sgn(2x)", "2sgn(x)"),
        (r"f\circ g", r"g\circ f"),
        (r"(f\circ g)(x)", r"(g\circ f)(x)"),
        (r"(f+g)(x)", r"f(g(x))"),
        ("f^{(2)}(x)", "f^{(3)}(x)"),
    ],
}  # fmt: skip

SAME: dict[str, list[tuple[str, str]]] = {
    "function of its argument": [
        ("f(x+y)", "f(y+x)"),
        ("2f(x)", "f(x) + f(x)"),
        ("f(x)+g(x)", "g(x) + f(x)"),
        ("f((x+1)^2)", "f(x^2+2x+1)"),
        (r"f\left(\frac{x}{2}\right)", "f(x/2)"),
        ("f(g(x))", r"(f \circ g)(x)"),
        ("f(x)+g(x)", "(f+g)(x)"),
        ("f(x)g(x)", "(fg)(x)"),
        (r"\frac{f(x)}{g(x)}", r"\left(\frac{f}{g}\right)(x)"),
        ("f(x) = x^2", "x^2"),
        ("f(2) = 7", "7"),
        ("P(x) = x^2 + 1", "x^2+1"),
        (r"\phi(n)", r"\varphi(n)"),
        ("4", "f(2) = 4"),
        ("P(1+r)^2", "P(r+1)(1+r)"),
        ("p(1-p)", "p - p^2"),
        (r"\frac{1}{2}h(a+b)", r"\frac{ha+hb}{2}"),
        ("r(r+1)", "r^2+r"),
        ("x(x+1)", "x^2+x"),
        ("y(y-1)", "y^2-y"),
        (r"30^\circ", r"30\circ"),
    ],
}  # fmt: skip


def _cases(table: dict[str, list[tuple[str, str]]]) -> list[object]:
    return [pytest.param(*pair, id=f"{kind}: {' / '.join(pair)}") for kind, pairs in table.items() for pair in pairs]


@pytest.mark.parametrize(("first", "second"), _cases(DIFFERENT))
def test_refused_both_ways(first: str, second: str) -> None:
    assert not equal(first, second)
    assert not equal(second, first)


@pytest.mark.parametrize(("first", "second"), _cases(SAME))
def test_accepted_both_ways(first: str, second: str) -> None:
    assert equal(first, second)
    assert equal(second, first)
