"""What /metrics shows; the README has the table. Labels never carry ids, and each has few values."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import product
from typing import TypeAlias

from attrs import define, field, frozen
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cueapi.domain.attempt import Delivery
from cueapi.domain.bulk import Kind
from cueapi.domain.execution import FINAL, Status, Transition
from cueapi.domain.outcome import OutcomeState

LAG_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0)
LATENCY_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)


NOTIFICATIONS = (
    "alert_webhook",
    "failure_webhook",
    "failure_mail",
    "sign_in_mail",
    "address_mail",
    "account_mail",
    "incident_mail",
    "recovery_mail",
    "channel_message",
)
NOTIFIED = ("sent", "put_off", "dropped")
"""`put_off`: it failed, and another attempt follows; `dropped`: none does."""

OPERATED = ("done", "skipped", "failed")

SETTLED = ("delivered", "success", "reported_failure", "failed", "verification_failed", "outcome_timeout", "released")
"""`delivered`: the handler took it and has not reported. What it reports later is an outcome."""

Values: TypeAlias = Iterable[tuple[tuple[str, ...], float]]
"""Values by the texts of their labels."""


@frozen
class Gauge:
    """A number that is read when /metrics is requested. One that *only_grows* is exported as a counter."""

    name: str
    help: str
    labels: tuple[str, ...]
    read: Callable[[], Values]
    only_grows: bool = False


@frozen(eq=False)
class _Read(Collector):
    """Gauges as they were read."""

    families: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


@define(eq=False)
class Metrics:
    """The counters of one daemon, in a registry of their own."""

    registry: CollectorRegistry = field(factory=CollectorRegistry)
    _fired: Counter = field(init=False)
    _settled: Counter = field(init=False)
    _retried: Counter = field(init=False)
    _ended: Counter = field(init=False)
    _outcomes: Counter = field(init=False)
    _notifications: Counter = field(init=False)
    _operated: Counter = field(init=False)
    _lag: Histogram = field(init=False)
    _requests: Histogram = field(init=False)
    _gauges: list[Gauge] = field(init=False, factory=list)
    _by_request: dict[tuple[str, str, int], Histogram] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        # One more series for each would only say when this daemon has started.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # (the library's)
        self._fired = self._counter("executions_fired", "Executions made by schedule.", {"as": ("fired", "missed")})
        self._settled = self._counter("attempts_settled", "Attempts by what came of them.", {"as": SETTLED})
        self._retried = self._counter("attempts_retried", "Attempts that another one follows.", {})
        self._ended = self._counter("executions_ended", "Executions by their final status.", {"status": sorted(FINAL)})
        self._outcomes = self._counter(
            "outcomes_recorded", "Reports by the state of the outcome.", {"state": OutcomeState}
        )
        self._notifications = self._counter(
            "notification_attempts", "Attempts to send a notification.", {"kind": NOTIFICATIONS, "as": NOTIFIED}
        )
        self._operated = self._counter(
            "operation_items", "What operations on many have worked on.", {"kind": sorted(Kind), "as": OPERATED}
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

    def _counter(self, name: str, told: str, labels: Mapping[str, Iterable[str]]) -> Counter:
        """A counter that shows 0 for each value of its labels from the start."""
        counter = Counter(f"cueapi_{name}", told, tuple(labels), registry=self.registry)
        for values in product(*labels.values()):
            if values:
                counter.labels(*values)
        return counter

    def read(self, *gauges: Gauge) -> None:
        """Show these, too, each time."""
        self._gauges += gauges

    def fired(self, executions: int, missed: int) -> None:
        """A poll made so many executions, and recorded so many as missed."""
        self._fired.labels("fired").inc(executions)
        self._fired.labels("missed").inc(missed)

    def settled(self, transition: Transition) -> None:
        """A transition was written. A report on an attempt that had ended is an outcome, and no attempt more."""
        if transition.verification is not None:
            self._outcomes.labels(transition.verification.state).inc()
        if transition.is_late and transition.status == transition.fence.status:
            return
        if (settled := _settled_as(transition)) is not None:
            self._settled.labels(settled).inc()
        if transition.status is Status.RETRYING and not transition.released:
            self._retried.inc()
        if transition.ends:
            self._ended.labels(transition.status).inc()

    def notified(self, kind: str, settled: str) -> None:
        """An attempt to send a notification of *kind* was `sent`, `put_off` or `dropped`."""
        self._notifications.labels(kind, settled).inc()

    def operated(self, kind: str, **numbers: int) -> None:
        """A batch of an operation was written: how many were `done`, `skipped` and `failed`."""
        for settled, number in numbers.items():
            self._operated.labels(kind, settled).inc(number)

    def sent(self, delivery: Delivery, *, now: datetime) -> None:
        """The first byte of an attempt is about to be sent."""
        if delivery.attempt == 1 and not delivery.is_backfill:
            lag = now - delivery.scheduled_for
            self._lag.observe(max(lag.total_seconds(), 0.0))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """The API answered a request."""
        key = (method, route, status)
        if (histogram := self._by_request.get(key)) is None:
            histogram = self._by_request[key] = self._requests.labels(method, route, str(status))
        histogram.observe(seconds)

    def text(self) -> Callable[[], bytes]:
        """
        What makes the Prometheus text of everything, in any thread.

        Gauges are read here: what they tell of belongs to the event loop.
        """
        read = CollectorRegistry()
        read.register(_Read([_family(gauge) for gauge in self._gauges]))
        return lambda: generate_latest(self.registry) + generate_latest(read)


def _family(gauge: Gauge) -> Metric:
    kind = CounterMetricFamily if gauge.only_grows else GaugeMetricFamily
    family = kind(gauge.name, gauge.help, labels=gauge.labels)
    for labels, value in gauge.read():
        family.add_metric(labels, value)
    return family


def _settled_as(transition: Transition) -> str | None:
    """What came of an attempt; None where there was none, or where it had been settled before."""
    if transition.released:
        return "released"
    return None if transition.is_late else transition.logged_as
