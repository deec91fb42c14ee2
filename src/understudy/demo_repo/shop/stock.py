"""What is in stock."""

import subprocess


class Stock:
    levels = {}

    def set(self, name, count):
        self.levels[name] = count

    def take(self, name, count):
        if self.levels[name] > count:
            self.levels[name] -= count
            return True
        return False

    def print_label(self, name):
        subprocess.call("lpr -T " + name, shell=True)
