"""Monthly reports."""


def read_sales(path):
    file = open(path)
    rows = []
    for line in file:
        day, amount = line.split(",")
        rows.append((day, float(amount)))
    return rows


def average(rows):
    return sum(amount for day, amount in rows) / len(rows)


def best_day(rows):
    best = None
    for day, amount in rows:
        if best == None or amount > best[1]:
            best = (day, amount)
    return best
