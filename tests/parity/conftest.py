"""DADApy has its own environment (`tools/parity.sh`); elsewhere these tests are not collected."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("dadapy") else ["test_*.py"]
