"""The same outside a transaction: each operation is one of its own."""

from django.db import migrations


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("field_history", "0002_drop_fieldhistory")]

    operations = [
        migrations.RunSQL(
            "SELECT lockguard.preempt_maintenance("
            """'{"relations": ["field_history_pagevisit"], "timeout": "4s"}')""",
            reverse_sql=migrations.RunSQL.noop,
        ),
        migrations.DeleteModel(name="PageVisit"),
    ]
