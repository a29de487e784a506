"""Print a constraint for every floor in setup.cfg, so that `make test-oldest` installs exactly those."""

import configparser
import re

config = configparser.RawConfigParser()
config.read("setup.cfg")
for line in config["options"]["install_requires"].split("\n"):
    if floor := re.fullmatch(r"\s*([\w-]+)>=([\d.]+)\s*", line):
        print(f"{floor[1]}=={floor[2]}.*")
