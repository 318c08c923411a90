"""The backends of the gateway's catalogue: is each one there, and does it have the models that it is to serve.

Rules:
1. A backend is asked once, for all its models; one that is down is one ill line.
2. Its key goes to it and to nobody else. The gateway's own master key goes to none.
3. An address that comes from a variable is a value: the variable is named in its stead.
4. What a backend answers is data: a model is looked for in it, nothing of it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyrotor.boundary import files, proc
from keyrotor.boundary.http import Answer, Asking
from keyrotor.boundary.plaintext import are_same, is_blank, unseal
from keyrotor.core.checkup import Line, State
from keyrotor.core.model import Source
from keyrotor.errors import PlaceError
from keyrotor.formats import catalogue, model_list
from keyrotor.formats.catalogue import REFERENCE, Catalogue, Model, is_asked, is_ollama_cloud
from keyrotor.formats.model_list import ModelList
from keyrotor.formats.providers import PROVIDERS, TAGS, Provider, models_address, root
from keyrotor.formats.providers import shown as shown_address
from keyrotor.ports import Wanted
from keyrotor.secret import Secret

Variable = Callable[[str], Secret | None]  # what a variable holds for the gateway; None where it is set nowhere
APPLIED = "litellm-hybrid.yaml.applied"  # the profile that stands beside the catalogue while it is in force
FEW = 4  # names on a line; the catalogue has them all
# Servers that say in their list of models who they are, and at /health whether they are ready (503: not yet).
WITH_HEALTH = ("llamacpp", "vllm")


@dataclass(frozen=True, slots=True)
class Backend:
    """A server, and what the catalogue wants of it."""

    provider: str
    base: str = field(repr=False)
    shown: str  # its address, or the variable that holds it
    key: Secret | None
    key_variable: str  # "" where the key stands in the catalogue, or there is none
    wanted: tuple[Model, ...]

    async def lines(self, asking: Asking) -> list[Line]:
        """One line for the backend, then one for each model that is not there."""
        key = None if self.key is None else unseal(self.key)
        answer = await asking.get(models_address(PROVIDERS[self.provider], self.base), key)
        if answer.status != 200:
            return [self._unlisted(answer)]
        listed = model_list.read(answer.body)
        if listed is None:
            return [self._line(State.ILL, "answers, but not with a list of models")]
        if listed.owners & {*WITH_HEALTH} and (await asking.get(f"{root(self.base)}/health", None)).status == 503:
            return [self._line(State.ILL, "is still loading its model, or has lost it (/health answers 503)")]
        return self._judged(listed)

    def late(self, allowed: float) -> list[Line]:
        return [self._line(State.ILL, f"no answer within {round(allowed, 1):g} s{self._for_whom()}")]

    def _judged(self, listed: ModelList) -> list[Line]:
        missing = [model for model in self._named() if not listed.has(model.model)]
        if missing and listed.owners == {"llamacpp"} and listed.count == 1:
            said = "llama.cpp answers to any name; the one model that it has is not called "
            return [self._line(State.UNKNOWN, said + _names(model.model for model in missing))]
        have = len(self._named()) - len(missing)
        told = f"answers; {have} of {len(self._named())} models there" if self._named() else "answers"
        lines = [self._line(State.WELL, told)]
        for model in missing:
            pull = f"ollama pull {model.model}" if self._is_own_ollama() else ""
            lines.append(Line(model.name, State.ILL, f"{model.model} is not at {self.shown}", pull))
        return lines

    def _is_own_ollama(self) -> bool:
        return self.provider.startswith("ollama") and not self.base.startswith("https:")

    def _named(self) -> list[Model]:
        """The models it is to have; a pattern names none."""
        return list({model.model: model for model in self.wanted if "*" not in model.model}.values())

    def _unlisted(self, answer: Answer) -> Line:
        """What an answer without a list of models means."""
        status = answer.status
        if status is None:
            return self._line(State.ILL, f"no answer ({answer.fault}){self._for_whom()}")
        if status in (401, 403):
            named = f" in {self.key_variable}" if self.key_variable else ""
            said = f"refuses the key{named} ({status})" if self.key is not None else f"wants a key ({status})"
            return self._line(State.ILL, said + self._for_whom())
        if status == 404 and re.search(r"/v\d", self.base):
            return self._line(State.UNKNOWN, "answers, but lists no models (404)")
        if status == 404:
            return self._line(State.ILL, "has no list of models there (404); is its api_base right?")
        if 300 <= status < 400:
            return self._line(State.ILL, f"answers with a redirect ({status}), which no key follows")
        loading = ": it may still be loading" if status == 503 else ""
        return self._line(State.ILL, f"answers {status}{loading}{self._for_whom()}")

    def _for_whom(self) -> str:
        return f"; wanted for {_names(model.name for model in self.wanted)}"

    def _line(self, state: State, said: str) -> Line:
        return Line(self.provider, state, f"{self.shown}: {said}")


def _backends(models: Iterable[Model], variable: Variable, master: Secret | None, file: Path) -> list[Backend | Line]:
    """Whom to ask, each once; a line in the stead of what cannot be asked. `file` is the encrypted one."""
    found: dict[tuple[str, ...], list[Model]] = {}
    for model in models:
        found.setdefault(_whose(model), []).append(model)
    return [_backend(mine, variable, master, file) if is_asked(mine[0]) else _skipped(mine) for mine in found.values()]


def _whose(model: Model) -> tuple[str, ...]:
    """What tells one backend from another."""
    if not is_asked(model):
        return ("", "mocked" if model.is_mocked else model.provider)
    path = PROVIDERS[model.provider].path
    return (path, model.provider if not model.base else "", model.base.rstrip("/"), model.key)


def _skipped(models: list[Model]) -> Line:
    whose, names = models[0].provider, _names(model.name for model in models)
    if models[0].is_mocked:
        return Line("mock", State.SKIPPED, f"not asked: LiteLLM itself answers for {names}")
    if not whose:
        return Line("backends", State.SKIPPED, f"not asked: the name does not tell who serves {names}")
    return Line(whose, State.SKIPPED, f"not asked: {whose} has no list of models that costs nothing; {names}")


def _backend(models: list[Model], variable: Variable, master: Secret | None, file: Path) -> Backend | Line:
    """The backend with its address and its key; a line where one of them is missing."""
    model = models[0]
    provider, wanted = PROVIDERS[model.provider], f"; wanted for {_names(each.name for each in models)}"
    base, base_variable = _base(model, provider, variable)
    if not base:
        named = base_variable or "api_base"
        return Line(model.provider, State.ILL, f"{named} is set nowhere{wanted}", _add(file, base_variable))
    shown = f"{REFERENCE}{base_variable}" if base_variable else shown_address(base)
    key, key_variable = _key(model, provider, variable)
    if key is None and key_variable:
        return Line(
            model.provider, State.ILL, f"{shown}: {key_variable} is set nowhere{wanted}", _add(file, key_variable)
        )
    if key is not None and master is not None and are_same(key, master):
        said = f"{shown}: not asked: its key is the gateway's own master key, which would be handed to it"
        return Line(model.provider, State.ILL, said)
    return Backend(model.provider, base, shown, key, key_variable, tuple(models))


def _add(file: Path, name: str) -> str:
    return f"sops edit {file}  (add {name}=…)" if name else ""


def _base(model: Model, provider: Provider, variable: Variable) -> tuple[str, str]:
    """The address, and the variable that it comes from."""
    names = (model.base.removeprefix(REFERENCE),) if model.base.startswith(REFERENCE) else provider.base_variables
    if model.base and not model.base.startswith(REFERENCE):
        return model.base, ""
    for name in names:
        found = variable(name)
        if found is not None:
            return unseal(found).decode("utf-8", "replace").strip(), name
    return ("", names[0]) if model.base else (provider.base, "")


def _key(model: Model, provider: Provider, variable: Variable) -> tuple[Secret | None, str]:
    """The key, and the variable that it comes from or is missing from. A provider's own key goes to the provider's
    own address only: what stands in an `api_base` may be somebody else's."""
    if model.key and not model.key.startswith(REFERENCE):
        return Secret(model.key.encode()), ""
    if model.key:
        name = model.key.removeprefix(REFERENCE)
        return variable(name), name
    is_cloud = is_ollama_cloud(model.base)
    if model.base and not is_cloud and (provider.wants_key or provider.path == TAGS):
        return None, ""
    found = ((variable(name), name) for name in provider.key_variables)
    there = next(((secret, name) for secret, name in found if secret is not None), None)
    return there or (None, provider.key_variables[0] if provider.wants_key or is_cloud else "")


def _names(names: Iterable[str]) -> str:
    """A few names, and how many more."""
    few, more = list(dict.fromkeys(names)), 0
    few, more = few[:FEW], len(few) - FEW
    return ", ".join(few) + (f" and {more} more" if more > 0 else "")


# -- the catalogues --------------------------------------------------------------------------------------------------


def asks(
    wanted: Wanted,
    configs: Iterable[Path],
    source: Source,
    values: Mapping[str, Secret] | None,
    pids: Sequence[int],
    env: Mapping[str, str],
) -> Iterator[Backend | Line]:
    """Whom to ask, in the order of the catalogues; a line for each of those, and for what cannot be asked.

    `values`: the encrypted file's, None where it could not be decrypted; `pids`: of the gateways that are running.
    """
    if not wanted.backends:
        return
    read: list[Catalogue] = []
    for path in [wanted.catalogue] if wanted.catalogue else _beside(configs):
        try:
            found = catalogue.read(_whole(path))
        except PlaceError as error:
            why = str(error) if str(path) in str(error) else f"cannot read {path}: {error}"
            yield Line("catalogue", State.ILL, why)
            continue
        read.append(found)
        yield from _judged(path, found, read[0])
    own = {name: text for found in read for name, text in found.environment.items() if REFERENCE not in text}
    kept = values or {}
    variable = _first(_from(own), kept.get, *map(_of, pids), _from(env))
    models = [model for found in read for model in found.models]
    yield from _backends(models, variable, kept.get(source.key), Path(source.file))


def _beside(configs: Iterable[Path]) -> list[Path]:
    """Each config once, and the profile that is applied beside it."""
    return list(dict.fromkeys(each for path in configs for each in (path, *_applied(path))))


def _applied(path: Path) -> list[Path]:
    beside = path.with_name(APPLIED)
    return [beside] if files.exists(beside) else []


def _whole(path: Path) -> dict[str, Any]:
    """The file with all that it includes, each once, as LiteLLM takes them in. Raises PlaceError."""
    tree, taken = catalogue.parsed(files.look(path).data), {path.resolve()}
    pending = [(entry, path) for entry in catalogue.includes(tree)]
    while pending:
        entry, named_in = pending.pop(0)
        other = named_in.parent / entry
        if not files.exists(other) and files.exists(path.parent / entry):
            other = path.parent / entry
        if other.resolve() in taken:
            continue
        taken.add(other.resolve())
        added = catalogue.parsed(files.look(other).data)
        pending += [(each, other) for each in catalogue.includes(added)]
        tree = catalogue.merged(tree, added)
    return tree


def _judged(path: Path, found: Catalogue, first: Catalogue) -> Iterator[Line]:
    """What the file itself says; the names of a profile without models of its own are those of the first file."""
    names = found.names or first.names
    faults = [*found.faults, *catalogue.chain_faults(found, names)]
    yield from (Line(path.name, State.ILL, fault) for fault in faults)
    if not faults:
        chains = (
            f"{len(found.chains)} fallbacks, each to a name that is there, no loop" if found.chains else "no fallbacks"
        )
        yield Line(path.name, State.WELL, f"{len(found.models)} models; {chains}")


def _first(*sources: Variable) -> Variable:
    """What the first source that knows the variable says; an empty one is as good as none."""

    def variable(name: str) -> Secret | None:
        found = (source(name) for source in sources)
        return next((secret for secret in found if secret is not None and not is_blank(secret)), None)

    return variable


def _from(table: Mapping[str, str]) -> Variable:
    return lambda name: Secret(table[name].encode("utf-8", "surrogateescape")) if name in table else None


def _of(pid: int) -> Variable:
    """The environment that the gateway was started with."""

    def variable(name: str) -> Secret | None:
        try:
            return proc.variable(pid, name) if pid else None
        except OSError:
            return None

    return variable
