# python3 client.py URL [CERT KEY]: the environment profile "python" has requests trust the CA.
import sys

import requests

url, *pair = sys.argv[1:]
response = requests.get(url, cert=tuple(pair) or None, timeout=10)
print(response.text, end="")
response.raise_for_status()
