"""The letter to those who use the gateway: a beginning, that a person finishes and sends. Pure."""

from __future__ import annotations

from keyrotor.core.inquest import Fate, Inquest
from keyrotor.paper.page import Line
from keyrotor.paper.words import when


def letter(inquest: Inquest) -> str:
    """What its readers need: what was exposed, whether it is over, what they must do, what is not known."""
    names = " and ".join(dict.fromkeys(key.name or key.playbook for key in inquest.keys))
    return f"""\
Subject: {names} of our gateway was exposed{" and is replaced" if inquest.fate is not Fate.ALIVE else ""}

Hello,

{names}, by which our programs use the model gateway, could be used by people for whom
it is not meant: {_since(inquest)}.
{_state(inquest)}

What you must do:
- Take the new key from [where it is kept], and restart what uses it. A program that still
  has the old one is refused (400 or 401).
- If you meet the old key in a file, a history or a chat: delete it, and tell us where.
- Tell us of requests, models or costs that you do not know, from [first day] on.

What we do not know is in the report of incident {inquest.id}.

[your name]
"""


def _since(inquest: Inquest) -> str:
    until = f"until {_text(when(inquest.until))}" if inquest.until else "and we have not proven yet that this is over"
    if inquest.exposed is None:
        return f"we do not know since when, {until}"
    return f"from {_text(when(inquest.exposed))} {until}"


def _state(inquest: Inquest) -> str:
    match inquest.fate:
        case Fate.DEAD:
            return "It is replaced. The old one is proven dead: the gateway refuses it."
        case Fate.UNPROVEN:
            return "It is replaced. It is not proven yet that the old one is refused everywhere."
        case Fate.ALIVE:
            return "It is being replaced. Until then do not use the gateway for anything that matters."


def _text(line: Line) -> str:
    return "".join(piece.text for piece in line)
