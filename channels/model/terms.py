"""The terms of a channel: all that never changes. Their hash, with chain and adjudicator, is the channel's id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import TermsRefused
from .identity import ZERO_ADDRESS, Address, ChannelId, Deployment, Party, keccak, word

MIN_CHALLENGE, MAX_CHALLENGE = 600, 14 * 86_400
MIN_CURE = 300
MIN_GRACE, MAX_GRACE = 3_600, 30 * 86_400
MAX_DECIMALS = 18


@dataclass(frozen=True, slots=True)
class Terms:
    """What both sides agree once, before any money moves. Periods in seconds, `last_resort` a unix time.

    Raises TermsRefused where a field is outside the protocol's bounds.
    """

    signers: tuple[Address, Address]
    """Hot keys that sign states; party 0 is the lower address."""
    owners: tuple[Address, Address]
    """Who is paid, and may act on-chain for its party."""
    token: Address
    decimals: int
    source: Address
    """The price source."""
    engine: Address
    """The risk engine, or zero: no on-chain margin."""
    policy: bytes
    """Hash of the canonical margin policy."""
    challenge_period: int
    cure_period: int
    grace: int
    spot_max_age: int
    last_resort: int
    salt: bytes

    def __post_init__(self) -> None:
        for name in ("token", "source", "engine"):
            _require(isinstance(getattr(self, name), Address), f"{name} is not an Address")
        for pair in (self.signers, self.owners):
            _require(
                isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(a, Address) for a in pair),
                "signers and owners are two Addresses each",
            )
        _require(self.signers[0] < self.signers[1], "signers must differ and be sorted, the lower address first")
        _require(self.signers[0] != ZERO_ADDRESS, "a signer is the zero address")
        _require(ZERO_ADDRESS not in self.owners, "an owner is the zero address")
        _require(self.token != ZERO_ADDRESS, "the token is the zero address")
        _require(self.source != ZERO_ADDRESS, "the price source is the zero address")
        _within("decimals", self.decimals, 0, MAX_DECIMALS)
        _within("challenge period", self.challenge_period, MIN_CHALLENGE, MAX_CHALLENGE)
        _within("cure period", self.cure_period, MIN_CURE, self.challenge_period)
        _within("grace", self.grace, MIN_GRACE, MAX_GRACE)
        _within("spot max age", self.spot_max_age, 1, 2**32 - 1)
        _within("last resort", self.last_resort, 1, 2**40 - 1)
        for name in ("policy", "salt"):
            value = getattr(self, name)
            _require(isinstance(value, bytes) and len(value) == 32, f"{name} must have thirty-two bytes")

    @classmethod
    def between(
        cls,
        one: Address,
        other: Address,
        *,
        token: Address,
        decimals: int,
        source: Address,
        policy: bytes,
        salt: bytes,
        last_resort: int,
        owners: Mapping[Address, Address] | None = None,
        engine: Address = ZERO_ADDRESS,
        challenge_period: int = 86_400,
        cure_period: int = 1_800,
        grace: int = 14_400,
        spot_max_age: int = 3_600,
    ) -> Terms:
        """Build terms between two signers given in any order; an owner is its signer where `owners` names no other."""
        signers = (min(one, other), max(one, other))
        paid = tuple((owners or {}).get(signer, signer) for signer in signers)
        return cls(
            signers,
            (paid[0], paid[1]),
            token,
            decimals,
            source,
            engine,
            policy,
            challenge_period,
            cure_period,
            grace,
            spot_max_age,
            last_resort,
            salt,
        )

    def encode(self) -> bytes:
        """Return the ABI encoding: fifteen static words, in the order of the contract's struct."""
        return b"".join(
            (
                *(a.word for a in (*self.signers, *self.owners, self.token)),
                word(self.decimals),
                self.source.word,
                self.engine.word,
                self.policy,
                *(word(n) for n in (self.challenge_period, self.cure_period, self.grace)),
                word(self.spot_max_age),
                word(self.last_resort),
                self.salt,
            )
        )

    def channel_id(self, deployment: Deployment) -> ChannelId:
        """Return keccak256(abi.encode(chainid, adjudicator, terms)): no replay on another chain or deployment."""
        return ChannelId(keccak(word(deployment.chain_id) + deployment.adjudicator.word + self.encode()))

    def party_of(self, address: Address) -> Party | None:
        """Return whose side an address is, as signer or owner; None for a stranger."""
        for party in Party:
            if address in (self.signers[party], self.owners[party]):
                return party
        return None


def _require(condition: bool, detail: str) -> None:
    if not condition:
        raise TermsRefused(detail)


def _within(what: str, value: int, low: int, high: int) -> None:
    _require(type(value) is int and low <= value <= high, f"{what} is {value!r}, allowed {low} to {high}")
