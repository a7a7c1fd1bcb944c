"""As migrations do it today."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("field_history", "0003_drop_pagevisit")]

    operations = [migrations.DeleteModel(name="SearchLog")]
