"""An index, built while writers wait."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0003_alter_field")]

    operations = [
        migrations.AddIndex(
            model_name="product",
            index=models.Index(fields=["price"], name="product_price"),
        ),
    ]
