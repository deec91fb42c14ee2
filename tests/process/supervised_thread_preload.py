"""A module that no fork server may import: it starts a thread."""

import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
