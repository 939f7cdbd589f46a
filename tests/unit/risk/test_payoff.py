"""Settled payoff and the split of the pot: exact sums, one truncation, and never more paid than there is."""

from __future__ import annotations

import pytest

from channels.errors import InvariantBroken, OutOfBounds, SettlementInvalid
from channels.model import Leg, OptionKind
from channels.risk import payoff, payouts
from channels.units import WAD

ETH, EXPIRY = "ETH/USD", 1_706_256_000
PRICE = {(ETH, EXPIRY): 2600 * WAD}


def test_calls_and_puts_pay_intrinsic_in_party_zeros_view() -> None:
    long_call = Leg.call(ETH, EXPIRY, 2400, quantity=10)
    short_put = Leg.put(ETH, EXPIRY, 2700, quantity=-3)
    assert payoff([long_call], PRICE, 6) == 2000 * 10**6
    assert payoff([short_put], PRICE, 6) == -300 * 10**6
    assert payoff([long_call, short_put, Leg.put(ETH, EXPIRY, 2600, quantity=7)], PRICE, 6) == 1700 * 10**6


@pytest.mark.parametrize(
    ("quantity", "expected"), [(1, 0), (10**12 - 1, 0), (10**12, 1), (-(10**12) + 1, 0), (-(10**12), -1)]
)
def test_the_sum_is_truncated_toward_zero_for_either_sign(quantity: int, expected: int) -> None:
    leg = Leg(ETH, EXPIRY, 2599 * WAD, OptionKind.CALL, quantity)
    assert payoff([leg], PRICE, 6) == expected


def test_the_sum_is_truncated_once_not_per_leg() -> None:
    halves = [Leg(ETH, EXPIRY, 2599 * WAD + i, OptionKind.CALL, 10**12 // 2 + i) for i in range(2)]
    assert [payoff([leg], PRICE, 6) for leg in halves] == [0, 0]
    assert payoff(halves, PRICE, 6) == 1


def test_payoff_in_tokens_of_eighteen_and_of_no_decimals() -> None:
    leg = Leg(ETH, EXPIRY, 2599 * WAD, OptionKind.CALL, WAD + 1)
    assert payoff([leg], PRICE, 18) == WAD + 1
    assert payoff([leg], PRICE, 0) == 1


def test_a_missing_or_impossible_settlement_is_refused() -> None:
    leg = Leg.call(ETH, EXPIRY, 2400, quantity=1)
    with pytest.raises(SettlementInvalid):
        payoff([leg], {(ETH, EXPIRY + 1): WAD}, 6)
    for price in (0, 2**96 + 1):
        with pytest.raises(OutOfBounds):
            payoff([leg], {(ETH, EXPIRY): price}, 6)
    assert payoff([leg], {(ETH, EXPIRY): 2**96}, 6) > 0


@pytest.mark.parametrize(
    ("cash", "amount", "expected"),
    [
        ((60, 40), 0, (60, 40)),
        ((60, 40), 15, (75, 25)),
        ((60, 40), 41, (100, 0)),
        ((60, 40), -61, (0, 100)),
        ((-20, 120), 30, (10, 90)),
        ((-20, 120), 0, (0, 100)),
        ((130, -30), -10, (100, 0)),
    ],
)
def test_payouts_share_the_pot_and_nothing_else(cash: tuple[int, int], amount: int, expected: tuple[int, int]) -> None:
    assert payouts(*cash, amount, 100) == expected


@pytest.mark.parametrize(("cash", "pot"), [((60, 41), 100), ((60, 40), 99), ((-1, 0), -1)])
def test_cash_that_is_not_the_pot_is_a_bug_and_says_so(cash: tuple[int, int], pot: int) -> None:
    with pytest.raises(InvariantBroken):
        payouts(*cash, 0, pot)
