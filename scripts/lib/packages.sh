# SPDX-License-Identifier: Apache-2.0
# Debian packages that Weir needs, and how they are installed: sourced by quickstart, check and bench.

PACKAGES_BUILD="gcc meson ninja-build pkg-config libdpdk-dev dpdk libssl-dev libyaml-dev libjansson-dev libcurl4-openssl-dev libc-ares-dev libmicrohttpd-dev libmnl-dev libpcap-dev libseccomp-dev libcmocka-dev"
PACKAGES_RUN="iproute2 curl ca-certificates nginx-light"
PACKAGES_TEST="git qemu-user clang-14 libclang-rt-14-dev ethtool wrk nghttp2-client python3 python3-yaml procps mandoc iputils-ping openssl gnutls-bin testssl.sh sslscan tcpdump haproxy h2o varnish apache2 slowhttptest chromium libnss3-tools frr"
PACKAGES_VM="qemu-system-x86 debootstrap iproute2 ethtool curl python3 e2fsprogs"
PACKAGES_BENCH="git haproxy h2o wrk dpdk-dev ethtool python3 procps"

# Debian 13 has newer compilers only, and no h2o.
if [ -r /etc/os-release ] && grep -q '^VERSION_ID="13"' /etc/os-release; then
	PACKAGES_TEST=$(echo "$PACKAGES_TEST" | sed 's/clang-14/clang/; s/libclang-rt-14-dev/libclang-rt-dev/; s/ h2o//')
	PACKAGES_BENCH=$(echo "$PACKAGES_BENCH" | sed 's/ h2o//')
fi

# install_packages NAME...: installs what is missing; silent where nothing is.
install_packages() {
	local missing="" p
	for p in "$@"; do
		dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $p"
	done
	[ -z "$missing" ] && return 0
	echo "installing:$missing"
	# A service that a package brings must not start by itself.
	local policy=/usr/sbin/policy-rc.d made=""
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=1
	fi
	local rc=0
	{
		DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 update -qq &&
			DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends $missing
	} >/tmp/weir-apt.$$ 2>&1 || rc=$?
	[ -n "$made" ] && rm -f "$policy"
	[ $rc -eq 0 ] || cat /tmp/weir-apt.$$ >&2
	rm -f /tmp/weir-apt.$$
	return $rc
}
