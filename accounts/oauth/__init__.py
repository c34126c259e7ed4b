"""Signing in by an account elsewhere: Google, GitHub, Microsoft, any OpenID Connect provider.

allauth speaks the protocols and nothing else: its accounts, sessions and pages are not
used. The way of a sign-in: ``views`` → ``handshake`` (to the provider and back) →
``arrival`` (whose account) → ``sign_in.admit``, which asks for the second factor. What
needs allauth is imported when somebody signs in, not before.
"""
