"""`ChainlinkPriceSource` against a model, over random histories: one proof is accepted, and its price is the model's.

HYPOTHESIS_PROFILE=nightly pytest tests/contracts/test_chainlink_laws.py        5,000 histories a law
"""

from hypothesis import given, settings, strategies as st

from tests.contracts.encoding import ETH
from tests.contracts.evm import START, Reverted
from tests.contracts.rounds import DECIMALS, SCALE, Desk, Told
from tests.contracts.world import MINUTE

SPAN = 15 * MINUTE
T = START - SPAN
EXPIRIES = st.sampled_from(range(-5, SPAN))
LAW = settings(max_examples=max(150, settings().max_examples))
NO_PROOF = {
    "history: not a round before it",
    "history: a later round is before it",
    "history: a later phase is before it",
    "history: phases out of reach",
}
SILENT = "source: feed is silent"
NO_WAY = {
    SILENT,
    "source: stale in the window",
    "source: no earlier phase",
    "source: no round since the expiry",
    "source: already settled",
}


@st.composite
def phases(draw: st.DrawFn, earliest: int = 0) -> list[tuple[int, int]]:
    """Return up to eight rounds, their times never falling: some without a price, some simultaneous."""
    count = draw(st.sampled_from([0, 1, 2, 4, 6, 8]))
    times = sorted(draw(st.sampled_from(range(earliest, SPAN, 10))) for _ in range(count))
    rounds = []
    for n, time in enumerate(times):
        kind = draw(st.sampled_from(["priced"] * 5 + ["absent", "zero", "negative"]))
        answer = {"priced": (n + 1) * 10**DECIMALS + time, "zero": 0, "negative": -1}.get(kind, 0)
        rounds.append((0, 0) if kind == "absent" else (T + time, answer))
    return rounds


@st.composite
def histories(draw: st.DrawFn) -> Told:
    """Return one to four phases, overlapping as they like, not always numbered from one."""
    first = draw(st.sampled_from([0, 1, 6]))
    count = draw(st.integers(1, 4))
    return Told({first + n: draw(phases(draw(st.sampled_from([0, n * SPAN // 5])))) for n in range(count)})


@st.composite
def windows(draw: st.DrawFn) -> tuple[Told, int, int]:
    """Return a history, an expiry and a window before it, mostly one that the history covers."""
    told = draw(histories())
    since = min((one.time for one in told.history()), default=T)
    expiry = draw(st.sampled_from(range(since + MINUTE, START + MINUTE)))
    return told, min(expiry, START), draw(st.sampled_from(range(MINUTE, expiry - since + MINUTE)))


def desk_with(told: Told, hidden: list[tuple[int, int]], reverts: bool, window: int = 0, max_age: int = 60) -> Desk:
    """A desk whose feed has these rounds, and an aggregator beyond that the proxy does not know yet."""
    desk = Desk(window, max_age=max_age)
    desk.feed.transact("set_reverts", reverts)
    desk.tell(told)
    desk.publish(told.confirmed + 1, *hidden)
    return desk


def is_silent(told: Told, reverts: bool) -> bool:
    """Whether the proxy's aggregator has never answered, and reverts when asked."""
    return reverts and not any(time for time, _ in told.phases[told.confirmed])


def every_id(told: Told) -> list[int]:
    """Return all ids of rounds, and some of none: before and after each phase."""
    return [p << 64 | n for p in (*told.phases, told.confirmed + 1) for n in range(10)]


@LAW
@given(told=histories(), hidden=phases(), reverts=st.booleans(), at=EXPIRIES)
def test_one_proof_is_accepted_and_it_is_the_models(
    told: Told, hidden: list[tuple[int, int]], reverts: bool, at: int
) -> None:
    expiry = T + at
    desk = desk_with(told, hidden, reverts)
    proof, first = told.before(expiry), told.first(expiry)
    for before in every_id(told):
        if proof is not None and before == proof.id:
            continue
        try:
            desk.first(expiry, before, gas=10_000_000)
        except Reverted as error:
            assert error.reason in NO_PROOF | {SILENT}
        else:
            raise AssertionError(f"{before:x} proves what {proof} does")
    if proof is None:
        return
    try:
        price = desk.first(expiry, proof.id, gas=10_000_000).result
    except Reverted as error:
        missing = "source: no round since the expiry" if first is None else None
        assert error.reason == (SILENT if is_silent(told, reverts) else missing)
    else:
        assert first is not None
        assert price == desk.settlement(expiry) == first.answer * SCALE


@LAW
@given(
    case=windows(),
    hidden=phases(),
    reverts=st.booleans(),
    max_age=st.sampled_from([60, 300, SPAN]),
    steps=st.integers(1, 9),
)
def test_an_average_is_the_models_whoever_submits_what(
    case: tuple[Told, int, int], hidden: list[tuple[int, int]], reverts: bool, max_age: int, steps: int
) -> None:
    told, expiry, window = case
    desk = desk_with(told, hidden, reverts, window, max_age)
    proof = told.before(expiry)
    settles = told.first(expiry) is not None and not is_silent(told, reverts)
    price = told.average(expiry, window, max_age) if settles else None
    for other in every_id(told):  # Mallory: any proof, any crossing, any number of steps
        for before in (other, proof.id if proof else other):
            try:
                desk.step(expiry, before, other % 5, other)
            except Reverted as error:
                assert error.reason in NO_PROOF | NO_WAY | {
                    "source: no round since the expiry",
                    "source: already settled",
                }
            assert desk.settlement(expiry) in (0, price)
    if proof is None or price is None:
        assert desk.settlement(expiry) == 0
        return
    assert desk.averaged(told, expiry, steps) == price
    assert desk.source.call("average", ETH, expiry, proof.id)[1] == expiry - window


def test_the_histories_are_not_all_alike() -> None:
    """The laws above are worth what they are asked: overlaps, empty phases, openings that win, averages that cross."""
    seen = {"settled": 0, "overlap": 0, "opening": 0, "unsettled": 0, "averaged": 0, "crossing": 0}

    @settings(max_examples=300)
    @given(case=windows())
    def look(case: tuple[Told, int, int]) -> None:
        told, expiry, window = case
        proof, first = told.before(expiry), told.first(expiry)
        seen["settled" if proof and first else "unsettled"] += 1
        if proof and first:
            straddling = {one.phase for one in told.rounds() if one.time < expiry}
            straddling &= {one.phase for one in told.rounds() if one.time >= expiry}
            seen["overlap"] += len(straddling) > 1
            seen["opening"] += first.phase != proof.phase
            if told.average(expiry, window, SPAN) is not None:
                begun = {one.phase for one in told.history() if one.time <= expiry - window}
                seen["averaged"] += 1
                seen["crossing"] += proof.phase not in begun

    look()
    assert min(seen.values()) >= 5, seen
