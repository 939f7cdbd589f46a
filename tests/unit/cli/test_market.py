"""The demo's market: recorded data, replayed by rules that are written down."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from channels.cli.demo import make_data
from channels.cli.demo.market import SHIFT, RecordedMarket, Smile
from channels.model import Leg

RECORDED = Path(__file__).parents[2] / "data"
HOUR = 3_600
MARKET = RecordedMarket.load()
NEAR, FAR = sorted(MARKET.smiles)[1:3]


def call(strike: int, expiry: int = NEAR) -> Leg:
    return Leg.call("ETH/USD", expiry, strike, quantity=1)


@pytest.mark.parametrize("name", [make_data.CHAIN_JSON, make_data.HOURLY_JSON])
def test_the_packaged_data_is_what_the_script_makes(name: str, tmp_path: Path) -> None:
    assert make_data.main([str(RECORDED), str(tmp_path)]) == 0
    assert (tmp_path / name).read_bytes() == (make_data.DATA / name).read_bytes()


def test_the_packaged_data_is_small_and_names_its_source() -> None:
    assert sum(path.stat().st_size for path in make_data.DATA.iterdir()) < 150_000
    for name in (make_data.CHAIN_JSON, make_data.HOURLY_JSON):
        text = (make_data.DATA / name).read_text("utf-8")
        assert all(value in text for value in make_data.SOURCE.values())


def test_the_script_asks_for_its_directory(capsys: pytest.CaptureFixture[str]) -> None:
    assert make_data.main([]) == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize(("strike", "is_call"), [(1800.0, False), (2233.0, True), (3000.0, True)])
def test_implied_volatility_inverts_the_price(strike: float, is_call: bool) -> None:
    price = make_data.black(2233.0, strike, 0.77 * (11 / 365) ** 0.5, is_call)
    found = make_data.implied_vol(2233.0, strike, price, 11 / 365, is_call)
    assert found == pytest.approx(0.77, abs=1e-9)


def test_a_mark_on_its_intrinsic_has_no_volatility() -> None:
    assert make_data.implied_vol(2233.0, 2000.0, 233.0, 11 / 365, True) is None


def test_the_shift_is_whole_weeks_so_that_weekdays_stay() -> None:
    assert SHIFT % (7 * 86_400) == 0
    assert MARKET.end > FAR, "the returns last beyond the expiry that settles last"


def test_the_spot_starts_at_the_chains_and_takes_each_return() -> None:
    assert MARKET.spot(MARKET.start) == MARKET.first_spot == Decimal("2222.19")
    first_hour = MARKET.start // HOUR * HOUR + HOUR
    assert MARKET.spot(first_hour - 1) == MARKET.first_spot
    assert MARKET.spot(first_hour) != MARKET.first_spot
    assert MARKET.spot(MARKET.start - 10 * HOUR) == MARKET.first_spot, "nothing is known before the chain's instant"
    assert MARKET.spot(MARKET.end + 10 * HOUR) == MARKET.spot(MARKET.end), "prices stand still at the end"


def test_the_spot_is_a_replay_by_hand() -> None:
    chain = {"underlying": "X", "recorded_at": 7_300, "spot": "100", "expiries": [], "source": make_data.SOURCE}
    hourly = {"start": 0, "step": HOUR, "returns": ["0.5", "-0.1", "0.1", "-0.5"]}
    market = RecordedMarket(chain, hourly, shift=0)
    # The chain's instant lies after the second return: those before it must not move the price.
    assert [market.spot(t) for t in (7_300, 10_800, 14_400)] == [Decimal(100), Decimal(110), Decimal(55)]


def test_the_forward_is_the_recorded_one_and_converges_to_spot() -> None:
    assert MARKET.forward(NEAR, MARKET.start) == Decimal("2233.51")
    assert MARKET.forward(NEAR, NEAR) == MARKET.spot(NEAR)
    assert MARKET.forward(NEAR, NEAR + HOUR) == MARKET.spot(NEAR + HOUR)
    middle = (MARKET.start + NEAR) // 2
    premium = MARKET.forward(NEAR, middle) / MARKET.spot(middle) - 1
    assert premium == pytest.approx((Decimal("2233.51") / Decimal("2222.19") - 1) / 2, abs=Decimal("1e-6"))


def test_volatilities_stick_to_log_moneyness() -> None:
    at_first = MARKET.vol(call(2300), MARKET.start)
    later = MARKET.start + 100 * HOUR
    moved = Decimal(2300) * MARKET.forward(NEAR, later) / MARKET.forward(NEAR, MARKET.start)
    same_moneyness = Leg.call("ETH/USD", NEAR, moved.quantize(Decimal("1e-18")), quantity=1)
    assert MARKET.vol(same_moneyness, later) == pytest.approx(at_first, abs=Decimal("2e-6"))
    assert MARKET.vol(call(2300), later) != at_first


def test_a_put_and_a_call_of_one_strike_share_their_volatility() -> None:
    put = Leg.put("ETH/USD", NEAR, 2100, quantity=-3)
    assert MARKET.vol(put, MARKET.start) == MARKET.vol(call(2100), MARKET.start)


def test_a_smile_is_linear_between_its_points_and_flat_beyond() -> None:
    points = tuple((Decimal(x), Decimal(y)) for x, y in (("-0.2", "0.9"), ("0", "0.5"), ("0.1", "0.6")))
    smile = Smile(Decimal(100), points)
    expected = {"-1": "0.9", "-0.2": "0.9", "-0.1": "0.7", "0": "0.5", "0.05": "0.55", "0.1": "0.6", "9": "0.6"}
    assert {x: smile.vol(Decimal(x)) for x in expected} == {x: Decimal(y) for x, y in expected.items()}


def test_it_marks_what_the_chain_lists_and_nothing_else() -> None:
    legs = (call(2300), call(2300, FAR))
    marks = MARKET(legs, MARKET.start)
    assert marks is not None
    assert marks.covering(legs) == marks
    assert MARKET((call(2300, NEAR + HOUR),), MARKET.start) is None
    assert MARKET((Leg.call("BTC/USD", NEAR, 2300, quantity=1),), MARKET.start) is None
