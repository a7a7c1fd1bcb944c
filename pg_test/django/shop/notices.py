"""Shows what the server says beside results, which Django drops: a migration that clears its way tells
here whom it found there, and what became of them."""

import logging

from django.apps import AppConfig
from django.db.backends.signals import connection_created

logger = logging.getLogger(__name__)


def log_notice(notice):
    logger.info("%s", notice.message_primary)


def listen(connection, **kwargs):
    if connection.vendor == "postgresql":
        connection.connection.add_notice_handler(log_notice)


class Notices(AppConfig):
    name = "shop"

    def ready(self):
        connection_created.connect(listen)
