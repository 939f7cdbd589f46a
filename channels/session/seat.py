"""Our seat at one channel: the core's machine with a key beside it.

What the peer says is authenticated here before the core hears it, and what the core wants signed is signed here and
stepped on. What comes out is Persist, Send and Notify, to be carried out in that order by whoever drives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from ..core import events as e
from ..core.apply import apply, remarked
from ..core.channel import Channel
from ..core.commands import Effect, Sign
from ..core.limits import NO_LIMITS, Limits
from ..core.machine import Step, step
from ..core.rules import closing
from ..errors import (
    BadSignature,
    BaseRefused,
    InvalidBook,
    InvariantBroken,
    KeyUnusable,
    RuleViolation,
    SigningBarred,
    StaleVersion,
    UnexpectedMessage,
    WindowFull,
    WrongChannel,
)
from ..model import ZERO32, Book, Claimed, Close, HalfSigned, Leg, Mark, Marks, Operation, Party, Trade
from ..risk.valuation import positions, tokens_down
from ..seal import Signer, check_agreed, check_party, state_digest
from ..wire import messages as m
from .deal import Deal, FairDeal, Offer

Market = Callable[[tuple[Leg, ...], int], Marks | None]
"""The owner's own view: marks that cover exactly these legs at this unix time, or None where it has none."""


def no_market(legs: tuple[Leg, ...], now: int) -> Marks | None:
    """The view of an owner who has none: it judges no mark of the peer's, so it accepts none."""
    return None


def printable(text: str) -> str:
    """Return a peer's words as they may be shown and logged: no line breaks, no terminal's control codes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _turned(legs: tuple[Leg, ...]) -> tuple[Leg, ...]:
    """Return the legs that undo these."""
    return tuple(leg.times(-1) for leg in legs)


class Seat:
    """One party's machine for one channel, with its owner's market and its owner's word on a peer's deals.

    Every method returns the effects to carry out, in order.
    If an effect cannot be carried out (a full disk), the seat must be thrown away and replayed from the journal.
    """

    def __init__(
        self,
        channel: Channel,
        signer: Signer,
        market: Market = no_market,
        deal: Deal | None = None,
        limits: Limits = NO_LIMITS,
    ) -> None:
        if signer.address != channel.terms.signers[channel.me]:
            raise KeyUnusable(f"{signer.address} is not the signer of party {channel.me}")
        self.channel, self.market, self.deal = channel, market, deal or FairDeal()
        self.limits = limits
        self.window = m.WINDOW
        """How many proposals may be in flight on the present connection: the smaller of both sides' numbers."""
        self.unheard = 0
        """How many of them are answered, which the peer cannot have heard when it sent what is read now."""
        self.forgery: BadSignature | None = None
        """What we found when we were about to answer: the peer only claimed to have signed. It ends the connection."""
        self.heard_on: object = None
        """The session that brought what is not answered yet: another one, of an earlier connection, leaves it alone."""
        self._signer = signer

    def act(self, event: e.Event) -> list[Effect]:
        """Step on an event of our side or of the chain. Raises the rule it breaks; then nothing has happened."""
        return self._carry_on(step(self.channel, event))

    def propose(self, operations: tuple[Operation, ...], salt: bytes, now: int) -> list[Effect]:
        """Half-sign the state that these operations lead to, and send it. Raises the rule it breaks."""
        return self.act(e.ProposalWanted(operations, salt, now, self.window, self.limits))

    def answer(self) -> list[Effect]:
        """Accept, with one signature, what the peer has proposed so far, and signed, and we judged right.

        Sets `forgery` where the signature of the last proposal does not hold; those before it are answered.
        """
        return self.act(e.AnswerDue(self._newest_signed())) if self.channel.unanswered else []

    def _newest_signed(self) -> HalfSigned | None:
        """Return the newest of the peer's proposals that it signed: what we sign, for all before it too."""
        for judged in reversed(self.channel.unanswered):
            half = judged.half
            if isinstance(half, HalfSigned):
                return half
            try:
                return self._check_claim(half)
            except BadSignature as forged:
                self.forgery = self.forgery or forged
        return None

    def _check_claim(self, claimed: Claimed) -> HalfSigned:
        check_party(self.channel.deployment, self.channel.terms, claimed.state, claimed.party, claimed.signature)
        return HalfSigned(claimed.state, claimed.book, claimed.party, claimed.signature)

    def receive(self, message: m.ChannelMessage, now: int) -> list[Effect]:
        """Step on a message of the peer's; what it proposed before is answered first, by `answer`.

        Raises the RuleViolation that ends the connection; then nothing has happened.
        """
        if message.channel != self.channel.id:
            raise WrongChannel(self.channel.id.hex(), message.channel.hex())
        if isinstance(message, m.Propose):
            return self._carry_on(self._judge(self._read_proposal(message, now), now))
        if self.channel.unanswered:
            raise InvariantBroken("proposals are answered before anything else is heard", type(message).__name__)
        return self._receive(message, now)

    def _receive(self, message: m.ChannelMessage, now: int) -> list[Effect]:
        match message:
            case m.Propose():
                raise InvariantBroken("proposals are judged where they arrive", f"version {message.version}")
            case m.Accept(_, version, signature):
                return self._receive_accept(version, signature)
            case m.Reject(_, version, code, reason):
                return self.act(e.RejectSeen(version, printable(code), printable(reason)))
            case m.WantTurn():
                return self.act(e.TurnWantedSeen())
            case m.CollateralCall(_, version, amount):
                return self.act(e.CollateralCallSeen(version, amount))
            case m.PassTurn(_, turn):
                return self.act(e.TurnPassedSeen(turn))
            case m.RecoveryAllowed(_, marker, version, turn):
                return self.act(e.RecoveryAllowedSeen(marker, version, turn))
            case m.Resume(_, turn, signed, agreed, seen, recovery):
                if agreed is not None:
                    if agreed.state.channel != self.channel.id:
                        raise WrongChannel(self.channel.id.hex(), agreed.state.channel.hex())
                    check_agreed(self.channel.deployment, self.channel.terms, agreed)
                return self.act(e.ResumeSeen(turn, signed, agreed, self.window, seen, recovery))
            case m.OpenAccepted():
                return self.act(e.TermsConfirmed())
            case m.OpenRefused():
                raise UnexpectedMessage("OpenRefused", self.channel.phase.value)
            case _:
                assert_never(message)

    def _read_proposal(self, message: m.Propose, now: int) -> e.ProposalSeen | e.ProposalBroken:
        """Compute the peer's state from its operations, and check that this is what it signed."""
        channel = self.channel
        for agreed in (channel.agreed, channel.closing):
            if agreed and agreed.version == message.version:
                # It is agreed already: the signature decides whether this is a repetition or another state.
                check_party(channel.deployment, channel.terms, agreed.state, channel.me.other, message.signature)
                half = HalfSigned(agreed.state, agreed.book, channel.me.other, message.signature)
                return e.ProposalSeen(half, message.operations, now, None)
        if message.version <= channel.version:
            raise StaleVersion(message.version, channel.version)
        if message.base != channel.tip_version:
            return e.ProposalBroken(message.version, self._base_refusal(message))
        self._check_window(message)
        if (claimed := self._claimed(message)) is not None:
            if isinstance(claimed, RuleViolation):
                return e.ProposalBroken(message.version, claimed)
            return e.ProposalSeen(claimed, message.operations, now, self._view(claimed.book.legs, now, claimed.book))
        base, book = channel.tip
        try:
            state, after = apply(
                channel.id,
                base,
                book,
                message.operations,
                proposer=channel.me.other,
                version=message.version,
                salt=message.salt,
                decimals=channel.terms.decimals,
                policy=channel.policy,
            )
        except RuleViolation as broken:
            return e.ProposalBroken(message.version, broken)
        check_party(channel.deployment, channel.terms, state, channel.me.other, message.signature)
        closed = closing(channel, message.operations, channel.me.other)
        view = self._view((closed[1] if closed else after).legs, now)
        return e.ProposalSeen(
            HalfSigned(state, after, channel.me.other, message.signature), message.operations, now, view
        )

    def _claimed(self, message: m.Propose) -> Claimed | RuleViolation | None:
        """Return marks that the peer says it signed, or the rule that they break; None for any other proposal.

        Its signature is looked at when it is refused, or answered as the last one: what a later state takes the place
        of is signed by us never, and binds nobody. A deal is another matter: our owner acts on it.
        """
        marks = tuple([operation for operation in message.operations if isinstance(operation, Mark)])
        newest = self.channel.unanswered[-1].half if self.channel.unanswered else None
        amounts, book = (newest.amounts, newest.book) if isinstance(newest, Claimed) else self.channel.tip
        if len(marks) < len(message.operations) or amounts is None:
            return None
        try:
            after = remarked(book, marks, message.salt)
        except RuleViolation as broken:
            return broken
        return Claimed(amounts, message.version, after, self.channel.me.other, message.signature)

    def _base_refusal(self, message: m.Propose) -> RuleViolation:
        """A signed Reopen explains a base that we do not have yet: it is mined, and we have not seen that."""
        bar = self.channel.bar
        if bar is not None and bar.version == message.base:
            return SigningBarred(bar.version, bar.valid_until)
        return BaseRefused(message.version, message.base)

    def _judge(self, event: e.ProposalSeen | e.ProposalBroken, now: int) -> Step:
        """Step on a peer's proposal; where the rules would let it pass, the owner has the last word."""
        result = step(self.channel, event)
        if not isinstance(event, e.ProposalSeen):
            return result
        is_right = len(result.channel.unanswered) > len(self.channel.unanswered)
        if isinstance(event.half, Claimed):
            if not is_right:
                self._check_claim(event.half)  # no refusal either of what the peer did not sign
        elif is_right:
            try:
                for operation in event.operations:
                    if isinstance(operation, Trade | Close):
                        self.deal(self._offer(operation, now))
                closed = closing(self.channel, event.operations, self.channel.me.other)
                if closed is not None:
                    paid = closed[0].balances[Party.ZERO] - event.half.state.balances[Party.ZERO]
                    self.deal(self._offered(_turned(closed[1].legs), paid, now))
            except RuleViolation as declined:
                return step(self.channel, e.ProposalBroken(event.half.version, declined))
        return result

    def _offer(self, operation: Trade | Close, now: int) -> Offer:
        if isinstance(operation, Trade):
            return self._offered(operation.legs, operation.premium, now)
        return self._offered(_turned(self.channel.book.legs), operation.transfer, now)

    def _check_window(self, message: m.Propose) -> None:
        """Raise WindowFull for a peer that proposes more than it may, all of which we would have to hold."""
        waiting = self.channel.unanswered
        held = sum([len(judged.operations) for judged in waiting], len(message.operations))
        if self.unheard + len(waiting) >= self.window or held > m.MAX_WINDOW_OPERATIONS:
            raise WindowFull(self.window, m.MAX_WINDOW_OPERATIONS)

    def _offered(self, legs: tuple[Leg, ...], paid: int, now: int) -> Offer:
        """Return what a deal means for us at our own marks: party 0 gets `legs` and pays `paid` token units."""
        channel = self.channel
        sign = 1 if channel.me is Party.ZERO else -1
        mine = tuple(leg.times(sign) for leg in legs)
        marks = self._view(mine, now)
        value: int | None = None
        gross: int | None = None
        if marks is not None or not mine:
            # One leg at a time: a trade may hold more legs than a book.
            held = [position for leg in mine if marks for position in positions(Book.of((leg,), marks, ZERO32))]
            value = tokens_down(sum(position.value for position in held), channel.terms.decimals)
            gross = tokens_down(sum(abs(position.value) for position in held), channel.terms.decimals)
        return Offer(channel.id, mine, -sign * paid, value, gross, channel.terms.decimals)

    def _view(self, legs: tuple[Leg, ...], now: int, book: Book | None = None) -> Marks | None:
        """Return the market's marks cut to these legs, `book`'s if it is given; a market that lacks one has no view."""
        try:
            marks = self.market(legs, now) if legs else None
            if marks is None:
                return None
            return book.cut(marks) if book else marks.covering(legs)
        except InvalidBook:
            return None

    def _receive_accept(self, version: int, signature: bytes) -> list[Effect]:
        channel = self.channel
        out = channel.half(version)
        if out is not None:
            check_party(channel.deployment, channel.terms, out.half.state, channel.me.other, signature)
        return self.act(e.AcceptSeen(version, signature))

    def _carry_on(self, result: Step) -> list[Effect]:
        effects: list[Effect] = []
        for command in result.commands:
            if isinstance(command, Sign):
                signature = self._signer.sign(state_digest(result.channel.deployment, command.state))
                signed = step(result.channel, e.SignatureMade(command.state.version, signature))
                self.channel = signed.channel
                effects += [c for c in signed.commands if not isinstance(c, Sign)]
                return effects
            effects.append(command)
        self.channel = result.channel
        return effects
