"""Figures for Prometheus: requests, streams, and how far every partition is.

Labels are routes as they are declared, methods, statuses, partitions and views: so their number has
a bound. Positions are looked up when somebody asks.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from time import perf_counter
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.http.endpoint import ROUTE, Endpoint, Text
from adapters.http.live.hub import Hub
from adapters.log import LogError
from projections.progress import Judged

MEDIA: Final = "text/plain; version=0.0.4; charset=utf-8"

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# A series more for each, and this process has begun with all of them.
disable_created_metrics()  # type: ignore[no-untyped-call] # it has no annotations


class Metrics:
    """Counts what this process answers, and says what others have got done."""

    def __init__(self, glance: Callable[[], Awaitable[Sequence[Judged]]], hub: Hub) -> None:
        self._glance = glance
        self._registry = CollectorRegistry()
        labels = ("route", "method", "status")
        self._requests = Counter(
            "turnstile_requests", "Requests answered", labels, registry=self._registry
        )
        self._seconds = Histogram(
            "turnstile_request_seconds",
            "Seconds until the answer began",
            labels[:2],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Streams(hub))

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The figures."""
        return (
            Endpoint(
                "GET", "/v1/metrics", "Figures for Prometheus", Text, self.metrics, media=MEDIA
            ),
        )

    async def metrics(self) -> Response:
        """All figures in the text format; without the partitions if the log is away."""
        text = generate_latest(self._registry)
        try:
            partitions = CollectorRegistry()
            partitions.register(_Partitions(await self._glance()))
            text += generate_latest(partitions)
        except LogError:
            text += b"turnstile_log_up 0.0\n"
        else:
            text += b"turnstile_log_up 1.0\n"
        return Response(text, headers={"Content-Type": MEDIA})

    def observing(self, app: ASGIApp) -> ASGIApp:
        """The application, whose requests are counted."""

        async def observe(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            began = perf_counter()

            async def sending(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._count(scope, message["status"], perf_counter() - began)
                await send(message)

            await app(scope, receive, sending)

        return observe

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get(ROUTE, "none")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)


class _Streams(Collector):
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Any]:
        hub = self._hub
        yield GaugeMetricFamily("turnstile_streams", "Streams that are open", hub.streams)
        yield GaugeMetricFamily("turnstile_streams_bytes", "Bytes that wait for them", hub.waiting)
        yield CounterMetricFamily(
            "turnstile_streams_dropped", "Readers cut off because they were slow", hub.dropped
        )


class _Partitions(Collector):
    def __init__(self, found: Sequence[Judged]) -> None:
        self._found = found

    def collect(self) -> Iterator[Any]:
        for name, meaning, value in (
            ("position", "Up to where it is done", lambda course: course.done),
            ("lag", "How much is not done", lambda course: max(0, course.end - course.done)),
            ("owned", "Whether somebody has it", lambda course: course.owner is not None),
        ):
            family = GaugeMetricFamily(
                f"turnstile_partition_{name}", meaning, labels=("of", "partition")
            )
            for one in self._found:
                family.add_metric((one.course.of, str(one.course.partition)), value(one.course))
            yield family
