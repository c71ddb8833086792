"""Prometheus metrics of the gateway; labels are routes and outcomes, never keys, models or ids."""

from prometheus_client import Counter, Gauge

from shared.tally import Timings

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

HTTP_SECONDS = Timings(
    "aimass_http_request_seconds", "Time to answer a request", ["route", "method", "status"], _BUCKETS
)
GRPC_SECONDS = Timings("aimass_grpc_request_seconds", "Time to answer a call over gRPC", ["method", "status"], _BUCKETS)
REFUSED = Counter("aimass_http_refused_total", "Requests without a valid key or a sufficient role", ["reason"])
IN_FLIGHT = Gauge("aimass_predictions_in_flight", "Predictions that the gateway waits for")
POOL_BYTES = Gauge("aimass_body_pool_bytes", "Shared memory that bodies of predictions take now")
LIMITED = Counter("aimass_http_limited_total", "Requests beyond a limit, by which one", ["limit"])
FOLLOWERS = Gauge("aimass_followers", "Event streams that are open")
CREDENTIALS = Gauge("aimass_credentials", "API keys that the gateway knows")
CREDENTIALS_LOADS = Counter("aimass_credentials_loads_total", "Times that all API keys were loaded anew")
