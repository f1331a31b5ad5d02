"""The gateway servers by the name of their provider: which of them are there, and which one makes new instances."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.errors import NotConfigured, SwitchedOff
from manager.upstream import Upstream

EVOLUTION, WPPCONNECT, BROKER = "evolution", "wppconnect", "broker"
NEEDED = {
    EVOLUTION: ("EVOLUTION_API_URL", "EVOLUTION_API_KEY"),
    WPPCONNECT: ("WPPCONNECT_URL", "WPPCONNECT_SECRET_KEY"),
    BROKER: ("WHATSAPP_BROKER_BASE_URL", "WHATSAPP_BROKER_API_KEY"),
}


@dataclass(frozen=True, kw_only=True)
class Gateways:
    """`default`: the provider of new instances. `is_there`: whether a provider's server is configured. `enabled`:
    whether an operator lets WhatsApp be used at all. All three may change while we run."""

    upstreams: Mapping[str, Upstream]
    default: Callable[[], str]
    is_there: Callable[[str], bool]
    enabled: Callable[[], bool] = lambda: True

    @classmethod
    def one(cls, upstream: Upstream) -> "Gateways":
        return cls(
            upstreams={upstream.name: upstream},
            default=lambda: upstream.name,
            is_there=lambda name: name == upstream.name,
        )

    def of(self, provider: str) -> Upstream:
        """The server of an instance. Raises NotConfigured, SwitchedOff."""
        if not self.enabled():
            raise SwitchedOff("WhatsApp is switched off")
        if not self.has(provider):
            raise NotConfigured("WhatsApp is not configured", missing=list(self.needed(provider)))
        return self.upstreams[provider]

    @staticmethod
    def needed(provider: str) -> tuple[str, ...]:
        """The settings that name its server: of its URL, and of its key."""
        return NEEDED.get(provider, ())

    def has(self, provider: str) -> bool:
        """Whether there is such a server, as far as the configuration says."""
        return provider in self.upstreams and self.is_there(provider)

    def expect(self) -> None:
        """Raises NotConfigured where there is no server at all, SwitchedOff."""
        if not self.ready():
            self.for_new()

    def for_new(self) -> Upstream:
        """The server of new instances. Raises NotConfigured, SwitchedOff."""
        return self.of(self.default())

    def ready(self) -> list[Upstream]:
        """Those that are configured; none while WhatsApp is switched off."""
        return [one for name, one in self.upstreams.items() if self.enabled() and self.has(name)]
