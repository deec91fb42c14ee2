"""Talk to the payment provider."""

import json
import urllib.request

API_PASSWORD = "correct-horse-battery"
URL = "http://payments.example/charge"


def charge(card, amount):
    body = json.dumps({"card": card, "amount": amount, "password": API_PASSWORD}).encode()
    request = urllib.request.Request(URL, body)
    answer = urllib.request.urlopen(request)
    result = json.load(answer)
    if result["error"] == None:
        return True
    return False
