# SPDX-License-Identifier: Apache-2.0
"""Certificates and kubeconfigs of the Kubernetes of tests, made by openssl; they last a month."""
import base64
import os
import subprocess

CONFIG = """[req]
distinguished_name = dn
[dn]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign,digitalSignature
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = {names}
[client]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
"""


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, timeout=120)


def make_all(folder, names, users):
    """Makes ca, server (for these names, such as 'IP:127.0.0.1'), a client certificate for each user {file: subject},
    and the key that signs service accounts' tokens (sa.key, sa.pub)."""
    folder.mkdir(mode=0o700)
    config = folder / "openssl.cnf"
    config.write_text(CONFIG.format(names=",".join(names)))

    def make(name, subject, extensions, *by):
        openssl("req", "-x509", "-config", config, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt", "-subj", subject, "-extensions", extensions, *by)

    make("ca", "/CN=weir-kube-rig", "ca")
    by_ca = ("-CA", folder / "ca.crt", "-CAkey", folder / "ca.key")
    make("server", "/CN=kube-apiserver", "server", *by_ca)
    for name, subject in users.items():
        make(name, subject, "client", *by_ca)
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", folder / "sa.key")
    openssl("pkey", "-in", folder / "sa.key", "-pubout", "-out", folder / "sa.pub")


def write_kubeconfig(path, server, certs, user, token=None, owner=None):
    """With the client certificate of a user, or with a token. Mode 0600, for the owner (a uid)."""
    def data(name):
        return base64.b64encode((certs / name).read_bytes()).decode()

    if token:
        credentials = f"    token: {token}\n"
    else:
        credentials = f"    client-certificate-data: {data(user + '.crt')}\n    client-key-data: {data(user + '.key')}\n"
    text = f"""apiVersion: v1
kind: Config
clusters:
- name: rig
  cluster:
    server: {server}
    certificate-authority-data: {data('ca.crt')}
users:
- name: {user}
  user:
{credentials}contexts:
- name: rig
  context:
    cluster: rig
    user: {user}
current-context: rig
"""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "w") as f:
        f.write(text)
    if owner is not None:
        os.chown(path, owner, -1)
