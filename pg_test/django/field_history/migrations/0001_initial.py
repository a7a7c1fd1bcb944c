"""The tables of the shop before the release."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [("contenttypes", "0002_remove_content_type_name")]

    operations = [
        migrations.CreateModel(
            name="FieldHistory",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("object_id", models.TextField(db_index=True)),
                ("field_name", models.CharField(db_index=True, max_length=500)),
                ("serialized_data", models.TextField()),
                ("date_created", models.DateTimeField(auto_now_add=True)),
                (
                    "content_type",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, to="contenttypes.contenttype"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="PageVisit",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("url", models.TextField()),
            ],
        ),
        migrations.CreateModel(
            name="SearchLog",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("words", models.TextField()),
            ],
        ),
    ]
