# SPDX-License-Identifier: Apache-2.0
"""Who owns which field of an object, as the API server keeps it in metadata.managedFields, and server-side apply by it.

A field is a path of strings, as in fieldsV1: "f:NAME", or 'k:{"KEY":"VALUE"}' for an element of a list that is a map;
lists that are not are one value. Only what status needs of it is here: one key for a list, no schema, always forced.
"""
import copy
import json

# Lists of a status that are maps, by the name of their field (their other lists are atomic).
LIST_KEYS = {"conditions": "type", "listeners": "name", "supportedFeatures": "name"}
# Elements of these are atomic all through: what is below is not looked at.
ATOMIC = {"parents", "ancestors"}


def leaves(value, path=(), name=None):
    """{path: value} of what a value sets. An element of a list that is a map is itself one, too: '.'."""
    key = LIST_KEYS.get(name)
    if isinstance(value, dict) and (value or not path):
        out = {}
        for k, v in value.items():
            out.update(leaves(v, (*path, f"f:{k}"), k))
        return out
    if isinstance(value, list) and value and key and name not in ATOMIC:
        out = {}
        for v in value:
            at = (*path, "k:" + json.dumps({key: v[key]}, separators=(",", ":")))
            out[(*at, ".")] = None
            for k, x in v.items():
                out.update(leaves(x, (*at, f"f:{k}"), k))
        return out
    return {path: value}


def _find(obj, step, make):
    """What a step leads to; made, if it is not there and make says what (None: then None)."""
    if step.startswith("f:"):
        if step[2:] not in obj and make is not None:
            obj[step[2:]] = copy.deepcopy(make)
        return obj.get(step[2:])
    want = json.loads(step[2:])
    found = next((e for e in obj if all(e.get(k) == v for k, v in want.items())), None)
    if found is None and make is not None:
        obj.append(dict(want))
        found = obj[-1]
    return found


def set_leaf(obj, path, value):
    steps = [s for s in path if s != "."]
    for step, after in zip(steps, [*steps[1:], None]):
        if after is None and step.startswith("f:"):
            if value != [] or step[2:] not in LIST_KEYS:  # an empty list that is a map takes nothing from others
                obj[step[2:]] = copy.deepcopy(value)
            else:
                obj.setdefault(step[2:], [])
            return
        obj = _find(obj, step, [] if after is not None and after.startswith("k:") else {})


def remove_leaf(obj, path):
    """The field, or the element."""
    *before, last = [s for s in path if s != "."]
    for step in before:
        obj = _find(obj, step, None)
        if obj is None:
            return
    if last.startswith("f:"):
        obj.pop(last[2:], None)
    else:
        want = json.loads(last[2:])
        obj[:] = [e for e in obj if not all(e.get(k) == v for k, v in want.items())]


def nested(paths):
    """As fieldsV1."""
    out = {}
    for path in sorted(paths):
        at = out
        for step in path:
            at = at.setdefault(step, {})
    return out


def flat(fields, path=()):
    if not fields:
        return {path}
    out = set()
    for step, below in fields.items():
        out |= flat(below, (*path, step))
    return out


def owners_of(obj):
    """{(manager, operation): paths} of its status."""
    return {(m["manager"], m["operation"]): flat(m["fieldsV1"]) for m in obj["metadata"].get("managedFields", [])
            if m.get("subresource") == "status"}


def set_owners(obj, owners):
    """Others' entries stay."""
    rest = [m for m in obj["metadata"].get("managedFields", []) if m.get("subresource") != "status"]
    obj["metadata"]["managedFields"] = rest + [
        {"manager": m, "operation": op, "subresource": "status", "fieldsType": "FieldsV1", "fieldsV1": nested(paths)}
        for (m, op), paths in sorted(owners.items()) if paths]


def order(now, applied):
    """Elements of lists that are maps come in the order of who applied them; those of others stay between them."""
    for name, want in applied.items():
        key = LIST_KEYS.get(name)
        if not key:
            continue
        by_key = {e[key]: e for e in now[name]}
        keys = iter([e[key] for e in want])
        mine = {e[key] for e in want}
        now[name][:] = [by_key[next(keys)] if e[key] in mine else e for e in now[name]]
        for e in want:
            order(by_key[e[key]], e)


def apply(obj, status, manager):
    """Server-side apply, forced, of a status: changes the object."""
    new = {("f:status", *p): v for p, v in leaves(status).items() if p}
    owners = owners_of(obj)
    me = (manager, "Apply")
    before = leaves({"status": obj.get("status", {})})
    for who, paths in owners.items():
        if who != me:  # forced: what they had otherwise is theirs no more
            owners[who] = {p for p in paths if p not in new or before.get(p) == new[p]}
    others = set().union(*(paths for who, paths in owners.items() if who != me))
    # an element goes first, with all that is in it, unless another one has a field there
    for path in sorted(owners.get(me, set()) - set(new), key=lambda p: p[-1] != "."):
        at = path[:-1] if path[-1] == "." else path
        if not any(o[:len(at)] == at for o in others) and not any(n[:len(at)] == at for n in new):
            remove_leaf(obj, path)
    obj.setdefault("status", {})
    for path, value in new.items():
        set_leaf(obj, path, value)
    order(obj["status"], status)
    owners[me] = set(new)
    set_owners(obj, owners)


def update(obj, old, manager):
    """After a write that was no apply: what it changed in the status is the manager's."""
    now, was = leaves({"status": obj.get("status", {})}), leaves({"status": (old or {}).get("status", {})})
    changed = {p for p, v in now.items() if p not in was or was[p] != v}
    owners = {who: {p for p in paths if p in now and p not in changed} for who, paths in owners_of(obj).items()}
    owners[(manager, "Update")] = owners.get((manager, "Update"), set()) | changed
    set_owners(obj, owners)
