"""What a server counts, for Prometheus: numbers alone, never texts."""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from rdistill.infer.concise import Reply

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The counters of one server; `text` also holds vLLM's own and the process's."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "rdistill_requests", "Requests by route and HTTP status.", ["route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "rdistill_request_seconds",
            "Seconds from a chat request's head to its answer's end, by mode.",
            ["mode"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.inside = Gauge("rdistill_requests_inside", "Chat requests answered or waiting.", registry=self._registry)
        self.gone = Counter("rdistill_clients_gone", "Clients that left before their answer.", registry=self._registry)
        self._tokens = Counter(
            "rdistill_tokens", "Tokens of answered requests.", ["kind", "mode"], registry=self._registry
        )

    def add(self, reply: Reply) -> None:
        self._tokens.labels("prompt", reply.answer.mode).inc(reply.prompt_tokens)
        self._tokens.labels("completion", reply.answer.mode).inc(reply.answer.tokens)

    def text(self) -> bytes:
        return generate_latest(self._registry) + generate_latest(REGISTRY)
