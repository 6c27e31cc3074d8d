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
    "derivative": [
        (r"\frac{dy}{dx}", r"\frac{y}{x}"),
        (r"\frac{d^2y}{dx^2}", r"\frac{dy}{x^2}"),
        (r"\frac{d^2y}{dx^2}", r"\frac{dy}{dx}"),
        (r"\frac{d^2y}{dx^2}", r"\left(\frac{dy}{dx}\right)^2"),
        (r"\frac{dy}{dx}", r"\frac{dx}{dy}"),
        (r"\frac{dy}{dx}", r"\frac{dy}{dt}"),
        ("dy/dx", "y/x"),
        ("d^2y/dx^2", "y/x^2"),
        (r"\frac{d}{dx}(x^2)", "x"),
        (r"\frac{d}{dx}(xy)", r"x\frac{d}{dx}(y)"),
        (r"\frac{d}{dx} f(2x)", r"2\frac{d}{dx} f(x)"),
        (r"\frac{d}{dx} \sin x", r"\frac{1}{x}\sin x"),
        (r"\frac{\partial f}{\partial x}", r"\frac{f}{x}"),
        (r"\frac{\partial f}{\partial x}", r"\frac{\partial f}{\partial y}"),
        (r"\frac{\partial^2 f}{\partial x \partial y}", r"\frac{\partial^2 f}{\partial x^2}"),
        (r"\frac{\partial f}{\partial x}", r"\frac{df}{dx}"),
        (r"\frac{2dy}{dx}", r"\frac{2y}{x}"),
        (r"\frac{d^ny}{dx^n}", r"\frac{dy}{dx}"),
        (r"\frac{dy}{dx} = 2x", r"\frac{dx}{dy} = 2x"),
        (r"\frac{d}{dt}", r"\frac{1}{t}"),
    ],
    "accent": [
        (r"\overline{z}", "z"),
        (r"\bar{z}", "z"),
        (r"\bar{z}", "-z"),
        (r"\overline{z+w}", "z+w"),
        (r"\overline{z}^2", r"z\overline{z}"),
        (r"\overline{zw}", r"z\overline{w}"),
        (r"\overline{2+3i}", "2+3i"),
        (r"\overline{A}", "A"),
        (r"\overline{x^2}", r"\overline{x}^2"),
        (r"\overline{abc}", "abc"),
        (r"\bar{x}", "x"),
        (r"\bar{x}_1", "x_1"),
        (r"\tilde{x}", "x"),
        (r"\hat{p}", "p"),
        (r"\hat{p}", r"\bar{p}"),
        (r"\overline{f(x)}", "f(x)"),
        (r"\overline{iz}", r"i\overline{z}"),
        (r"\bar{x} - \bar{y}", "x - y"),
        (r"\bar{x} = 5", "x = 6"),
        (r"\bar{z} = 1+i", "z = 1+i"),
    ],
    "primes": [
        ("y''", "y'"),
        ("f''(x)", "f'(x)"),
        (r"y^{\prime\prime}", "y'"),
        ("y'''", "y''"),
    ],
    "numeral with letters": [
        ("-0x584", "-0x585"),
        ("-0x584", "0x584"),
        ("0x1F", "0x2F"),
        ("0x10", "10"),
        ("0b101", "0b100"),
        ("0b101", "101"),
        ("0o17", "17"),
        ("0x584", "0"),
        ("0xFF", "0"),
        ("x2", "2x"),
        ("x1 + x2", "3x"),
        ("R2", "2R"),
        ("a1b2", "2ab"),
        ("3x2", "6x"),
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
    "derivative": [
        (r"\frac{dy}{dx}", "dy/dx"),
        (r"\frac{dy}{dx}", r"\dfrac{dy}{dx}"),
        (r"\frac{dy}{dx} = 2x", "2x"),
        (r"\frac{dy}{dx} = 2x", "y' = 2x"),
        (r"\frac{d^2y}{dx^2} = 6", "y'' = 6"),
        (r"2\frac{dy}{dx}", r"\frac{dy}{dx} + \frac{dy}{dx}"),
        (r"\frac{d^2y}{dx^2}", r"\frac{d^{2}y}{dx^{2}}"),
        (r"\frac{d}{dx}(x^2+x)", r"\frac{d}{dx}(x+x^2)"),
        (r"\frac{dr}{dt} = 3", "3"),
        (r"x\frac{dy}{dx} + y", r"y + \frac{dy}{dx}x"),
        (r"\frac{d}{2}", "d/2"),
        (r"\frac{d}{d-1}", r"1 + \frac{1}{d-1}"),
        (r"\frac{ad}{b}", r"\frac{da}{b}"),
        (r"\frac{d}{r}", "d/r"),
    ],
    "accent": [
        (r"\overline{z}", r"\bar{z}"),
        (r"\overline{2+3i}", "2-3i"),
        (r"\overline{CD}", "CD"),
        (r"\bar{x} = 5", "5"),
        (r"\vec{v}", "v"),
        (r"\mathbf{v}", "v"),
        (r"2\hat{\imath} - 3\hat{\jmath}", r"2\mathbf{i} - 3\mathbf{j}"),
        (r"2\hat{i} - 3\hat{j}", "(2, -3)"),
        (r"\widehat{ABC}", r"\widehat{ABC}"),
        (r"\hat{y} = 2x + 1", "y = 2x + 1"),
        (r"\hat{y} = 2x + 1", "2x + 1"),
        (r"0.\overline{3}", r"\frac13"),
        (r"\overline{z} + z", r"z + \bar{z}"),
        (r"\bar{x}_1 - \bar{x}_2", r"-\bar{x}_2 + \bar{x}_1"),
        (r"\overline{7}", "7"),
        (r"\vec{AB}", r"\overrightarrow{AB}"),
        (r"\underline{12}", "12"),
    ],
    "primes": [
        ("y''", r"y^{\prime\prime}"),
        ("f''(x)", r"f^{\prime\prime}(x)"),
        ("f'(2) = 3", "3"),
    ],
    "numeral with letters": [
        ("-0x584", "-1412"),
        ("0xff", "0xFF"),
        ("0x1F", "31"),
        ("0b101", "5"),
        ("x1 + x2", "x_1 + x_2"),
        ("x_2", "x2"),
        ("0x + 5", "5"),
        ("x^2y", "yx^2"),
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
