"""What an audit can find in the file of a client: these rows of the catalogue, which is in `findings`. Pure data."""

from __future__ import annotations

from keyrotor.core.kinds import ROTATE as _ROTATE
from keyrotor.core.kinds import Kind, Severity

_LOW, _MEDIUM, _HIGH = Severity

# fmt: off
CLIENT_KINDS = (
    Kind("client-tracked", _HIGH,
         "holds {key} as a literal, and git tracks it",
         "whoever can read the repository has the key",
         "put a reference there (such as ${{{key}}}), then: " + _ROTATE),
    Kind("client-broken", _HIGH,
         "its {at} is a reference, {form}, that {title} sends as it is",
         "every request of it fails: those very characters are the key that it offers",
         "keyrotor repair {playbook} --heal  ({how})"),
    Kind("client-drops", _HIGH,
         "its {leaf} is dropped by {title} in this file",
         "its requests go out without any key",
         "put it into {instead}; or the key itself, once, into this one"),
    Kind("client-ignores", _HIGH,
         "has a {what} in line {line}: {title} ignores the whole file",
         "it runs without its settings, and so without the key",
         "{mend}"),
    Kind("client-writes-back", _MEDIUM,
         "refers to {key}, until {title} writes the value in clear into {into}",
         "its first start does that, and each change of a setting: whoever counts on the reference has a copy unawares",
         "let a helper in {instead} ask for the key:  keyrotor print-key {book}  ; or keep the key itself there, "
         "and have it rotated"),
    Kind("value-loose", _LOW,
         "has {which} of {key} outside of its settings, {count} times: in a comment, or as a name",
         "a rotation leaves it there; once it is a former value, nobody can tell whether it was ever dead",
         "take it out of {path}  (a rotation takes comments along where the place says `raw = true`)"),
    Kind("master-key-in-client", _LOW,
         "uses the master key, where a virtual key would do",
         "a client that leaks it gives everything away; a virtual key can be limited and survives a rotation",
         "curl {url}/key/generate …  (give the client a key of its own)"),
)
# fmt: on
