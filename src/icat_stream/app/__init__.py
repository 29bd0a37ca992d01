"""The running program: pipeline, daemon, one-shot, health, alerts."""
