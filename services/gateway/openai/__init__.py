"""What clients of OpenAI's API expect that differs from ours."""
