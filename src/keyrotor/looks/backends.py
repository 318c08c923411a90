"""The backends of the gateway's catalogue: is each one there, and does it have the models that it is to serve.

Rules:
1. A backend is asked once, for all its models; one that is down is one ill line.
2. Its key goes to it and to nobody else. The gateway's own master key and salt go to none, neither by the name of a
   variable nor by value; what one gateway was started with is nothing to another one's backends.
3. An address that comes from a variable is a value: the variable is named in its stead.
4. What a backend answers is data: a model is looked for in it, nothing of it is shown.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from keyrotor.boundary import variables
from keyrotor.boundary.http import Answer, Asking
from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.variables import REFERENCE, Guard, Variable
from keyrotor.core.checkup import Line, State
from keyrotor.core.model import Source
from keyrotor.formats import model_list
from keyrotor.formats.catalogue import Catalogue, Model, is_asked, is_ollama_cloud, served
from keyrotor.formats.model_list import ModelList
from keyrotor.formats.providers import PROVIDERS, TAGS, Provider, fault, models_address, root
from keyrotor.formats.providers import shown as shown_address
from keyrotor.secret import Secret

FEW = 4  # names on a line; the catalogue has them all
# Servers that say in their list of models who they are, and at /health whether they are ready (503: not yet).
WITH_HEALTH = ("llamacpp", "vllm")
TRUST = "SSL_CERT_FILE"  # certificates that LiteLLM trusts
HANDED = "not asked: it would be handed the gateway's own master key, or its salt"
UNTOLD = "not asked: nothing could be decrypted, so its key could be the gateway's own master key"


@dataclass(frozen=True, slots=True)
class Gateway:
    """What a gateway's catalogues are read with."""

    variable: str  # that its master key is in
    pid: int  # 0 where it does not run, or nobody knows


@dataclass(frozen=True, slots=True)
class Backend:
    """A server, and what the catalogue wants of it."""

    provider: str
    base: str = field(repr=False)
    shown: str  # its address, or the variable that holds it
    key: Secret | None
    key_variable: str  # "" where the key stands in the catalogue, or there is none
    trust: str  # a file of certificates that are trusted too; "" without one
    wanted: tuple[Model, ...]

    @property
    def whose(self) -> tuple[object, ...]:
        """What tells it from another one, whichever gateway names it."""
        return (self.provider, self.base, self.shown, None if self.key is None else unseal(self.key), self.trust)

    async def lines(self, asking: Asking) -> list[Line]:
        """One line for the backend, then one for each model that is not there."""
        key = None if self.key is None else unseal(self.key)
        answer = await asking.get(models_address(PROVIDERS[self.provider], self.base), key, self.trust)
        if answer.status != 200:
            return [self._unlisted(answer)]
        listed = model_list.read(answer.body)
        if listed is None:
            return [self._line(State.ILL, "answers, but not with a list of models")]
        if listed.owners & {*WITH_HEALTH}:
            health = await asking.get(f"{root(self.base)}/health", None, self.trust)
            if health.status == 503:
                return [self._line(State.ILL, "is still loading its model, or has lost it (/health answers 503)")]
        return self._judged(listed)

    def late(self, allowed: float) -> list[Line]:
        return [self._line(State.ILL, f"no answer within {round(allowed, 1):g} s{self._for_whom()}")]

    def _judged(self, listed: ModelList) -> list[Line]:
        missing = [model for model in self._named() if not listed.has(model.model)]
        if missing and listed.owners == {"llamacpp"} and listed.count == 1:
            said = "llama.cpp answers to any name; the one model that it has is not called "
            return [self._line(State.UNKNOWN, said + _names(model.told for model in missing))]
        have = len(self._named()) - len(missing)
        told = f"answers; {have} of {len(self._named())} models there" if self._named() else "answers"
        lines = [self._line(State.WELL, told)]
        for model in missing:
            lines.append(Line(model.name, State.ILL, f"{model.told} is not at {self.shown}", self._pull(model)))
        return lines

    def _pull(self, model: Model) -> str:
        """The command that fetches the model, from wherever it is typed."""
        if not self.provider.startswith("ollama") or self.base.startswith("https:") or model.shown:
            return ""
        pull = f"ollama pull {'-- ' if model.model.startswith('-') else ''}{shlex.quote(model.model)}"
        if self.shown.startswith(REFERENCE):
            return f"OLLAMA_HOST=… {pull}  (… is what {self.shown.removeprefix(REFERENCE)} holds)"
        host = models_address(PROVIDERS[self.provider], self.shown).removesuffix(TAGS)
        address = urlsplit(host)
        is_default = (
            address.hostname in ("localhost", "127.0.0.1", "::1") and address.port == 11434 and not address.path
        )
        return pull if is_default else f"OLLAMA_HOST={shlex.quote(host)} {pull}"

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


def asks(
    offers: Iterable[tuple[Gateway, Sequence[Catalogue]]],
    source: Source,
    values: Mapping[str, Secret] | None,
    env: Mapping[str, str],
) -> Iterator[Backend | Line]:
    """Whom to ask, each once, in the order of the catalogues; a line in the stead of what cannot be asked.

    `offers`: each gateway and its catalogues; `values`: the encrypted file's, None where it could not be decrypted.
    """
    offers, kept, ours = list(offers), variables.of_secrets(values or {}), variables.of_table(env)
    files = [each for _, read in offers for each in read]
    guard = variables.guard(
        {source.key, *(gateway.variable for gateway, _ in offers)},
        [each.master_key for each in files],
        [
            *(variables.of_table(each.environment) for each in files),
            kept,
            *(variables.of_process(gateway.pid) for gateway, _ in offers),
            ours,
        ],
    )
    found: dict[tuple[object, ...], Backend | Line] = {}
    for gateway, read in offers:
        sets = {name: text for each in read for name, text in each.environment.items() if REFERENCE not in text}
        variable = variables.first(variables.of_table(sets), kept, variables.of_process(gateway.pid), ours)
        reach = _Reach(variable, guard, Path(source.file))
        models = [model for catalogue in read for model in catalogue.models if not model.is_faulty]
        for at, each in enumerate(reach.backends(models)):
            same: tuple[object, ...] = (at, each) if isinstance(each, Line) else each.whose
            twin = found.get(same)
            if isinstance(each, Backend) and isinstance(twin, Backend):
                wanted = tuple(dict.fromkeys((*twin.wanted, *each.wanted)))
                found[same] = replace(twin, wanted=wanted)
            else:
                found.setdefault(same, each)
    yield from found.values()


@dataclass(frozen=True, slots=True)
class _Reach:
    """How a gateway reaches its backends."""

    variable: Variable
    guard: Guard
    file: Path  # the encrypted one

    def backends(self, models: Iterable[Model]) -> Iterator[Backend | Line]:
        found: dict[tuple[str, ...], list[Model]] = {}
        for model in models:
            named = self._named(model)
            if isinstance(named, Line):
                yield named
            else:
                found.setdefault(_whose(named), []).append(named)
        yield from (self._backend(mine) if is_asked(mine[0]) else _skipped(mine) for mine in found.values())

    def _named(self, model: Model) -> Model | Line:
        """The model, where a variable says which one."""
        if model.is_mocked or not model.model.startswith(REFERENCE):
            return model
        name = model.model.removeprefix(REFERENCE)
        if name in self.guard.names:
            return Line(model.name, State.ILL, f"{model.model}: {HANDED}")
        found = self.variable(name)
        if found is None:
            return Line(model.name, State.ILL, f"{name} is set nowhere", self._add(name))
        return served(model, unseal(found).decode("utf-8", "replace").strip())

    def _backend(self, models: list[Model]) -> Backend | Line:
        """The backend with its address and its key; a line where one of them is missing, or must not go there."""
        model = models[0]
        provider, wanted = PROVIDERS[model.provider], f"; wanted for {_names(each.name for each in models)}"
        base, base_variable = self._base(model, provider)
        if not base:
            named = base_variable or "api_base"
            return Line(model.provider, State.ILL, f"{named} is set nowhere{wanted}", self._add(base_variable))
        if base_variable in self.guard.names or self.guard.is_in(Secret(unquote(base).encode())):
            return Line(model.provider, State.ILL, f"{base_variable or 'api_base'}: {HANDED}")
        if why := fault(base):
            said = f"not asked: its address{f' in {base_variable}' if base_variable else ''} cannot be used: {why}"
            return Line(model.provider, State.ILL, said + wanted)
        shown = f"{REFERENCE}{base_variable}" if base_variable else shown_address(base)
        key, key_variable = self._key(model, provider, base)
        if refusal := self._refusal(key, key_variable, base):
            return Line(model.provider, refusal[0], f"{shown}: {refusal[1]}")
        if key is None and key_variable:
            said = f"{shown}: {key_variable} is set nowhere{wanted}"
            return Line(model.provider, State.ILL, said, self._add(key_variable))
        trust = self.variable(TRUST)
        certificates = "" if trust is None else unseal(trust).decode("utf-8", "surrogateescape")
        return Backend(model.provider, base, shown, key, key_variable, certificates, tuple(models))

    def _refusal(self, key: Secret | None, key_variable: str, base: str) -> tuple[State, str] | None:
        """Why this key is not sent."""
        if key_variable in self.guard.names or (key is not None and self.guard.is_in(key)):
            return State.ILL, HANDED
        if (key is not None or "@" in base) and not self.guard.values:
            return State.SKIPPED, UNTOLD
        return None

    def _add(self, name: str) -> str:
        return f"sops edit {shlex.quote(str(self.file))}  (add {shlex.quote(name)}=…)" if name else ""

    def _base(self, model: Model, provider: Provider) -> tuple[str, str]:
        """The address, and the variable that it comes from."""
        names = (model.base.removeprefix(REFERENCE),) if model.base.startswith(REFERENCE) else provider.base_variables
        if model.base and not model.base.startswith(REFERENCE):
            return model.base, ""
        for name in names:
            found = self.variable(name)
            if found is not None:
                return unseal(found).decode("utf-8", "replace").strip(), name
        return ("", names[0]) if model.base else (provider.base, "")

    def _key(self, model: Model, provider: Provider, base: str) -> tuple[Secret | None, str]:
        """The key, and the variable that it comes from or is missing from. A provider's own key goes to the provider's
        own address only: what stands in an `api_base` may be somebody else's."""
        if model.key and not model.key.startswith(REFERENCE):
            return Secret(model.key.encode()), ""
        if model.key:
            name = model.key.removeprefix(REFERENCE)
            return self.variable(name), name
        is_cloud = provider.path == TAGS and is_ollama_cloud(base)
        if model.base and not is_cloud and (provider.wants_key or provider.path == TAGS):
            return None, ""
        found = ((self.variable(name), name) for name in provider.key_variables)
        there = next(((secret, name) for secret, name in found if secret is not None), None)
        return there or (None, provider.key_variables[0] if provider.wants_key or is_cloud else "")


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
    if models[0].shown:  # a part of what the variable holds
        return Line("backends", State.SKIPPED, f"not asked: nobody who can be asked at no cost serves {names}")
    return Line(whose, State.SKIPPED, f"not asked: {whose} has no list of models that costs nothing; {names}")


def _names(names: Iterable[str]) -> str:
    """A few names, and how many more."""
    few, more = list(dict.fromkeys(names)), 0
    few, more = few[:FEW], len(few) - FEW
    return ", ".join(few) + (f" and {more} more" if more > 0 else "")
