"""Models behind OpenAI-compatible endpoints: what is sent, what came back, what it cost. No stage is known here."""
