"""keyrotor rotates a sops-managed key through every place that holds it, or puts all of them back."""

__version__ = "0.1.0"
