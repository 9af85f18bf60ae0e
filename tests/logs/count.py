"""Counts the logs that examples/preset_logs.rs writes, by other means than the command's.

python3 count.py DIR: for each server a JSON object of its requests by key and by route, the
malformed lines, and the first and the last time.
"""
import ipaddress
import json
import os
import re
import sys
from datetime import datetime, timezone

CLF = re.compile(rb'^(\S+) \S+ (\S+) \[([^\]]+)\] "(\S+) (\S+) HTTP/[\d.]+" \d+ \d+ "[^"]*" "(?:[^"\\]|\\.)*"')
ALB = re.compile(rb'^\S+ (\S+) \S+ (\S+) (?:\S+ ){8}"(\S+) https://[^/]+(/\S*) HTTP/2.0" "[^"]*" ')
S3 = re.compile(rb'^\S+ \S+ \[([^\]]+)\] (\S+) \S+ \S+ \S+ \S+ "(\S+) (\S+) HTTP/1.1" \d+ - ')
HAPROXY = re.compile(rb'^.{15} lb haproxy\[\d+\]: (\S+):\d+ \[([^\]]+)\] .* "(\S+) (\S+) HTTP/1.1"$')
ENVOY = re.compile(rb'^\[([^\]]+)\] "(\S+) (\S+) HTTP/2" \d+ - \d+ \d+ \d+ \d+ "([^"]+)" "[^"]*" "[^"]+" "[^"]+" "[^"]+"$')


def common_time(text):
    return datetime.strptime(text.decode(), "%d/%b/%Y:%H:%M:%S %z").timestamp()


def iso(text):
    text = text.decode() if isinstance(text, bytes) else text
    text = re.sub(r"(\.\d{6})\d+", r"\1", text).replace("Z", "+00:00")
    return datetime.fromisoformat(text).timestamp()


def no_port(text):
    text = text.decode() if isinstance(text, bytes) else text
    return text.rsplit(":", 1)[0].strip("[]")


def clf(line, _):
    ip, _, when, method, target = CLF.match(line).groups()[:5]
    return common_time(when), ip.decode(), method.decode(), target.decode()


def alb(line, _):
    when, peer, method, target = ALB.match(line).groups()
    return iso(when), no_port(peer), method.decode(), target.decode()


def s3(line, _):
    when, ip, method, target = S3.match(line).groups()
    return common_time(when), ip.decode(), method.decode(), target.decode()


def haproxy(line, _):
    ip, when, method, target = HAPROXY.match(line).groups()
    when = datetime.strptime(when.decode() + " +0000", "%d/%b/%Y:%H:%M:%S.%f %z").timestamp()
    return when, ip.decode(), method.decode(), target.decode()


def envoy(line, _):
    when, method, target, ip = ENVOY.match(line).groups()
    return iso(when), ip.decode(), method.decode(), target.decode()


def w3c(line, fields):
    parts = line.rstrip(b"\r").split(b"\t" if b"\t" in line else b" ")
    assert len(parts) == len(fields)
    row = dict(zip(fields, (part.decode("latin-1") for part in parts)))
    when = iso(row["date"] + "T" + row["time"] + "+00:00")
    return when, row["c-ip"], row["cs-method"], row["cs-uri-stem"]


def of_json(pick):
    def read(line, _):
        return pick(json.loads(line.decode("utf-8", "replace")))
    return read


def nginx_json(it):
    method, target, _ = it["request"].split(" ")
    return iso(it["time_iso8601"]), it["remote_addr"], method, target


def caddy(it):
    request = it["request"]
    return it["ts"], request["client_ip"], request["method"], request["uri"]


def traefik_json(it):
    return iso(it["StartUTC"]), it["ClientHost"], it["RequestMethod"], it["RequestPath"]


def envoy_json(it):
    return iso(it["start_time"]), no_port(it["downstream_remote_address"]), it["method"], it["path"]


def cloudflare(it):
    when = it["EdgeStartTimestamp"] / 1e9
    return when, it["ClientIP"], it["ClientRequestMethod"], it["ClientRequestURI"]


SERVERS = {
    "nginx": clf, "nginx-timed": clf, "apache": clf, "traefik": clf, "alb": alb, "s3": s3,
    "haproxy": haproxy, "envoy": envoy, "iis": w3c, "cloudfront": w3c,
    "nginx-json": of_json(nginx_json), "caddy": of_json(caddy), "traefik-json": of_json(traefik_json),
    "envoy-json": of_json(envoy_json), "cloudflare": of_json(cloudflare),
}


def route(method, path):
    if method == "GET" and re.fullmatch(r"/items/[^/]+", path):
        return "/items/{id}"
    if method == "POST" and path == "/login":
        return "/login"
    return "(no route)"


def key(ip):
    address = ipaddress.ip_address(ip)
    if address.version == 6:
        address = ipaddress.ip_network((ip, 64), strict=False).network_address
    return str(address)


def count(directory, name, read):
    keys, routes, times, malformed, fields = {}, {}, [], 0, []
    for end in (".log.1", ".log"):
        with open(os.path.join(directory, name + end), "rb") as log:
            for line in log.read().split(b"\n")[:-1]:
                if line.startswith(b"#"):
                    if line.startswith(b"#Fields:"):
                        fields = line.decode().split()[1:]
                    continue
                try:
                    when, ip, method, target = read(line, fields)
                except (AttributeError, AssertionError, ValueError, KeyError):
                    malformed += 1
                    continue
                of, where = key(ip), route(method, target.split("?")[0])
                keys[of] = keys.get(of, 0) + 1
                routes[where] = routes.get(where, 0) + 1
                times.append(when)
    shown = [datetime.fromtimestamp(int(at), timezone.utc).isoformat() for at in (min(times), max(times))]
    return {"keys": keys, "routes": routes, "malformed": malformed, "first": shown[0], "last": shown[1]}


if __name__ == "__main__":
    print(json.dumps({name: count(sys.argv[1], name, read) for name, read in SERVERS.items()}))
