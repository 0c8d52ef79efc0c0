"""A stand-in Customer.io and LaunchDarkly over real HTTP, with shoppers whose true lift is known.

Nothing in here is needed to run experiments: it is for the demo, for rehearsals and for tests.
"""

from __future__ import annotations

from toolkit.sandbox.box import Sandbox
from toolkit.sandbox.model import PROGRAMS, Program
from toolkit.sandbox.wire import Fault
from toolkit.sandbox.world import World

__all__ = ["PROGRAMS", "Fault", "Program", "Sandbox", "World"]
