"""The battery by which label checks are judged: scenes drawn again with a known change, then changed in their looks."""

from battery.cases import Case, cases, refiner_like, user_images

__all__ = ["Case", "cases", "refiner_like", "user_images"]
