"""What three policies refuse of access logs, worked out from their definitions.

python3 model.py LOG...: for each log and policy a JSON object of the requests, and of the refusals
by host. Nothing here is taken from the limiter: a bucket holds an exact fraction, a sliding window
weighs the one before it, a calendar's days begin when the zone's do.
"""
import json
import re
import sys
from datetime import datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

LINE = re.compile(
    rb'^(\S+) \S+ [^\[]*\[([^\]]+)\] "((?:[^"\\]|\\.)*)" (?:\d+|-) (?:\d+|-)'
    rb'(?: (?:[^" ]+|"(?:[^"\\]|\\.)*"))*\s*$'
)
ZONE = ZoneInfo("Europe/Amsterdam")


class Bucket:
    """20 per minute, burst 5."""

    def __init__(self):
        self.held, self.at = {}, {}

    def admits(self, key, now):
        held = self.held.get(key, Fraction(5))
        held = min(Fraction(5), held + Fraction(20, 60) * (now - self.at.get(key, now)))
        admits = held >= 1
        self.held[key], self.at[key] = held - 1 if admits else held, now
        return admits


class Sliding:
    """12 per 90 s."""

    def __init__(self):
        self.counts = {}

    def admits(self, key, now):
        window, gone = divmod(now, 90)
        before = self.counts.get((key, window - 1), 0)
        count = self.counts.get((key, window), 0)
        weight = -(-before * (90 - gone) // 90)
        admits = weight + count + 1 <= 12
        self.counts[key, window] = count + admits
        return admits


class Calendar:
    """15 per day of Amsterdam, whose days may have 25 hours."""

    def __init__(self):
        self.counts = {}

    def admits(self, key, now):
        day = datetime.fromtimestamp(now, ZONE).date()
        count = self.counts.get((key, day), 0)
        self.counts[key, day] = count + (count < 15)
        return count < 15


def requests(path):
    now = 0
    with open(path, "rb") as log:
        for line in log:
            match = LINE.match(line)
            if not match or b" " not in match[3].strip():
                continue
            at = datetime.strptime(match[2].decode(), "%d/%b/%Y:%H:%M:%S %z").timestamp()
            # An entry that comes late is judged at the latest time seen.
            now = max(now, int(at))
            yield match[1].decode(), now


def judge(path):
    policies = {"bucket": Bucket(), "sliding": Sliding(), "calendar": Calendar()}
    told = {name: {"requests": 0, "refused": {}} for name in policies}
    for key, now in requests(path):
        for name, policy in policies.items():
            told[name]["requests"] += 1
            if not policy.admits(key, now):
                refused = told[name]["refused"]
                refused[key] = refused.get(key, 0) + 1
    return told


if __name__ == "__main__":
    print(json.dumps([judge(path) for path in sys.argv[1:]]))
