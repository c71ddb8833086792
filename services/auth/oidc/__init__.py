"""Logins through identity providers, by OpenID Connect: authorization code with PKCE."""
