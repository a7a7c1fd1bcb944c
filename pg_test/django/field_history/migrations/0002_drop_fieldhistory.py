"""Drops a table while a backup may be reading it.

Dropping it drops its foreign key, which locks the table that the key refers to as well: that one is named too.
"""

from django.db import migrations

CLEAR_THE_WAY = """
SELECT lockguard.preempt_maintenance('{
    "relations": ["field_history_fieldhistory", "django_content_type"],
    "timeout": "20s"
}')
"""


class Migration(migrations.Migration):
    dependencies = [("field_history", "0001_initial")]

    operations = [
        migrations.RunSQL(CLEAR_THE_WAY, reverse_sql=migrations.RunSQL.noop),
        migrations.DeleteModel(name="FieldHistory"),
    ]
