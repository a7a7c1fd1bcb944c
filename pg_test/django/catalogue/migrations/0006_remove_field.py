"""A column less."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0005_add_index_concurrently")]

    operations = [
        migrations.RemoveField(model_name="product", name="old_price"),
    ]
