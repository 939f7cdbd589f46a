"""Logarithm, exponential and normal tail in binary fixed point: the reference that a contract repeats bit for bit.

Only operations that a 256-bit machine has in the same form are used: `>>`, which is the arithmetic shift of the EVM and
of Python alike (it rounds toward minus infinity), `//` on non-negative integers, and products whose bound is written
where it is relied on. "Qn" means scaled by 2^n. Every intermediate stays below 2^255 in magnitude; a test runs these
very functions on intervals that cover their whole domain and checks it.

The fitted constants and the derived ones come from `tools/fit_constants.py`, which regenerates all of them and their
error bounds. `docs/risk.md` lists the steps in normative order.
"""

from __future__ import annotations

from math import isqrt

from ..units import SECONDS_PER_YEAR

SQRT2_Q127 = 240615969168004511545033772477625056927
LN2_Q120 = 921350637599661305226344307672478455
LN2_Q72 = 3273295013171879848906
INV_LN2_Q72 = 6812934706096293115773
INV_SQRT_2PI_Q120 = 530285247811860281885121121780411961

# 2 atanh(t)/t as P(t²)/Q(t²) on |t| <= 3 - 2 sqrt 2, Q120; absolute error of the logarithm 1.46e-25.
LN_P4 = 11786844491642132319134198046623476
LN_P3 = -452487571660352698062248874756783614
LN_P2 = 2626437715025436874096376927899391601
LN_P1 = -4767265730802127528050102813613992622
LN_P0 = 2658455991569831745807635464069918727
LN_Q4 = 35426701719777509956887382408956827
LN_Q3 = -513994908832663164989597959088476320
LN_Q2 = 1989609546354413823692900766112572893
LN_Q1 = -2826708863996035721638202594692579082
LN_Q0 = 1329227995784915872903807060280344576

# tanh(y/2)/y as P(y²)/Q(y²) on |y| <= ln 2 / 2, scales Q216, Q144, Q72 upward; relative error of the exponential
# 8.29e-19.
EXP_P2 = 156032868780265202
EXP_P1 = 309695693686184334053348345269773756465967
EXP_P0 = 52656145834278591960471524557110604329036311845580721511167164416
EXP_Q2 = 4683325741838945363
EXP_Q1 = 2477786820583155586730649753961617190349565
EXP_Q0 = 105312291668557186697918027683670432318895095400549111254310977536

TAIL_GAIN = 10
"""Numerator and denominator of the tail carry a common factor 2^10, which fills the word and buys precision."""
# exp(z²/2) N(-z) as P(z)/Q(z) on [0, 10], scales Q216 and Q144 in turn (Q72 for Q8); absolute error of N(-z) 9.76e-20.
TAIL_P7 = 311827279183505738714567547653679143886437
TAIL_P6 = 35713676979909228185063527143755825345555684708911261352695169024
TAIL_P5 = 85199859493405155816711468961692375907366475
TAIL_P4 = 2720263149766434329331956014528792554958993003074925697770838818816
TAIL_P3 = 2527205271260344526516282079257551501415226369
TAIL_P2 = 34255450302008637789779751303909565001918471016852182516531843825664
TAIL_P1 = 12811741077212957931356612306046498925698059895
TAIL_P0 = 53919893334301279578811149764261178325327338411039203948149489008640
TAIL_Q8 = 165518193248618676502
TAIL_Q7 = 18956665207066271287985966194278494478033524
TAIL_Q6 = 1012235090562206643623894523613434425821411019724129935599708667904
TAIL_Q5 = 1462819757981429327697457177447089136881201470
TAIL_Q4 = 30919077503049775143998930248079253708658898471906570369865600729088
TAIL_Q3 = 19583124288432461901532915659067817616842650737
TAIL_Q2 = 179790750860816876910958605035594599064597068270068794527825191239680
TAIL_Q1 = 43843944529651478335372858452408879080727610228
TAIL_Q0 = 107839786668602559178668060348078522694548577690162289924414440996864

_HALF_Q144 = 1 << 143


def ln_q120(value: int) -> int:
    """Return ln(value) of a positive integer up to 2^127, Q120; absolute error at most 1.5e-25.

    value = 2^k · y with y in [1/√2, √2]; ln y = 2 atanh((y - 1)/(y + 1)). Every division is of non-negative integers:
    above √2 the reciprocal is taken and its logarithm subtracted. A ratio's logarithm is the difference of two of
    these, so one strike and one forward each cost one logarithm, however many pairs they form.
    """
    bits = value.bit_length()
    mantissa = value << (128 - bits)  # Q127 in [1, 2), exact
    above = mantissa > SQRT2_Q127
    if above:
        t = (((1 << 128) - mantissa) << 120) // ((1 << 128) + mantissa)  # dividend below 2^246.3
    else:
        t = ((mantissa - (1 << 127)) << 120) // (mantissa + (1 << 127))  # dividend below 2^245.8
    u = (t * t) >> 120  # t <= 0.17158 in Q120: product below 2^235
    p = ((LN_P4 * u) >> 120) + LN_P3
    p = ((p * u) >> 120) + LN_P2
    p = ((p * u) >> 120) + LN_P1
    p = ((p * u) >> 120) + LN_P0  # coefficients below 2^122, u below 2^115: products below 2^237
    q = ((LN_Q4 * u) >> 120) + LN_Q3
    q = ((q * u) >> 120) + LN_Q2
    q = ((q * u) >> 120) + LN_Q1
    q = ((q * u) >> 120) + LN_Q0
    ln_y = t * p // q  # p and q are positive on the domain; product below 2^239
    return bits * LN2_Q120 - ln_y if above else (bits - 1) * LN2_Q120 + ln_y


def exp_neg(s: int) -> tuple[int, int]:
    """Return (r, n) with exp(-s) = r · 2^-100 · 2^-n for s >= 0 in Q72, s below 2^8; relative error at most 9e-19.

    n = round(s / ln 2), y = s - n ln 2 in [-ln 2 / 2, ln 2 / 2], exp(-y) = (1 - tanh(y/2)) / (1 + tanh(y/2)).
    """
    n = (s * INV_LN2_Q72 + _HALF_Q144) >> 144  # below 2^154
    y = s - n * LN2_Q72  # |y| <= 0.3466 in Q72
    v = (y * y) >> 72
    p = y * (((EXP_P2 * v + EXP_P1) * v + EXP_P0) >> 144)  # Q144; inner products below 2^217
    q = ((EXP_Q2 * v + EXP_Q1) * v + EXP_Q0) >> 72  # Q144
    return ((q - p) << 100) // (q + p), n  # |p| < q / 5, so both sums are positive; dividend below 2^245


def scaled_tail(z: int) -> tuple[int, int]:
    """Return (p, q) with exp(z²/2) N(-z) = p / q for z >= 0 in Q72; |error| · exp(-z²/2) at most 1e-19 for z <= 10.

    Beyond 10 the rational goes on falling like 1/z, which is all its callers rely on there; z may reach 36, where p
    stays below 2^105 and q below 2^111. This is Mills' ratio times 1/sqrt(2 pi). Horner, two coefficients per shift:
    the scale goes Q72, Q144, Q216 and back; the greatest product stays below 2^255 for z <= 36.
    """
    p = (TAIL_P7 * z + TAIL_P6) >> 144
    p = ((p * z + TAIL_P5) * z + TAIL_P4) >> 144
    p = ((p * z + TAIL_P3) * z + TAIL_P2) >> 144
    p = ((p * z + TAIL_P1) * z + TAIL_P0) >> 144
    q = ((TAIL_Q8 * z + TAIL_Q7) * z + TAIL_Q6) >> 144
    q = ((q * z + TAIL_Q5) * z + TAIL_Q4) >> 144
    q = ((q * z + TAIL_Q3) * z + TAIL_Q2) >> 144
    q = ((q * z + TAIL_Q1) * z + TAIL_Q0) >> 144
    return p, q


def sqrt_years_q100_down(seconds: int) -> int:
    """Return sqrt(seconds / 31,536,000) in Q100, rounded down; seconds from 0 to ten years."""
    return isqrt((seconds << 200) // SECONDS_PER_YEAR)  # below 2^204: the root below 2^102
