"""What an install or a removal would do, decided and told from one look. Changes nothing.

Nothing of a former unit is shown: it may hold a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from keyrotor.core.serving import FileState, Wish
from keyrotor.formats import unit_files
from keyrotor.formats.former_unit import EDITED, KEPT
from keyrotor.formats.unit_files import Origin, Wanted
from keyrotor.units.standing import One, Standing


@dataclass(frozen=True, slots=True)
class Decided:
    """One look, and what is wanted."""

    wanted: Wanted
    url: str
    wish: Wish
    seen: Standing

    def text(self, name: str) -> str | None:
        """What the file of this name is to hold; None if there is to be none."""
        if name == self.wanted.name:
            return unit_files.service(self.wanted)
        return unit_files.socket(self.wanted) if self.wanted.has_socket else None

    def concerns(self, one: One) -> bool:
        """Whether anything is to be done about it: without a socket, about one that is there."""
        return self.text(one.name) is not None or one.seen is not None

    def becomes(self, one: One) -> FileState:
        if self.text(one.name) is None:
            return FileState.REMOVED
        if one.origin is Origin.ABSENT:
            return FileState.REPLACED if one.elsewhere else FileState.NEW
        if one.origin is Origin.OURS:
            return FileState.SAME if one.text == self.text(one.name) else FileState.CHANGED
        return FileState.REPLACED

    def strange(self) -> Iterator[tuple[str, str]]:
        """What somebody else has made, which is not touched unless it was asked for."""
        for one in self.seen.both:
            if not one.is_strange or not self.concerns(one):
                continue
            where = one.elsewhere or str(one.path)
            if not self.wish.replace:
                how = "was changed by hand since" if one.origin is Origin.EDITED else "is there already"
                yield f"cannot install {one.name}: {where} {how}", self.wish.command("install", "--replace")
            elif one.kept and one.origin is Origin.FOREIGN and not one.is_brought_back:
                kept = one.path.with_name(one.name + KEPT)
                yield f"cannot keep {one.path}: another former one is kept already", f"move {kept} away"

    def is_done(self) -> bool:
        """Whether everything is as an install would leave it."""
        wanted = [one for one in self.seen.both if self.text(one.name) is not None]
        is_so = all(one.text == self.text(one.name) and one.managed.is_enabled for one in wanted)
        is_gone = all(one.seen is None for one in self.seen.both if self.text(one.name) is None)
        return is_so and is_gone and self.runs_so()

    def runs_so(self) -> bool:
        """Whether what is running was started from these very texts."""
        wanted = [one for one in self.seen.both if self.text(one.name) is not None]
        is_so = all(one.text == self.text(one.name) and not one.managed.owes_reload for one in wanted)
        return is_so and self.seen.unit.is_active and all(one.managed.active == "active" for one in wanted)

    def becomes_without(self) -> tuple[dict[str, FileState], list[tuple[str, str]]]:
        """What a removal makes of each file, and why it must not. Raises RefusedError."""
        states: dict[str, FileState] = {}
        reasons: list[tuple[str, str]] = []
        again = f"{self.wish.command('install', '--replace')}  (keeps the change beside, makes the file ours again)"
        for one in self.seen.both:
            if one.former and (one.is_brought_back or one.origin in (Origin.OURS, Origin.ABSENT)):
                was = one.former[1]
                states[str(one.path)] = FileState.REMOVED if was.elsewhere else FileState.BROUGHT_BACK
            elif one.origin is Origin.OURS or one.is_orphan:
                states[str(one.path)] = FileState.REMOVED
            elif one.origin is Origin.EDITED:
                reasons.append((f"cannot remove {one.path}: somebody has changed it since keyrotor made it", again))
            elif one.origin is Origin.FOREIGN or (one is self.seen.service and one.elsewhere):
                reasons.append((f"cannot remove {one.name}: keyrotor has not made it", ""))
        return states, reasons

    def told(self, states: Mapping[str, FileState]) -> Iterator[str]:
        wanted = self.wanted
        yield f"{wanted.name} ({wanted.scope}), the gateway at {self.url}:"
        for one in reversed(self.seen.both):
            if (state := states.get(str(one.path))) is None:
                continue
            yield f"  {one.path}: {state}"
            if state is FileState.REPLACED:
                yield f"    {_former_told(one)}"
            if state not in (FileState.SAME, FileState.REMOVED):
                yield from (f"    | {line}" for line in (self.text(one.name) or "").splitlines())
        if self.runs_so():
            yield "It is enabled."
        else:
            away = ", which takes the gateway away for some seconds" if self.seen.unit.is_active else ""
            yield f"Then it is enabled and started{away}, until it accepts the present key."
        if wanted.scope == "system":
            yield f"It runs as {wanted.user or 'root, whose folder the project is'}."

    def removal_told(self, states: Mapping[str, FileState]) -> Iterator[str]:
        yield f"{self.wanted.name} ({self.wanted.scope}), the gateway at {self.url}, is stopped and disabled:"
        for path, state in states.items():
            yield f"  {path}: {state}"
        for one in self.seen.both:
            if one.former and str(one.path) in states:
                was = one.former[1]
                yield f"  the {one.name} of before is {was.enabled} and {was.active} again"

    def drop_ins(self) -> Iterator[str]:
        for one in self.seen.both:
            if one.managed.drop_ins:
                yield f"drop-ins go on to apply to {one.name}: {', '.join(one.managed.drop_ins)}"


def _former_told(one: One) -> str:
    """What becomes of what stands there."""
    if one.origin is Origin.EDITED:
        return f"what was changed by hand is kept as {one.name}{EDITED}"
    if one.elsewhere:
        return f"{one.elsewhere} stays as it is; ours goes before it until `keyrotor service remove`"
    return f"what stands there is kept as {one.name}{KEPT}, and brought back by `keyrotor service remove`"
