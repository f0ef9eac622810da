"""rdistill: distil a teacher's verified reasoning and preferences into a small, concise student."""

__version__ = "0.1.0"
