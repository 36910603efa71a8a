"""Secrets that open nothing, put together while the tests run: no scanner shall find one in this file."""

import hashlib
import string

_ALL = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"


def letters(seed: str, count: int, alphabet: str = _ALL) -> str:
    """Return letters that look as if chance had chosen them, the same each time."""
    blocks = (hashlib.sha256(f"{seed}:{number}".encode()).digest() for number in range(count // 32 + 1))
    return "".join(alphabet[byte % len(alphabet)] for block in blocks for byte in block)[:count]


def pem(kind: str, lines: int = 12) -> str:
    body = "\n".join(letters(f"{kind}{number}", 64) for number in range(lines))
    return f"-----BEGIN {kind}PRIVATE" + f" KEY-----\n{body}\n-----END {kind}PRIVATE" + " KEY-----"


SECRETS: dict[str, str] = {
    "anthropic key": "sk-ant-" + "api03-" + letters("a", 93) + "AA",
    "anthropic login": "sk-ant-" + "oat01-" + letters("b", 93) + "AA",
    "openai project key": "sk-" + "proj-" + letters("c", 74) + "T3Blbk" + "FJ" + letters("d", 74),
    "openai key": "sk-" + letters("e", 20) + "T3Blbk" + "FJ" + letters("f", 20),
    "short openai key": "sk-" + letters("g", 48),
    "aws access key": "AK" + "IA" + letters("h", 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
    "google api key": "AI" + "za" + letters("i", 35),
    "github token": "gh" + "p_" + letters("j", 36),
    "github app token": "gh" + "s_" + letters("k", 36),
    "github fine-grained token": "github" + "_pat_" + letters("l", 22) + "_" + letters("m", 59),
    "gitlab token": "gl" + "pat-" + letters("n", 20),
    "slack token": "xo" + "xb-" + letters("o", 12, string.digits) + "-" + letters("p", 13, string.digits) + "-" + letters("q", 24),
    "stripe key": "sk" + "_live_" + letters("r", 24),
    "npm token": "np" + "m_" + letters("s", 36),
    "pypi token": "pypi-" + "AgEIcHlwaS5vcmc" + letters("t", 80),
    "hugging face token": "h" + "f_" + letters("u", 34),
    "sendgrid key": "SG" + "." + letters("v", 22) + "." + letters("w", 43),
    "vault token": "hv" + "s." + letters("x", 95),
    "json web token": "ey" + "J" + letters("y", 34) + ".ey" + "J" + letters("z", 70) + "." + letters("0", 43),
    "token of ours": "sdb" + "_" + letters("1", 32, _HEX) + "_" + letters("2", 43),
    "rsa key": pem("RSA "),
    "openssh key": pem("OPENSSH ", 6),
    "key of any kind": pem(""),
}
"""By what they are: texts that are secrets wherever they stand."""

PUTTY_KEY = "\n".join([
    "PuTTY-User-Key-File-3: ssh-rsa", "Encryption: none", "Comment: dev", "Public-Lines: 2", letters("pub1", 64), letters("pub2", 40),
    "Private-Lines: 3", letters("prv1", 64), letters("prv2", 64), letters("prv3", 31) + "=", "Private-MAC: " + letters("mac", 64, _HEX),
])  # fmt: skip

PASSWORD = letters("password", 14)

AROUND: dict[str, str] = {
    "a database": f"postgresql://app:{PASSWORD}@db.internal:5432/app",
    "a page": f"https://bob:{PASSWORD}@example.com/x",
    "redis, with no user": f"redis://:{PASSWORD}@cache:6379/0",
    "jdbc": f"jdbc:postgresql://db/app?user=app&password={PASSWORD}&ssl=true",
    "one that begins like what is filled in": f"postgresql://app:${PASSWORD}@db/app",
    "one that begins with a brace": f"postgresql://app:{{{PASSWORD}@db/app",
    "one that begins with a star": f"mysql://app:*{PASSWORD}@db/app",
    "one that begins with a bracket": f"jdbc:mysql://db/app?password=[{PASSWORD}",
    "one with an @ and a slash": f"amqp://app:{PASSWORD}@x/{PASSWORD}@queue:5672/",
    "a bearer header": f"curl -H 'Authorization: Bearer {PASSWORD}' http://localhost",
    "a basic header": f'"Authorization": "Basic {PASSWORD}=="',
    "aws": "AWS_SECRET_ACCESS_KEY=" + PASSWORD + letters("3", 26),
    "azure": "DefaultEndpointsProtocol=https;AccountKey=" + PASSWORD + letters("4", 72) + "==;EndpointSuffix=x",
}
"""Texts whose PASSWORD is a secret by what stands around it."""

HARMLESS: dict[str, str] = {
    "uuid": "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "sha-1": letters("5", 40, _HEX),
    "sha-256": "sha256:" + letters("6", 64, _HEX),
    "an id of the client": "toolu_01" + letters("7", 22),
    "base64": letters("8", 400_000, _ALL + "+/") + "==",
    "an image": "data:image/png;base64,iVBORw0KGgo" + letters("9", 5000, _ALL + "+/") + "=",
    "a signature": letters("10", 600, _ALL + "+/") + "==",
    "a remote": "git@github.com:org/repo.git and ssh://git@github.com/org/repo",
    "a port": "http://localhost:8080/@scope/package and http://[::1]:5432/a@b",
    "what is to be filled in": "postgres://$USER:$PASSWORD@host/db, postgres://u:{password}@h, postgres://u:<password>@h, postgres://u:***@h",
    "what is to be filled in, of two": "postgres://$USER:${A}$B_2@host/db, http://h?password=[password]&x, mysql://u:{{ pw }}@h",
    "masks": "postgres://u:[masked:url-password]@h and http://h?password=[masked:url-password]",
    "ports": "docker://registry:5000@sha256:" + letters("12", 64, _HEX) + " tcp://10.0.0.1:8080@eth0",
    "a path with an at": "https://example.com/@scope/pkg@1.2 and https://example.com:8443/a@b/c@d",
    "folders and hosts": "/home/u/xapp-frontend-client/src/a.ts maxapp-deployment-1 disk1.local.my-longer-hostname",
    "names in code": "npm_package_devDependencies_typescript_eslint_parser cloud.v1.local.DatacenterService",
    "packages of npm": "npm_package_dependencies_base64_js_and_something_longer_still",
    "words about keys": "-----BEGIN RSA PRIVATE" + " KEY-----, the key, -----END RSA PRIVATE" + " KEY-----",
    "a certificate": "-----BEGIN CERTIFICATE-----\n" + letters("11", 64) + "\n-----END CERTIFICATE-----",
    "names": "ghp_, sk-ant-, AKIA, xoxb-, npm_ and authorization: none",
}
