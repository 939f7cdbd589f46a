"""`deposit`: anyone may give, exactly what was named must arrive, and terms that would close an exit take no money."""

from dataclasses import astuple, replace

import pytest

from tests.contracts.conftest import MakeWorld
from tests.contracts.encoding import NOWHERE, Key
from tests.contracts.evm import START, STRANGER, Reverted
from tests.contracts.refusals import refused
from tests.contracts.world import CHALLENGE, DAY, EXPIRY, UNIT, World, call


def test_a_deposit_is_credited_to_the_party_it_names_whoever_pays(world: World) -> None:
    channel = world.channel()
    receipt = channel.deposit(1, 5 * UNIT, payer=STRANGER)
    assert receipt.one("Deposited") == {"channel": channel.id, "party": 1, "amount": 5 * UNIT, "total": 5 * UNIT}
    assert channel.deposit(1, 2 * UNIT).one("Deposited")["total"] == 7 * UNIT
    assert channel.status().deposits == (0, 7 * UNIT)
    assert world.balance(world.adjudicator.address) == 7 * UNIT


def test_deposits_are_taken_in_every_phase_but_closed(world: World) -> None:
    channel = world.channel((UNIT, UNIT))
    channel.challenge_unsigned()
    channel.deposit(0, UNIT)
    channel.reach_settling()
    channel.deposit(1, UNIT)
    assert channel.status().deposits == (2 * UNIT, 2 * UNIT)
    channel.settle(channel.nothing)
    with refused("adjudicator: closed"):
        channel.deposit(0, UNIT)


def test_zero_a_third_party_and_too_much_are_refused(world: World) -> None:
    channel = world.channel((UNIT, 0))
    with refused("adjudicator: zero amount"):
        channel.deposit(0, 0)
    with refused("adjudicator: no such party"):
        channel.send("deposit", 2, UNIT)
    with refused("adjudicator: deposit too large"):
        channel.deposit(0, 2**120 - UNIT)
    with refused("adjudicator: deposit too large"):
        channel.send("deposit", 0, 2**256 - 1)
    channel.deposit(0, 2**120 - 1 - UNIT)
    channel.deposit(1, 2**120 - 1)
    assert channel.status().deposits == (2**120 - 1, 2**120 - 1)


def test_without_allowance_or_ether_attached_nothing_happens(world: World) -> None:
    channel = world.channel()
    world.token.transact("mint", STRANGER, UNIT)
    with refused("token: transfer refused"):
        channel.send("deposit", 0, UNIT, sender=STRANGER)
    world.token.transact("approve", world.adjudicator.address, UNIT, sender=STRANGER)
    world.chain.fund(STRANGER)
    with refused(""):
        channel.send("deposit", 0, UNIT, sender=STRANGER, value=1)
    assert channel.status().deposits == (0, 0)
    assert world.balance(STRANGER) == UNIT


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"owners": (NOWHERE, STRANGER)}, "terms: zero owner"),
        ({"owners": (STRANGER, NOWHERE)}, "terms: zero owner"),
        ({"decimals": 19}, "terms: too many decimals"),
        ({"challenge_period": 599, "cure_period": 300}, "terms: challenge period"),
        ({"challenge_period": 14 * DAY + 1}, "terms: challenge period"),
        ({"challenge_period": 0}, "terms: challenge period"),
        ({"cure_period": 299}, "terms: cure period"),
        ({"cure_period": CHALLENGE + 1}, "terms: cure period"),
        ({"grace": 3_599}, "terms: grace"),
        ({"grace": 30 * DAY + 1}, "terms: grace"),
        ({"last_resort": START}, "terms: last resort"),
        ({"last_resort": START + 11 * 365 * DAY + 1}, "terms: last resort"),
    ],
)
def test_terms_out_of_bounds_take_no_money(world: World, changes: dict[str, object], reason: str) -> None:
    channel = world.channel(**changes)
    with refused(reason):
        channel.deposit(0, UNIT)


@pytest.mark.parametrize(
    "changes",
    [
        {"decimals": 18},
        {"decimals": 0},
        {"challenge_period": 600, "cure_period": 600},
        {"challenge_period": 14 * DAY},
        {"cure_period": 300},
        {"grace": 3_600},
        {"grace": 30 * DAY},
        {"last_resort": START + 1},
        {"last_resort": START + 11 * 365 * DAY},
    ],
)
def test_terms_on_their_bounds_are_good(world: World, changes: dict[str, object]) -> None:
    assert world.channel((UNIT, 0), **changes).status().deposits == (UNIT, 0)


def test_signers_must_be_two_in_order(world: World) -> None:
    first, second = sorted((Key(5).address, Key(6).address), key=lambda address: int(address, 16))
    for signers, reason in (
        ((second, first), "terms: signers not ascending"),
        ((first, first), "terms: signers not ascending"),
        ((NOWHERE, second), "terms: zero signer"),
    ):
        with refused(reason):
            world.channel((UNIT, 0), signers=signers)


def test_a_channel_nobody_paid_into_has_its_terms_checked_too(world: World) -> None:
    channel = world.channel(grace=0)
    state = channel.state(1)
    for act in (
        channel.challenge_unsigned,
        lambda: channel.challenge(state),
        lambda: channel.checkpoint(state),
        lambda: channel.close(channel.closing(1)),
    ):
        with refused("terms: grace"):
            act()


DIRT = "0x" + "01".ljust(24, "0")


@pytest.mark.parametrize(
    "name", ["owners", "source", "engine", "token", "signers", "spot_max_age", "last_resort", "decimals", "grace"]
)
def test_words_wider_than_their_type_are_no_terms(world: World, name: str) -> None:
    """Whole words are read without a decoder's clamps: the same terms with dirt above must not open another channel."""
    channel = world.channel()
    match getattr(channel.terms, name):
        case str(address):
            dirty: object = DIRT + address[2:]
        case (first, second):
            dirty = (first, DIRT + second[2:])
        case number:
            dirty = number + 2 ** {"spot_max_age": 32, "last_resort": 64, "decimals": 8, "grace": 32}[name]
    terms = astuple(replace(channel.terms, **{name: dirty}))
    reason = {"decimals": "terms: too many decimals", "grace": "terms: grace"}.get(name, "terms: out of bounds")
    with refused(reason):
        world.adjudicator.transact("deposit", terms, 0, UNIT)
    with refused(reason):
        world.adjudicator.transact("challenge_unsigned", terms, sender=channel.terms.owners[0])


def test_time_alone_never_stands_between_a_party_and_its_exit(world: World) -> None:
    """Past its last resort a channel takes no first deposit, but one that has money can still be left."""
    channel = world.channel((UNIT, UNIT), last_resort=START + DAY)
    world.chain.at(START + 2 * DAY)
    channel.deposit(1, UNIT)
    channel.challenge_unsigned()
    channel.reach_settling()
    channel.settle(channel.nothing)
    assert channel.wallets() == (UNIT, 2 * UNIT)


def test_channels_differ_by_chain_contract_and_every_term(world: World, make_world: MakeWorld) -> None:
    channel = world.channel()
    other = make_world()
    other.chain.deploy("TestToken", "Another", "ONE", 6)
    elsewhere = other.chain.deploy("Adjudicator").call("channel_id", astuple(channel.terms))
    seen = {channel.id, elsewhere, channel.terms.channel(2, world.adjudicator.address)}
    for name, value in {
        "signers": (STRANGER, STRANGER),
        "owners": (STRANGER, STRANGER),
        "token": STRANGER,
        "decimals": 7,
        "source": STRANGER,
        "engine": STRANGER,
        "policy": b"other".ljust(32, b"\0"),
        "challenge_period": 601,
        "cure_period": 301,
        "grace": 3_601,
        "spot_max_age": 1,
        "last_resort": EXPIRY,
        "salt": b"z" * 32,
    }.items():
        changed = replace(channel.terms, **{name: value})
        found = world.adjudicator.call("channel_id", astuple(changed))
        assert found == changed.channel(world.chain.id, world.adjudicator.address)
        seen.add(found)
    assert len(seen) == 16


def test_channels_do_not_share_their_money(world: World) -> None:
    rich, poor = world.channel((100 * UNIT, 100 * UNIT)), world.channel((UNIT, UNIT))
    greedy = poor.closing(1, withdrawal0=2**119, balance0=0)
    poor.close(greedy)
    assert poor.wallets() == (2 * UNIT, 0)
    assert rich.pot == world.balance(world.adjudicator.address) == 200 * UNIT


def test_an_undeployed_token_takes_nothing(world: World) -> None:
    terms = replace(world.channel().terms, token=STRANGER)
    with pytest.raises(Reverted):
        world.adjudicator.transact("deposit", astuple(terms), 0, UNIT)


def test_a_live_position_does_not_stop_a_top_up(world: World) -> None:
    channel = world.channel((UNIT, UNIT))
    channel.checkpoint(channel.state(1, call(2_000, 1)))
    channel.deposit(0, UNIT)
    assert channel.status().version == 1
