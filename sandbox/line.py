"""The one line an instance's events stand in, and what can block it.

Evolution waits for the delivery of messages.edited inside the loop that takes messages in: while the
receiver fails, up to 25 minutes, everything behind it waits (2.3.1 to 2.3.6: messages; later: all events).
"""

from collections.abc import Callable
from functools import partial

from sandbox.delivery import Delivery
from sandbox.profiles import Profile
from sandbox.state import Instance, World

Step = Callable[[], None]


class Line:
    """Methods may be called from any thread; steps run under the world's lock."""

    def __init__(self, world: World, delivery: Delivery, profile: Profile) -> None:
        self._world = world
        self._delivery = delivery
        self._profile = profile

    def tell(self, instance: Instance, event: str, data: object, done: Step | None = None) -> None:
        """An event about the connection; `done` as with `Delivery.emit`."""
        emit = partial(self._delivery.emit, instance, event, data, done)
        if self._profile.edit_blocks == "everything":
            self.take(instance, emit)
        else:
            emit()

    def take(self, instance: Instance, step: Step) -> None:
        """Something came in: now, or once what blocks the line is through."""
        with self._world.lock:
            if instance.live.blocked:
                instance.live.waiting.append(step)
            else:
                step()

    def tell_edit(self, instance: Instance, data: object) -> None:
        """messages.edited, which holds everybody behind it until it was delivered or given up."""
        with self._world.lock:
            live = instance.live
            live.blocked = self._profile.edit_blocks != "nothing"
            self._delivery.emit(instance, "messages.edited", data, done=partial(self._go_on, instance, live.waiting))

    def _go_on(self, instance: Instance, waiting: object) -> None:
        with self._world.lock:
            live = instance.live
            if live.waiting is not waiting:  # the process died meanwhile
                return
            live.blocked = False
            while live.waiting and not live.blocked:
                live.waiting.popleft()()
