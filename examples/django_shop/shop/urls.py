"""Where the shop's views are."""

from django.contrib import admin
from django.urls import path

from . import views

urlpatterns = [
    path("orders", views.order),
    path("orders/<int:order_id>/email", views.email),
    path("admin/", admin.site.urls),
]
