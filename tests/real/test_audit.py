"""`audit` on a real lab: the clean lab has no finding; each fault that is seeded gives exactly its own."""

from __future__ import annotations

from keyrotor.demo.lab import Lab
from real.on_lab import Keyrotor, differing, found, tree


def test_a_clean_lab_has_no_finding(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Nothing found, nothing touched, exit 0."""
    before = tree(clean_lab)
    assert found(keyrotor, clean_lab) == []
    assert differing(before, tree(clean_lab)) == []
