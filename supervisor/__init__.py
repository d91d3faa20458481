"""
A tree of siblings: everything a Trio program runs for as long as it runs, in one nursery.

A *sibling* is `async def run(*, task_status)`: it claims its channel ends, calls `started()`, and loops. The
*tree* brings the siblings up in order, downstream first; one that does not come up fails the start whole.
Afterwards each is held alive by a *keeper*: one that fails is run again after a growing pause while its
neighbours go on, one that fails too often ends the tree, one that fails because something it depends on is away
waits for that, as long as it takes.

*Channels* join siblings, are bounded, and belong to the tree, so that they outlive a failure at either end.

`tree.stop(reason)` begins the *drain*: sources are cancelled, channels end, drainers run dry, then the
siblings that serve to the last are cancelled. What is not done within the grace is cut, and named.

The *health board* shows of each sibling its state, since when, its restarts, its last error and its last beat. The
*wheel* (timers) and `Periodic` (a beat that can be woken early) are what siblings are often made of.

Logged, with `sibling=` bound where a sibling is meant:

    sibling_failed      error, pause (none while draining)   it failed, and runs again after the pause
    sibling_waiting     error                                something it depends on is away; once an episode
    sibling_resumed                                          that is back
    restarts_exhausted  error                                it failed too often; the tree drains
    drain_begun         reason, grace
    drain_cut           left, channels                       the surroundings were cancelled during a drain
    stopped_at_once     reason                               the second signal
    drain_ended         reason, seconds, left, failed, channels
"""

from supervisor.channels import Channel
from supervisor.drain import Drained
from supervisor.errors import RestartsExhausted, SiblingReturned, SupervisorError
from supervisor.health import Entry, HealthBoard, State, beat
from supervisor.periodic import Periodic
from supervisor.restart import Policy
from supervisor.sibling import OnStop, Sibling
from supervisor.tree import Tree
from supervisor.wheel import Wheel

__all__ = [
    "Channel",
    "Drained",
    "Entry",
    "HealthBoard",
    "OnStop",
    "Periodic",
    "Policy",
    "RestartsExhausted",
    "Sibling",
    "SiblingReturned",
    "State",
    "SupervisorError",
    "Tree",
    "Wheel",
    "beat",
]
