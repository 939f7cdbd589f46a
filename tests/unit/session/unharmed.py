"""What the tests of Mallory share: the proof that a side is the same after she has spoken, and what she can say."""

from __future__ import annotations

from dataclasses import replace

from channels.errors import (
    RemoteProtocolError,
    RuleViolation,
)
from channels.model import (
    ZERO32,
    Deployment,
    Mark,
    State,
)
from channels.seal import state_digest
from channels.session import Session
from channels.wire import messages as m
from tests.roles import DEPLOYMENT, Role
from tests.sansio import Joined, durable


class Unharmed:
    """Bob's side before Mallory, who holds Alice's key, speaks; and the proof that it is the same after."""

    def __init__(self, world: Joined) -> None:
        self.world, self.bob = world, world.bob
        self.before = durable(self.bob.channel)
        self.records = self.bob.store.records(world.id)

    def after(self, error: type[RuleViolation], *, heals: bool = True) -> None:
        (hangup,) = self.bob.hangups
        assert isinstance(hangup.error, RemoteProtocolError)
        assert type(hangup.error.violation) is error, hangup.error
        assert hangup.farewell == Session.to_bytes(m.Fault(error.code, str(hangup.error.violation)[:512]))
        assert durable(self.bob.channel) == self.before
        assert self.bob.store.records(self.world.id) == self.records
        assert not self.world.connected
        if heals:
            self.world.reconnect()
            self.world.propose(self.world.alice, Mark())
            assert self.world.connected
            assert len(self.bob.hangups) == 1


def next_state(world: Joined, **changes: object) -> State:
    return replace(world.agreed.state, **{"version": 2, **changes})  # type: ignore[arg-type]


def sign(role: Role, state: State, deployment: Deployment = DEPLOYMENT) -> bytes:
    return role.signer.sign(state_digest(deployment, state))


def channel_messages(channel: bytes) -> list[m.Message]:
    return [
        m.OpenAccepted(channel),  # type: ignore[arg-type]
        m.OpenRefused(channel, "x", "y"),  # type: ignore[arg-type]
        m.Propose(channel, 2, (Mark(),), ZERO32, bytes(65), 1),  # type: ignore[arg-type]
        m.Accept(channel, 1, bytes(65)),  # type: ignore[arg-type]
        m.Reject(channel, 1, "x", "y"),  # type: ignore[arg-type]
        m.WantTurn(channel),  # type: ignore[arg-type]
        m.PassTurn(channel, 1),  # type: ignore[arg-type]
        m.Resume(channel, 0, 0, None),  # type: ignore[arg-type]
    ]
