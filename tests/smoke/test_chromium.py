# SPDX-License-Identifier: Apache-2.0
"""A browser as TLS client: Debian's headless Chromium loads a page with what belongs to it, resumes, keeps connections, takes
and sends large bodies, speaks WebSocket, and refuses certificates that it does not trust or that have another name."""
import contextlib
import hashlib
import json
import os
import zlib

import test_tunnel as tunnel
import tls_peers as peers
from chromium_peer import Browser
from rig import PEER4, WEB, expect, expect_eq, service, slice_, takes, wait_until
from tls_peers import ANY_PORT, SHOP, Front, difference, pair, secret, tls_ingress, tls_metrics

PAGES, WS = 8095, "ws.example.com"
PAGE = """<!doctype html><title>page</title><link rel=stylesheet href=style.css><img id=i src=dot.png><script src=code.js></script>
<p id=p>text</p>"""
CODE = """document.title = "the script ran";
async function digest(data) {
	const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
	return Array.from(sum, b => b.toString(16).padStart(2, "0")).join("");
}
async function load(url) {
	return digest(await (await fetch(url)).arrayBuffer());
}
async function send(url, n) {
	const body = new Uint8Array(n).map((_, i) => (i * 2654435761) >>> 13);
	const answer = await fetch(url, {method: "POST", body: new Blob([body])}); // bytes would be shown to DevTools, one by one
	return [answer.status, await digest(body)];
}
async function keep(n) {
	let n_right = 0;
	for (let i = 0; i < n; i++)
		n_right += (await (await fetch("/kept/" + i)).text()) == "web GET " + location.hostname + "/kept/" + i + "\\n";
	return n_right;
}
async function together(n) {
	const all = await Promise.all(Array.from({length: n}, (_, i) => fetch("/files/some?" + i).then(a => a.arrayBuffer())));
	return all.reduce((sum, a) => sum + a.byteLength, 0);
}
function echo(url, sizes) {
	return new Promise((done, fail) => {
		const s = new WebSocket(url), got = [];
		s.onerror = fail;
		s.onopen = () => sizes.forEach(n => s.send("x".repeat(n)));
		s.onmessage = m => got.push(m.data.length) == sizes.length && s.close(1000);
		s.onclose = e => done([got, e.code, e.wasClean]);
	});
}
"""


def pages_server():
    """Of what a page is made, and where POST becomes a file."""
    types = "types { text/html html; text/css css; text/javascript js; image/png png; }"
    return peers.ZIP_SERVER + f"""server {{ listen {PEER4}:{PAGES};
    location /pages/ {{ {types} proxy_pass http://{PEER4}:{WEB}/files/; proxy_hide_header Content-Type; add_header Content-Type $page_type; }}
    location /post/ {{ proxy_pass http://{PEER4}:{WEB}/up/; proxy_method PUT; proxy_request_buffering off; proxy_http_version 1.1; }} }}
  map $uri $page_type {{ ~html$ text/html; ~css$ text/css; ~js$ text/javascript; ~png$ image/png; }}
"""


def png():
    """A picture of 3 x 2 points."""
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    head = (3).to_bytes(4, "big") + (2).to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0abc" * 2)) + chunk(b"IEND", b"")


@contextlib.contextmanager
def chromium_rig(make):
    """(rig, front, digest of a large file)"""
    paths = [("/", "Prefix", "web"), ("/pages", "Prefix", "pages"), ("/post", "Prefix", "pages")]
    manifests = {**peers.manifests(), "shop.yaml": tls_ingress("shop", SHOP, paths, "shop"),
                 "pages.yaml": service("pages") + slice_("pages", PEER4, PAGES),
                 "ws-service.yaml": tunnel.SERVICE, "ws-slice.yaml": tunnel.ENDPOINT,
                 "ws.yaml": tls_ingress("ws", WS, [("/", "Prefix", "ws")], "ws"), "ws-secret.yaml": secret("ws", pair(WS))}
    with make(manifests=manifests, nginx=pages_server(), workers=2) as rig, tunnel.backend(rig):
        front, large = Front(rig), os.urandom(20 << 20)
        for name, data in (("page.html", PAGE.encode()), ("style.css", b"p { color: rgb(1, 2, 3) }"), ("code.js", CODE.encode()),
                           ("dot.png", png()), ("some", bytes(200000)), ("large", large)):
            (rig.dir / "www" / name).write_bytes(data)
        wait_until("TLS is served", lambda: front.curl("/", check=False)[0] == 200)
        yield rig, front, hashlib.sha256(large).hexdigest()
        wait_until("no session is left", lambda: rig.metric_sum("weir_tls_sessions") == 0)


def expect_page(browser, version):
    """Loads the page, whole; every part came over this version."""
    expect_eq(browser.go(f"https://{SHOP}/pages/page.html"), "", "error")
    expect_eq(browser.run("[document.title, i.naturalWidth, i.naturalHeight, getComputedStyle(p).color]"),
              ["the script ran", 3, 2, "rgb(1, 2, 3)"], "what the page's parts did")
    seen = [a for a in browser.answers() if a["url"].endswith(("html", "css", "js", "png")) and "/pages/" in a["url"]]
    expect_eq(len(seen), 4, "parts")
    for a in seen:
        s = a["securityDetails"]
        expect_eq((a["status"], a["securityState"], s["protocol"], s["subjectName"], s["issuer"], a["protocol"]),
                  (200, "secure", "TLS " + version, SHOP, "middle", "http/1.1"), a["url"])
        if version == "1.3":
            expect_eq(s["keyExchangeGroup"], "X25519MLKEM768" if peers.openssl_version() >= (3, 5) else "X25519", f"group: {s}")


@takes(15)
def test_chromium_is_served_and_resumes_in_both_versions(make):
    with chromium_rig(make) as (rig, front, large):
        for version, flags in (("1.3", []), ("1.2", ["--ssl-version-max=tls1.2"])):
            before = tls_metrics(rig)
            with Browser(rig, front.ca, *flags) as browser:
                expect_page(browser, version)
                expect_eq(browser.run("together(12)"), 12 * 200000, "bytes of answers at the same time")
                seen = difference(before, tls_metrics(rig))
                expect(seen["tls_handshakes"] > seen.get("tls_handshakes_resumed", 0) > 0, f"TLS {version}: resumed: {seen}")
                expect_eq(seen.get("tls_handshakes_tls12", 0), seen["tls_handshakes"] if version == "1.2" else 0, "of TLS 1.2")
                browser.answers()
                expect_eq(browser.run("keep(30)"), 30, "one request after the other")
                used = {a["connectionId"] for a in browser.answers()}
                expect(0 < len(used) <= 6, f"over connections of before, of which it has six at most: {used}")
                expect_eq(browser.run("load('/files/large')"), large, "20 MiB down")
                status, digest = browser.run("send('/post/sent', 8 << 20)")
                expect_eq((status in (201, 204), digest), (True, hashlib.sha256((rig.dir / "www/up/sent").read_bytes()).hexdigest()),
                          f"8 MiB up: {status}")
                sizes = [1, 125, 126, 65535, 40000]
                expect_eq(browser.run(f"echo('wss://{WS}/echo', {json.dumps(sizes)})"), [sizes, 1000, True], "WebSocket")
            wait_until("no tunnel is left", lambda: tunnel.open_tunnels(rig) == 0)
            after = difference(before, tls_metrics(rig))
            counted = {"tls_handshakes", "tls_handshakes_resumed", "tls_handshakes_tls12", "tls_certificate_waits",
                       "tls_certificates_ready", "tls_truncated", "tls_sessions", "tls_client_gone"}
            expect(set(after) <= counted, f"nothing else is counted: {after}")


def test_chromium_refuses_what_it_does_not_trust(make):
    with chromium_rig(make) as (rig, front, _):
        def expect_refused(browser, url, error, reason):
            before = tls_metrics(rig).get(reason, 0)
            expect_eq(browser.go(url), error, url)
            wait_until(f"{reason} is counted", lambda: tls_metrics(rig).get(reason, 0) > before)

        with Browser(rig, None) as browser:
            expect_refused(browser, f"https://{SHOP}/", "net::ERR_CERT_AUTHORITY_INVALID", "tls_peer_alert")
        with Browser(rig, front.ca) as browser:
            expect_refused(browser, f"https://{SHOP}:{ANY_PORT}/", "net::ERR_CERT_COMMON_NAME_INVALID", "tls_peer_alert")
            expect_refused(browser, "https://nobody.example.com/", "net::ERR_SSL_UNRECOGNIZED_NAME_ALERT", "tls_unrecognized_name")
            expect_eq(browser.go(f"https://{SHOP}/"), "", "what it trusts")


for fn in (test_chromium_is_served_and_resumes_in_both_versions, test_chromium_refuses_what_it_does_not_trust):
    fn.not_sanitized = True
