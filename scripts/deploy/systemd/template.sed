# SPDX-License-Identifier: Apache-2.0
# Makes weir-dataplane@.service and weir-ctrl@.service of the services of one instance: what each has for itself is named after
# the instance (docs/upgrade.md).
s|^Description=.*|& (%i)|
s|weir-dataplane\.service|weir-dataplane@%i.service|g
s|/etc/weir/weir\.yaml|/etc/weir/%i.yaml|
s|/run/weir/dataplane\.sock|/run/weir/%i.sock|
s|/etc/weir/weir-ctrl\.env|/etc/weir/weir-ctrl-%i.env|
s|/run/weir-ctrl/|/run/weir-ctrl-%i/|
s|/var/lib/weir-ctrl|&-%i|
s|Directory=weir-ctrl$|&-%i|
# Who hands over may have transfers to end for long.
s|^# More than limits.drain_ms.*|# More than limits.drain_ms, which may be an hour where connections are handed over.|
s|^TimeoutStopSec=.*|TimeoutStopSec=3660|
