"""An index, built while nobody waits."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("catalogue", "0004_add_index")]

    operations = [
        AddIndexConcurrently(
            model_name="product",
            index=models.Index(fields=["stock"], name="product_stock"),
        ),
    ]
