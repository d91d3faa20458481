"""How much a benchmark measures: enough to mean something, or just enough to see that it runs."""

from attrs import frozen


@frozen
class Size:
    """Counts, and times in seconds. What is compared is measured in turns, *rounds* times after a *warm_up*."""

    rounds: int = 3
    warm_up: int = 2
    # deliveries
    deliveries: int = 3_000
    tasks: int = 64
    # lag, burst
    rate: int = 50
    lag_seconds: float = 20.0
    burst: int = 1_000
    ahead: float = 3.0
    # replays
    dead: int = 10_000
    # api
    api_rounds: int = 7
    api_seconds: float = 2.0
    connections: int = 12
    executions: int = 1_000
    # worker
    work: int = 3_000
    workers: int = 8
    # poll, pages, dashboard
    polls: int = 15
    few: int = 1_000
    many: int = 1_000_000
    due: int = 500
    history: int = 1_000_000
    page: int = 10_000
    cues: int = 10_000
    # memory, idle
    backlog: int = 100_000
    memory_seconds: float = 90.0
    idle: int = 100_000
    idle_seconds: float = 60.0
    # streams
    streams: int = 200
    stream_seconds: float = 30.0
    # statements
    batch: int = 200
    # peers
    peer_rounds: int = 2
    peer_jobs: int = 3_000
    peer_ahead: float = 8.0
    # the profile of a report: executions of each cue
    profiled: int = 5


FULL = Size()
TINY = Size(
    rounds=1, warm_up=0, deliveries=40, tasks=4, lag_seconds=0.4, burst=20, ahead=0.3, dead=30, api_rounds=1,
    api_seconds=0.2, connections=2, executions=30, work=30, workers=2, polls=1, few=20, many=200, due=10,
    history=300, page=10, cues=20, backlog=200, memory_seconds=0.5, idle=50, idle_seconds=0.3, streams=4,
    stream_seconds=0.3, batch=20, peer_rounds=1, peer_jobs=30, peer_ahead=3.0, profiled=1,
)  # fmt: skip
