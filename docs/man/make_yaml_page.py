# SPDX-License-Identifier: Apache-2.0
"""weir.yaml(5) of docs/weir.yaml.md, which is what the program prints: make_yaml_page.py PAGE.md >weir.yaml.5"""
import re
import sys

HEAD = r'''.\" Made of docs/weir.yaml.md.
.Dd November 28, 2026
.Dt WEIR.YAML 5
.Os
.Sh NAME
.Nm weir.yaml
.Nd configuration of weir-dataplane
.Sh DESCRIPTION
YAML.
An unknown key or a wrong value is reported as
.Ql file:line:column: key: what was expected ,
all of them at once, and
.Xr weir-dataplane 8
ends with status 2 before it has touched a port.
.Ic weir-dataplane -c FILE --check
only checks.
.Sh EXAMPLES
.Bd -literal
ports:
  - pci: 0000:01:00.0
    addresses: [192.0.2.10/24, "2001:db8::10/64"]
    gateways: [192.0.2.1]
workers: {cores: [2, 3]}
control: {user: weir}
.Ed
'''
TAIL = r'''.Sh SEE ALSO
.Xr weirctl 1 ,
.Xr weir-ctrl 8 ,
.Xr weir-dataplane 8 ,
.Xr weir-host 8
'''


def plain(text):
    """Markdown of a cell as text of mdoc, a sentence a line."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).replace("`", "").replace("\\|", "|").replace("\\", r"\e")
    lines = re.sub(r"(?<=[A-Za-z)0-9]{2}[.?]) (?=[A-Z0-9])", "\n", text.strip()).split("\n")
    return "\n".join(r"\&" + line if line[:1] in ".'" else line for line in lines)


def main(path):
    out = [HEAD]
    is_in_list = False
    for line in open(path).read().split("\n## ", 1)[1].splitlines():
        cells = [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 4 and cells[0].startswith("`"):
            if not is_in_list:
                out.append(".Bl -tag -width Ds\n")
            is_in_list = True
            default = f"; {plain(cells[2])} by default" if cells[2] else ""
            out.append(f".It Ic {plain(cells[0])} Pq {plain(cells[1])}{default}\n{plain(cells[3])}\n")
        elif line and not line.startswith("|"):
            if is_in_list:
                out.append(".El\n")
            is_in_list = False
            out.append(f"{plain(line)}\n" if not line.startswith("## ") and len(out) > 1 else f".Sh {plain(line.removeprefix('## ')).upper()}\n")
    out.append(".El\n" if is_in_list else "")
    print("".join(out) + TAIL, end="")


if __name__ == "__main__":
    main(sys.argv[1])
