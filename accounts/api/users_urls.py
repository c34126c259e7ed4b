"""Accounts and invitations under ``/api/v1/``."""

from __future__ import annotations

from accounts.api import invites, themes, users
from core.routes import route

urlpatterns = [
    route("users", users.UsersView.as_view()),
    route("users/me", users.UserView.as_view()),
    route("users/role/<role>", users.UsersOfRoleView.as_view()),
    route("users/get/<user_id>", users.SeeUserView.as_view()),
    route("users/update/<user_id>", users.UpdateUserView.as_view()),
    route("users/update/<user_id>/role", users.UserRoleView.as_view()),
    route("users/delete/<user_id>", users.DeleteUserView.as_view()),
    route("users/<user_id>", users.SeeUserView.as_view()),
    route("themes/user/<user_id>/preference", themes.PreferenceView.as_view()),
    route("invites", invites.InvitesView.as_view()),
    route("invites/<invite_id>", invites.InviteView.as_view()),
]
