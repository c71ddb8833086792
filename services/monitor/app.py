"""The composition root of monitor."""

from services.monitor.dead_letters.collector import Collector
from services.monitor.engine import Host
from services.monitor.forecasting.forecasts import Forecasts
from services.monitor.handlers import HANDLERS, Parts
from services.monitor.quotas.board import Board
from services.monitor.quotas.watch import QuotaWatch
from services.monitor.retention import Retention
from services.monitor.settings import Settings
from shared.bus import Bus
from shared.db import Database
from shared.reading import StreamReader
from shared.service import Service


def connections(settings: Settings) -> tuple[Bus, Database]:
    """What a rebuilding of projections needs, which is a process of its own."""
    return Bus("monitor", settings), Database(settings)


def build(settings: Settings | None = None) -> Service:
    settings = settings or Settings()
    service = Service("monitor", settings)
    assert service.database is not None, "monitor needs MONITOR_DATABASE_URL"
    host = Host(settings.host_seconds, settings.home_dir)
    retention = Retention(service.database, settings)
    service.handle(HANDLERS, Parts(host, StreamReader(service.bus, "EVT"), Forecasts(service.bus)))
    assert service.relay is not None
    service.add_loop("host", host.run)
    service.add_loop("quotas", QuotaWatch(service.database, service.relay, settings.quota_seconds).run)
    board = Board(service.database, settings.board_seconds)
    service.show(board.tables)
    service.add_loop("board", board.run)
    service.add_loop("retention", retention.run)
    service.add_loop("dead letters", Collector(service.database, StreamReader(service.bus, "DLQ")).run)
    return service
