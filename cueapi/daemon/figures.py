"""What the page about the system shows of this process."""

from cueapi.daemon.resources import Resources
from cueapi.daemon.wiring import Wiring
from cueapi.dashboard.system import Figures, InUse
from cueapi.domain.zone import tzdata_version


def figures(resources: Resources, wiring: Wiring) -> Figures:
    """As of now."""
    pools, capacity, connections = resources.pools, wiring.capacity, wiring.connections
    channels = (wiring.deliveries, wiring.results, wiring.retries)
    return Figures(
        resources.address,
        resources.identity.number,
        tzdata_version(),
        resources.clock.offset.total_seconds(),
        [
            *(InUse(f"Channel {one.name}", one.depth, one.capacity, "items") for one in channels),
            InUse("Dispatch pool", capacity.taken, capacity.size, "deliveries under way"),
            InUse(
                "Database pool",
                sum(pool.in_use for pool in pools),
                sum(pool.size for pool in pools),
                "connections to PostgreSQL",
            ),
            InUse("Clients", len(connections), connections.most, "connections of clients"),
        ],
    )
