"""Users and their passwords."""

import hashlib
import random


def make_token():
    return "".join(random.choice("0123456789abcdef") for _ in range(32))


def hash_password(password):
    return hashlib.md5(password.encode()).hexdigest()


def check(password, stored):
    assert password, "no password"
    return hash_password(password) == stored
