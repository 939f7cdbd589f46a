# pragma version 0.4.3
"""
@title fixed
@license MIT
@notice Logarithm and square root of time in binary fixed point, and the constants of exponential and normal tail (`black` uses
        them): the steps of `docs/risk.md` §1, bit for bit.
@dev "Qn" means scaled by 2**n. `>>` on int256 is the arithmetic shift, which rounds toward minus infinity; every division is
     of non-negative numbers. The arithmetic is unchecked because no intermediate can reach 2**255: the bounds stand in
     `channels/risk/fixed.py`, the reference, and `tests/unit/risk/test_bounds.py` proves them on intervals over the whole
     domain. All constants are fits or roundings that `tools/fit_constants.py` derives again; a test compares them.
"""

SECONDS_PER_YEAR: constant(int256) = 31_536_000

SQRT2_Q127: constant(int256) = 240615969168004511545033772477625056927
LN2_Q120: constant(int256) = 921350637599661305226344307672478455
LN2_Q72: constant(int256) = 3273295013171879848906
INV_LN2_Q72: constant(int256) = 6812934706096293115773
INV_SQRT_2PI_Q120: constant(int256) = 530285247811860281885121121780411961

# 2 atanh(t)/t as P(t²)/Q(t²) on |t| <= 3 - 2 sqrt 2, Q120; absolute error of the logarithm 1.46e-25.
LN_P4: constant(int256) = 11786844491642132319134198046623476
LN_P3: constant(int256) = -452487571660352698062248874756783614
LN_P2: constant(int256) = 2626437715025436874096376927899391601
LN_P1: constant(int256) = -4767265730802127528050102813613992622
LN_P0: constant(int256) = 2658455991569831745807635464069918727
LN_Q4: constant(int256) = 35426701719777509956887382408956827
LN_Q3: constant(int256) = -513994908832663164989597959088476320
LN_Q2: constant(int256) = 1989609546354413823692900766112572893
LN_Q1: constant(int256) = -2826708863996035721638202594692579082
LN_Q0: constant(int256) = 1329227995784915872903807060280344576

# tanh(y/2)/y as P(y²)/Q(y²) on |y| <= ln 2 / 2, scales Q216, Q144, Q72 upward; relative error of the exponential 8.29e-19.
EXP_P2: constant(int256) = 156032868780265202
EXP_P1: constant(int256) = 309695693686184334053348345269773756465967
EXP_P0: constant(int256) = 52656145834278591960471524557110604329036311845580721511167164416
EXP_Q2: constant(int256) = 4683325741838945363
EXP_Q1: constant(int256) = 2477786820583155586730649753961617190349565
EXP_Q0: constant(int256) = 105312291668557186697918027683670432318895095400549111254310977536

# exp(z²/2) N(-z) as P(z)/Q(z) on [0, 10], scales Q216 and Q144 in turn (Q72 for Q8), both times 2**10; absolute error of
# N(-z) 9.76e-20.
TAIL_P7: constant(int256) = 311827279183505738714567547653679143886437
TAIL_P6: constant(int256) = 35713676979909228185063527143755825345555684708911261352695169024
TAIL_P5: constant(int256) = 85199859493405155816711468961692375907366475
TAIL_P4: constant(int256) = 2720263149766434329331956014528792554958993003074925697770838818816
TAIL_P3: constant(int256) = 2527205271260344526516282079257551501415226369
TAIL_P2: constant(int256) = 34255450302008637789779751303909565001918471016852182516531843825664
TAIL_P1: constant(int256) = 12811741077212957931356612306046498925698059895
TAIL_P0: constant(int256) = 53919893334301279578811149764261178325327338411039203948149489008640
TAIL_Q8: constant(int256) = 165518193248618676502
TAIL_Q7: constant(int256) = 18956665207066271287985966194278494478033524
TAIL_Q6: constant(int256) = 1012235090562206643623894523613434425821411019724129935599708667904
TAIL_Q5: constant(int256) = 1462819757981429327697457177447089136881201470
TAIL_Q4: constant(int256) = 30919077503049775143998930248079253708658898471906570369865600729088
TAIL_Q3: constant(int256) = 19583124288432461901532915659067817616842650737
TAIL_Q2: constant(int256) = 179790750860816876910958605035594599064597068270068794527825191239680
TAIL_Q1: constant(int256) = 43843944529651478335372858452408879080727610228
TAIL_Q0: constant(int256) = 107839786668602559178668060348078522694548577690162289924414440996864

# What makes a shift by 144 round to the nearest.
HALF_Q144: constant(int256) = 2**143


@internal
@pure
def _top_bit(price: int256) -> uint256:
    """
    @notice Position of the highest bit of a positive integer below 2**128, by halving.
    """
    top: uint256 = convert(price >= 2**64, uint256) << 6
    top |= convert(price >> top >= 2**32, uint256) << 5
    top |= convert(price >> top >= 2**16, uint256) << 4
    top |= convert(price >> top >= 2**8, uint256) << 3
    top |= convert(price >> top >= 2**4, uint256) << 2
    top |= convert(price >> top >= 2**2, uint256) << 1
    return top | convert(price >> top >= 2, uint256)


@internal
@pure
def _ln(price: int256, hint: uint256) -> int256:
    """
    @notice Natural logarithm of a positive integer up to 2**96, Q120; absolute error at most 1.5e-25.
    @param hint Where the highest bit may be: saves the search if it is there, changes nothing else.
    @dev price = 2**k * y with y in [1/sqrt 2, sqrt 2]; ln y = 2 atanh((y - 1) / (y + 1)). Above sqrt 2 the reciprocal is taken.
    """
    top: uint256 = hint
    if price >> hint != 1:
        top = self._top_bit(price)
    t: int256 = price << unsafe_sub(127, top)  # Q127 in [1, 2), exact
    if t > SQRT2_Q127:
        t = unsafe_div(unsafe_sub(2**128, t) << 120, unsafe_add(t, 2**128))
        top = unsafe_add(top, 2**128)
    else:
        t = unsafe_div(unsafe_sub(t, 2**127) << 120, unsafe_add(t, 2**127))
    u: int256 = unsafe_mul(t, t) >> 120
    t = unsafe_div(
        unsafe_mul(
            unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(
                unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(LN_P4, u) >> 120, LN_P3), u) >> 120, LN_P2),
                u) >> 120, LN_P1), u) >> 120, LN_P0),
            t,
        ),
        unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(
            unsafe_add(unsafe_mul(unsafe_add(unsafe_mul(LN_Q4, u) >> 120, LN_Q3), u) >> 120, LN_Q2),
            u) >> 120, LN_Q1), u) >> 120, LN_Q0),
    )
    if top >= 2**128:
        return unsafe_sub(unsafe_mul(convert(unsafe_sub(top, 2**128 - 1), int256), LN2_Q120), t)
    return unsafe_add(unsafe_mul(convert(top, int256), LN2_Q120), t)


@internal
@pure
def _sqrt_years(seconds: int256) -> int256:
    """
    @notice sqrt(seconds / 31,536,000) in Q100, rounded down; seconds up to ten years.
    """
    return convert(isqrt(convert(unsafe_div(seconds << 200, SECONDS_PER_YEAR), uint256)), int256)
