"""The whole system in containers, on official images: docker-compose.yml and the secrets that it needs."""
