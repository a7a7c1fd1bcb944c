"""What the migrations lead to."""

from django.db import models


class Product(models.Model):
    name = models.CharField(max_length=500, db_index=True)
    description = models.TextField()
    price = models.IntegerField(default=0)
    stock = models.IntegerField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["price"], name="product_price"),
            models.Index(fields=["stock"], name="product_stock"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(price__gte=0), name="product_price_positive"),
        ]
