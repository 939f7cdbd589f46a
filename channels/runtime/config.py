"""What a node's owner decides once: whom to trust, how long to wait, what to do without being asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..chain.source import SourceSetup
from ..core.channel import MarkPolicy
from ..core.limits import NO_LIMITS, Limits
from ..errors import InvalidValue, TermsRefused
from ..model import ZERO_ADDRESS, Address, Deployment, Terms
from ..risk import DEFAULT_POLICY, EXACT, MarginEngine, MarginPolicy
from ..wire.messages import WINDOW


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """A node's policy. Seconds throughout; the defaults suit a chain that has never been down for an hour.

    `tokens` (with their decimals) and `sources` are those that terms proposed by a peer may name: empty refuses every
    such proposal. Terms that the owner proposes itself are checked for the rest only. `engines` are the risk engines
    that a peer may name. The code of sources and engines is read at the node's start, or when our own terms name
    others: an engine must hold one of `policies`, a source be one of `source_setups`.
    """

    tokens: Mapping[Address, int] = field(default_factory=dict)
    sources: frozenset[Address] = frozenset()
    source_setups: tuple[SourceSetup, ...] | None = None
    """Whose prices are good: publishers, feeds, code the owner has read. None: those of the sources the owner names, as
    long as they are shipped ones whose parameters the shipped constructors allow."""
    engines: frozenset[Address] = frozenset()
    owner: Address | None = None
    """Who is paid for us, where a peer proposes the terms; None: our signer."""
    policies: tuple[MarginPolicy, ...] = (DEFAULT_POLICY,)
    mark_policy: MarkPolicy = field(default_factory=MarkPolicy)
    margin_engine: MarginEngine = EXACT
    """Who computes margins; `channels.risk.screen.FloatScreen()`, extra `fast`, gives the same integers sooner."""
    min_challenge: int = 3_600
    """Shorter than the chain's worst outage, and a dispute could pass unseen."""
    min_cure: int = 1_800
    """The same for margin calls, in terms with a risk engine: a stale state must then be answered within a cure."""
    confirmations: int = 0
    """How many blocks must stand on top of one before its facts count: more than the chain ever takes back.

    What stood before a channel was opened is asked at a confirmed block, whose state a full node keeps for 128 blocks:
    from about 120 confirmations on this takes an archive node; without one such a channel's deposits never count.
    """
    poll: float = 1.0
    reply_timeout: float = 30.0
    limits: Limits = NO_LIMITS
    """How many half-signed states the peer may hold at a time, and what they may cost us."""
    challenge_silence: float | None = None
    """After how long without an answer, or without the turn we asked for, to open a dispute; None: tell the owner."""
    turn_timeout: float = 30.0
    """How long the peer may keep the turn that we asked for, before it counts as unresponsive."""
    window: int = WINDOW
    """How many proposals may be in flight; with a peer that allows fewer, as many as that."""
    close_validity: int = 600
    """How long a CLOSE or REOPEN of ours stays valid; meanwhile nothing is signed above it."""
    backup_interval: float = 5.0
    """How often at most a peer is given our newest backup of each channel to keep, encrypted; 0: never."""
    tls: bool = True
    """Speak TLS 1.3 with peers; without it only where something else protects the line."""
    max_strangers: int = 256
    """Connections taken from peers that have no channel with us (yet); the oldest goes when one too many comes."""
    max_unfunded: int = 1_024
    """Channels that peers may open here before anybody has deposited: they cost a peer nothing, and are kept."""
    answer: bool = True
    """Answer a stale challenge with the newest agreed state."""
    settle: bool = True
    """Pin, settle, close and collect withdrawals as soon as it is possible."""
    housekeeping: bool = True
    """Get confirmed deposits, payments and settlements agreed whenever we hold the turn."""
    call_collateral: bool = True
    """Ask the peer for the collateral it lacks at each agreed state, by the policy's threshold and minimum transfer."""

    call_margin: bool = True
    """Call margin on-chain, if the terms name a risk engine, on a peer below maintenance that is silent or too slow."""
    margin_patience: float = 300.0
    """How long a connected peer that answers may stay below maintenance before it is called on-chain."""
    liquidate: bool = True
    """Close a peer out in the window of a margin call that it did not cure."""
    top_up_limit: int = 0
    """Token units that the node may deposit by itself to cure margin calls, over the whole life of each channel."""
    top_up_cushion: int = 10**16
    """What such a deposit adds to what is lacking, a WAD share of the initial margin: spots move until it is mined."""

    def __post_init__(self) -> None:
        if self.confirmations < 0:
            raise InvalidValue("confirmations", self.confirmations, "a block that is not there yet confirms nothing")

    def policy_of(self, terms: Terms) -> MarginPolicy:
        """Return the margin policy that the terms name by hash; TermsRefused if it is not one of ours."""
        for policy in self.policies:
            if policy.hash == terms.policy:
                return policy
        raise TermsRefused(f"the margin policy 0x{terms.policy.hex()} is not known to this node")

    def check_terms(
        self,
        terms: Terms,
        deployment: Deployment,
        ours: Deployment,
        engines: Mapping[Address, bytes],
        *,
        proposed_by_peer: bool,
    ) -> None:
        """Raise TermsRefused for terms that this node does not want.

        `engines`: the risk engines whose code was checked, each with the hash of the margin policy it holds.
        """
        if deployment != ours:
            raise TermsRefused(
                f"they are for adjudicator {deployment.adjudicator} on chain {deployment.chain_id}, "
                f"this node follows {ours.adjudicator} on chain {ours.chain_id}"
            )
        self.policy_of(terms)
        if terms.challenge_period < self.min_challenge:
            raise TermsRefused(f"a challenge period of {terms.challenge_period} s is below {self.min_challenge} s")
        if terms.engine != ZERO_ADDRESS:
            self._check_engine(terms, engines)
        if proposed_by_peer:
            if terms.token not in self.tokens:
                raise TermsRefused(f"the token {terms.token} is not one this node trusts")
            if terms.source not in self.sources:
                raise TermsRefused(f"the price source {terms.source} is not one this node trusts")
        decimals = self.tokens.get(terms.token, terms.decimals)
        if decimals != terms.decimals:
            raise TermsRefused(f"the token has {decimals} decimals, the terms say {terms.decimals}")

    def _check_engine(self, terms: Terms, engines: Mapping[Address, bytes]) -> None:
        held = engines.get(terms.engine)
        if held is None:
            raise TermsRefused(f"the risk engine {terms.engine} is not one this node has checked")
        if held != terms.policy:
            raise TermsRefused(
                f"the risk engine {terms.engine} holds the margin policy 0x{held.hex()}, "
                f"the terms name 0x{terms.policy.hex()}"
            )
        if terms.cure_period < self.min_cure:
            raise TermsRefused(f"a cure period of {terms.cure_period} s is below {self.min_cure} s")
