"""Which addresses belong to the public internet: a pure rule.

Sources: IANA's registries of special-purpose addresses (RFC 6890), RFC 6052 (NAT64), RFC 3056
(6to4). ``ipaddress`` knows most of it; what the versions we run on lack is listed here.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_REFUSED_V4 = (
    IPv4Network("192.0.0.0/24"),  # IETF protocols, and Oracle's metadata at 192.0.0.192
    IPv4Network("192.88.99.0/24"),  # relays of 6to4, retired
    IPv4Network("168.63.129.16/32"),  # Azure's own services: a public address, served privately
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all else of IPv6 is private, reserved or multicast
_REFUSED_V6 = (
    IPv6Network("2001::/23"),  # IETF protocols, Teredo among them
    IPv6Network("3fff::/20"),  # documentation
)
_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet, and not another's disguise.

    Raises:
        ValueError: it is no IP address.
    """
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        inner = _ipv4_within(address)
        return _is_public_v6(address) if inner is None else _is_public_v4(inner)
    return _is_public_v4(address)


def _is_public_v4(address: IPv4Address) -> bool:
    special = address.is_multicast or any(address in network for network in _REFUSED_V4)
    return address.is_global and not special


def _is_public_v6(address: IPv6Address) -> bool:
    special = any(address in network for network in _REFUSED_V6)
    return address.is_global and address in _GLOBAL_UNICAST and not special


def _ipv4_within(address: IPv6Address) -> IPv4Address | None:
    """Find the IPv4 address that is meant: by mapping, a translator (NAT64) or a tunnel (6to4)."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
    return address.ipv4_mapped
