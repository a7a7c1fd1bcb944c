"""A product and what customers say of it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Product",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=100)),
                ("description", models.TextField()),
                ("price", models.IntegerField(default=0)),
                ("old_price", models.IntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="Review",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("words", models.TextField()),
                (
                    "product",
                    models.ForeignKey(on_delete=models.CASCADE, to="catalogue.product"),
                ),
            ],
        ),
    ]
