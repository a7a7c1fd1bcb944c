"""The settings that a project needs for its migrations, and no more."""

import os

SECRET_KEY = "a test has none"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "field_history",
    "catalogue",
    "shop.notices.Notices",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        # PGHOST may be the folder of a Unix socket.
        "HOST": os.environ["PGHOST"],
        "PORT": os.environ.get("PGPORT", ""),
        "NAME": os.environ["PGDATABASE"],
        "USER": os.environ["PGUSER"],
        "OPTIONS": {
            "application_name": "manage.py",
            # Such as "-c lockguard.policy=on".
            "options": os.environ.get("SHOP_DATABASE_OPTIONS", ""),
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"shop.notices": {"handlers": ["console"], "level": "INFO"}},
}
