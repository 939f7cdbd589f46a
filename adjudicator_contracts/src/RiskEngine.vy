# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title RiskEngine
@license MIT
@notice What a book is worth, and the margin it needs: the integers of `channels.risk`, on-chain.
@dev No storage, no owner; the policy is in the code. What callers must know stands in `IRiskEngine`, the order of evaluation in
     `docs/risk.md`. One module per topic: `fixed` (logarithm, root, constants), `black` (one option), `schedule` (spot and expiry
     marks at a moment), `portfolio` (book bytes to priced legs), `shocks` and `scan` (scenarios), `charges` (replacement cost),
     `margin_policy` (the policy).
"""

from interfaces import IRiskEngine
from modules import black
from modules import book as layout
from modules import charges
from modules import fixed
from modules import margin_policy
from modules import portfolio
from modules import rounding
from modules import scan
from modules import schedule
from modules import shocks

implements: IRiskEngine

initializes: margin_policy
initializes: charges[margin_policy := margin_policy]
initializes: shocks[margin_policy := margin_policy]
initializes: scan[margin_policy := margin_policy, shocks := shocks]

WAD: constant(int256) = 10**18


# Which scenarios an assessment looks at: none, those of the witness, or all.
NO_ROWS: constant(uint256) = 0
WITNESS: constant(uint256) = 1
WHOLE_GRID: constant(uint256) = 2


# A book at a moment: exact value, replacement cost, worst scenarios.
struct Assessment:
    mark: portfolio.Mark
    charges: charges.Charges
    worst: scan.Worst


# One party's requirement line by line, token units.
struct Requirement:
    equity: int256
    initial: int256
    maintenance: int256
    scan_initial: int256
    scan_maintenance: int256
    independent: int256


@deploy
def __init__(policy: IRiskEngine.Policy):
    """
    @notice Fix the policy.
    @param policy As `MarginPolicy.encode()` gives it; "risk: policy" if `MarginPolicy` would refuse it.
    """
    margin_policy.__init__(policy)


# ── The policy ──────────────────────────────────────────────────────────────────────────────────────────────────────


@external
@view
def policy() -> bytes32:
    """
    @notice See `IRiskEngine.policy`.
    """
    return margin_policy.HASH


@external
@view
def parameters() -> IRiskEngine.Policy:
    """
    @notice See `IRiskEngine.parameters`.
    """
    return margin_policy._parameters()


# ── Value ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@external
@view
def units(options: DynArray[IRiskEngine.Option, 32]) -> DynArray[IRiskEngine.UnitGreeks, 32]:
    """
    @notice See `IRiskEngine.units`.
    """
    found: DynArray[IRiskEngine.UnitGreeks, 32] = []
    for option: IRiskEngine.Option in options:
        assert option.kind <= layout.PUT, "risk: out of bounds"
        assert option.forward != 0 and option.forward <= convert(schedule.MAX_PRICE, uint256), "risk: out of bounds"
        assert option.strike != 0 and option.strike <= convert(schedule.MAX_PRICE, uint256), "risk: out of bounds"
        assert option.vol <= convert(portfolio.MAX_VOL, uint256), "risk: out of bounds"
        assert option.seconds <= convert(schedule.MAX_TENOR, uint256), "risk: out of bounds"
        forward: int256 = convert(option.forward, int256)
        strike: int256 = convert(option.strike, int256)
        seconds: int256 = convert(option.seconds, int256)
        root: int256 = fixed._sqrt_years(seconds)
        top: uint256 = fixed._top_bit(forward)
        width: int256 = unsafe_div(unsafe_mul(convert(option.vol, int256), root), WAD)
        found.append(
            self._shown(
                black._unit(
                    option.kind == layout.PUT,
                    forward,
                    fixed._ln(forward, top),
                    strike,
                    fixed._ln(strike, top),
                    width,
                    root,
                    seconds,
                )
            )
        )
    return found


@external
@view
def value(
    book: Bytes[7712], spots: DynArray[uint256, 4], settlements: DynArray[uint256, 8], t: uint64
) -> int256:
    """
    @notice See `IRiskEngine.value`.
    """
    return self._assess(book, 1, spots, settlements, t, NO_ROWS, []).mark.worth


@external
@view
def greeks(
    book: Bytes[7712], spots: DynArray[uint256, 4], settlements: DynArray[uint256, 8], t: uint64
) -> (DynArray[IRiskEngine.UnitGreeks, 32], DynArray[IRiskEngine.Greeks, 4]):
    """
    @notice See `IRiskEngine.greeks`.
    """
    expiries: DynArray[schedule.Expiry, 8] = []
    legs: DynArray[portfolio.Leg, 32] = []
    mark: portfolio.Mark = empty(portfolio.Mark)
    expiries, legs, mark = portfolio._open(book, spots, settlements, t, margin_policy.GAMMA_MOVE)
    per_leg: DynArray[IRiskEngine.UnitGreeks, 32] = []
    totals: DynArray[IRiskEngine.Greeks, 4] = []
    e: uint256 = 0
    for u: uint256 in range(len(spots), bound=4):
        # At 1e54, the carry at 1e36; truncated once to WAD below.
        sums: IRiskEngine.Greeks = empty(IRiskEngine.Greeks)
        for j: uint256 in range(e, len(expiries), bound=8):
            expiry: schedule.Expiry = expiries[j]
            if expiry.underlying != u:
                break
            e = j + 1
            for i: uint256 in range(expiry.first, expiry.end, bound=32):
                leg: portfolio.Leg = legs[i]
                unit: black.Greeks = black._unit(
                    leg.is_put,
                    expiry.forward,
                    expiry.ln_forward,
                    leg.strike,
                    leg.ln_strike,
                    unsafe_div(unsafe_mul(leg.vol, expiry.root), WAD),
                    expiry.root,
                    expiry.seconds,
                )
                per_leg.append(self._shown(unit))
                if expiry.seconds != 0:
                    sums.delta = unsafe_add(sums.delta, unsafe_mul(leg.notional, unit.delta))
                    sums.delta_cash = unsafe_add(sums.delta_cash, unsafe_mul(leg.notional, unit.delta_cash))
                    # Checked: gamma has no bound at the money in the last second, nor theta.
                    sums.gamma_cash += leg.notional * unit.gamma_cash
                    sums.theta += leg.notional * unit.theta
                    sums.vega = unsafe_add(sums.vega, unsafe_mul(leg.notional, unit.vega))
                    # WAD per unit, rounded down also where the discount is above 1 and comes down to it.
                    carry: int256 = rounding._div_down(
                        unsafe_mul(
                            unsafe_mul(unit.price, unsafe_sub(WAD, expiry.discount)), fixed.SECONDS_PER_YEAR
                        ),
                        unsafe_mul(expiry.seconds, WAD),
                    )
                    # The quotient is the quantity, exactly.
                    sums.carry = unsafe_add(
                        sums.carry, unsafe_mul(unsafe_div(leg.notional, expiry.discount), carry)
                    )
        totals.append(
            IRiskEngine.Greeks(
                delta=unsafe_div(sums.delta, WAD * WAD),
                delta_cash=unsafe_div(sums.delta_cash, WAD * WAD),
                gamma_cash=unsafe_div(sums.gamma_cash, WAD * WAD),
                vega=unsafe_div(sums.vega, WAD * WAD),
                theta=unsafe_div(sums.theta, WAD * WAD),
                carry=unsafe_div(sums.carry, WAD),
            )
        )
    return per_leg, totals


# ── Margin ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@external
@view
def scenario_loss(
    book: Bytes[7712],
    party: uint8,
    spots: DynArray[uint256, 4],
    settlements: DynArray[uint256, 8],
    t: uint64,
    witness: DynArray[uint256, 4],
) -> int256[4]:
    """
    @notice See `IRiskEngine.scenario_loss`.
    """
    assert party < 2, "risk: no such party"
    return self._assess(book, 1, spots, settlements, t, WITNESS, witness).worst.losses[party]


@external
@view
def margin(
    book: Bytes[7712],
    cash: int256[2],
    decimals: uint8,
    spots: DynArray[uint256, 4],
    settlements: DynArray[uint256, 8],
    t: uint64,
) -> IRiskEngine.Margin[2]:
    """
    @notice See `IRiskEngine.margin`.
    """
    unit: int256 = rounding._token_unit(decimals)
    found: Assessment = self._assess(book, unit, spots, settlements, t, WHOLE_GRID, [])
    margins: IRiskEngine.Margin[2] = empty(IRiskEngine.Margin[2])
    for party: uint256 in range(2):
        needs: Requirement = self._requirement(found, party, cash[party], unit)
        shown: IRiskEngine.Margin = IRiskEngine.Margin(
            equity=needs.equity,
            initial_margin=needs.initial,
            maintenance_margin=needs.maintenance,
            scan_initial=needs.scan_initial,
            scan_maintenance=needs.scan_maintenance,
            delta_charge=found.charges.delta,
            gamma_charge=found.charges.gamma,
            vega_charge=found.charges.vega,
            short_charge=found.charges.short[party],
            independent_amount=needs.independent,
            worst=found.worst.rows[party],
            losses=empty(int256[4]),
        )
        for u: uint256 in range(4):
            shown.losses[u] = rounding._div_up(max(0, found.worst.losses[party][u]), unit)
        margins[party] = shown
    return margins


@external
@view
def is_breach(
    book: Bytes[7712],
    party: uint8,
    cash: int256,
    decimals: uint8,
    spots: DynArray[uint256, 4],
    settlements: DynArray[uint256, 8],
    t: uint64,
    witness: DynArray[uint256, 4],
) -> bool:
    """
    @notice See `IRiskEngine.is_breach`.
    """
    unit: int256 = rounding._token_unit(decimals)
    found: Assessment = self._assess(book, unit, spots, settlements, t, WITNESS, witness)
    needs: Requirement = self._requirement(found, convert(party, uint256), cash, unit)
    return needs.equity < needs.maintenance


@external
@view
def excess(
    book: Bytes[7712],
    party: uint8,
    cash: int256,
    decimals: uint8,
    spots: DynArray[uint256, 4],
    settlements: DynArray[uint256, 8],
    t: uint64,
) -> int256:
    """
    @notice See `IRiskEngine.excess`.
    """
    return self._excess(book, party, cash, decimals, spots, settlements, t)


@external
@view
def is_compliant(
    book: Bytes[7712],
    party: uint8,
    cash: int256,
    decimals: uint8,
    spots: DynArray[uint256, 4],
    settlements: DynArray[uint256, 8],
    t: uint64,
) -> bool:
    """
    @notice See `IRiskEngine.is_compliant`.
    """
    return self._excess(book, party, cash, decimals, spots, settlements, t) >= 0


@external
@view
def close_out(
    book: Bytes[7712],
    decimals: uint8,
    spots: DynArray[uint256, 4],
    settlements: DynArray[uint256, 8],
    t: uint64,
) -> (int256[2], int256[2]):
    """
    @notice See `IRiskEngine.close_out`.
    """
    unit: int256 = rounding._token_unit(decimals)
    found: Assessment = self._assess(book, unit, spots, settlements, t, NO_ROWS, [])
    return self._values(found, unit), self._costs(found)


@external
@view
def liquidation(
    book: Bytes[7712],
    party: uint8,
    cash: int256,
    decimals: uint8,
    spots: DynArray[uint256, 4],
    settlements: DynArray[uint256, 8],
    t: uint64,
    witness: DynArray[uint256, 4],
) -> (bool, int256[2], int256[2]):
    """
    @notice See `IRiskEngine.liquidation`.
    """
    unit: int256 = rounding._token_unit(decimals)
    found: Assessment = self._assess(book, unit, spots, settlements, t, WITNESS, witness)
    needs: Requirement = self._requirement(found, convert(party, uint256), cash, unit)
    return needs.equity < needs.maintenance, self._values(found, unit), self._costs(found)


# ── Compute ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@internal
@view
def _assess(
    book: Bytes[7712],
    unit: int256,
    spots: DynArray[uint256, 4],
    settlements: DynArray[uint256, 8],
    t: uint64,
    scenarios: uint256,
    witness: DynArray[uint256, 4],
) -> Assessment:
    """
    @notice Price the book and look at the given scenarios; `unit` is one token unit at 1e54.
    """
    found: Assessment = empty(Assessment)
    expiries: DynArray[schedule.Expiry, 8] = []
    legs: DynArray[portfolio.Leg, 32] = []
    expiries, legs, found.mark = portfolio._open(book, spots, settlements, t, margin_policy.GAMMA_MOVE)
    found.charges = charges._charges(found.mark, unit)
    if scenarios != NO_ROWS:
        assert scenarios == WHOLE_GRID or len(witness) == len(spots), "risk: misaligned"
        found.worst = scan._worst(expiries, legs, found.mark, len(spots), witness)
    return found


@internal
@view
def _excess(
    book: Bytes[7712],
    party: uint8,
    cash: int256,
    decimals: uint8,
    spots: DynArray[uint256, 4],
    settlements: DynArray[uint256, 8],
    t: uint64,
) -> int256:
    """
    @notice Equity above initial margin over the whole grid, token units.
    """
    unit: int256 = rounding._token_unit(decimals)
    found: Assessment = self._assess(book, unit, spots, settlements, t, WHOLE_GRID, [])
    needs: Requirement = self._requirement(found, convert(party, uint256), cash, unit)
    return needs.equity - needs.initial


@internal
@pure
def _values(found: Assessment, unit: int256) -> int256[2]:
    """
    @notice Both parties' values in token units, each rounded down on its own.
    """
    return [
        rounding._div_down(found.mark.worth, unit), rounding._div_down(unsafe_sub(0, found.mark.worth), unit)
    ]


@internal
@pure
def _costs(found: Assessment) -> int256[2]:
    """
    @notice Both parties' charges, all lines added.
    """
    shared: int256 = found.charges.delta + found.charges.gamma + found.charges.vega
    return [shared + found.charges.short[0], shared + found.charges.short[1]]


@internal
@view
def _requirement(found: Assessment, party: uint256, cash: int256, unit: int256) -> Requirement:
    """
    @notice Steps 10, 11 and 15 for one party: the scan at 1e36, then with each factor in token units, then the charges.
    """
    assert party < 2, "risk: no such party"
    scanned: int256 = 0
    for loss: int256 in found.worst.losses[party]:
        scanned = unsafe_add(scanned, rounding._div_up(max(0, loss), WAD))
    needs: Requirement = empty(Requirement)
    if found.mark.is_live:
        # WAD of the quote currency, at 1e54 below 2**240.
        amount: int256 = convert(margin_policy.INDEPENDENT_AMOUNTS[party], int256)
        needs.independent = rounding._div_up(unsafe_mul(amount, WAD * WAD), unit)
    needs.scan_initial = rounding._div_up(unsafe_mul(scanned, margin_policy.SCAN_INITIAL), unit)
    needs.scan_maintenance = rounding._div_up(unsafe_mul(scanned, margin_policy.SCAN_MAINTENANCE), unit)
    cost: int256 = self._costs(found)[party]
    needs.initial = max(needs.independent, needs.scan_initial + cost)
    needs.maintenance = max(rounding._div_up(needs.independent, 2), needs.scan_maintenance + cost)
    needs.equity = cash + self._values(found, unit)[party]
    return needs


@internal
@pure
def _shown(unit: black.Greeks) -> IRiskEngine.UnitGreeks:
    """
    @notice One unit's Greeks as the interface has them.
    """
    return IRiskEngine.UnitGreeks(
        price=unit.price,
        delta=unit.delta,
        delta_cash=unit.delta_cash,
        density=unit.density,
        gamma_cash=unit.gamma_cash,
        vega=unit.vega,
        theta=unit.theta,
    )
