"""What /metrics shows. Labels never carry ids."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from attrs import define, field, frozen
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cueapi.domain.attempt import Delivery
from cueapi.domain.execution import Status, Transition

LAG_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0)
LATENCY_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)


@frozen
class Gauge:
    """A number that is read when /metrics is requested: name, help, and values by label."""

    name: str
    help: str
    labels: tuple[str, ...]
    read: Callable[[], Iterable[tuple[tuple[str, ...], float]]]


@frozen
class _Gauges(Collector):
    gauges: tuple[Gauge, ...]

    def collect(self) -> Iterable[Metric]:
        for gauge in self.gauges:
            family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
            for labels, value in gauge.read():
                family.add_metric(labels, value)
            yield family


@define(eq=False)
class Metrics:
    """The counters of one daemon, in a registry of their own."""

    registry: CollectorRegistry = field(factory=CollectorRegistry)
    _fired: Counter = field(init=False)
    _settled: Counter = field(init=False)
    _lag: Histogram = field(init=False)
    _requests: Histogram = field(init=False)
    _by_request: dict[tuple[str, str, int], Histogram] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._fired = Counter("cueapi_executions_fired", "Executions made by schedule.", ["as"], registry=self.registry)
        self._settled = Counter(
            "cueapi_attempts_settled",
            "Attempts by result: delivered, failed, retried, missed, outcome_timeout, released.",
            ["as"],
            registry=self.registry,
        )
        self._lag = Histogram(
            "cueapi_delivery_lag_seconds",
            "From scheduled_for to the first byte sent, first attempts only.",
            buckets=LAG_BUCKETS,
            registry=self.registry,
        )
        self._requests = Histogram(
            "cueapi_http_request_duration_seconds",
            "Requests to the API by method, route template and status.",
            ["method", "route", "status"],
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )

    def read(self, *gauges: Gauge) -> None:
        """Show these, too, each time."""
        self.registry.register(_Gauges(gauges))

    def fired(self, executions: int, missed: int) -> None:
        """A poll made so many executions, and recorded so many as missed."""
        self._fired.labels("fired").inc(executions)
        self._fired.labels("missed").inc(missed)

    def settled(self, step: Transition) -> None:
        """A step was written down."""
        self._settled.labels(_word(step)).inc()

    def sent(self, delivery: Delivery) -> None:
        """The first byte of an attempt is about to be sent."""
        if delivery.attempt == 1:
            lag = datetime.now(UTC) - delivery.scheduled_for
            self._lag.observe(max(lag.total_seconds(), 0.0))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """The API answered a request."""
        key = (method, route, status)
        if (histogram := self._by_request.get(key)) is None:
            histogram = self._by_request[key] = self._requests.labels(method, route, str(status))
        histogram.observe(seconds)

    def text(self) -> bytes:
        """Everything, in the Prometheus text format."""
        return generate_latest(self.registry)


def _word(step: Transition) -> str:
    if step.released:
        return "released"
    if step.status is Status.SUCCESS:
        return "delivered"
    return "retried" if step.status is Status.RETRYING else str(step.status)
