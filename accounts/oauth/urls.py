"""``/api/v1/oauth/``, and what stands among the account endpoints of each realm."""

from __future__ import annotations

from accounts.oauth import views
from core.routes import route

urlpatterns = [
    route("providers", views.ProvidersView.as_view()),
    route("exchange", views.ExchangeView.as_view()),
    route("<provider>/login", views.BeginView.as_view()),
    route("<provider>/callback", views.CallbackView.as_view()),
]

account_urlpatterns = [
    route("identities", views.IdentitiesView.as_view()),
    route("identities/<identity_id>", views.IdentityView.as_view()),
    route("identities/<provider>/link", views.StartLinkView.as_view()),
]
