"""A table less, that references the other."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0006_remove_field")]

    operations = [
        migrations.DeleteModel(name="Review"),
    ]
