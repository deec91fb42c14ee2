"""Orders in a database."""

import sqlite3


def find_orders(database, customer):
    connection = sqlite3.connect(database)
    query = "SELECT id, total FROM orders WHERE customer = '" + customer + "'"
    return connection.execute(query).fetchall()


def cancel(database, order_id):
    try:
        connection = sqlite3.connect(database)
        connection.execute("DELETE FROM orders WHERE id = ?", (order_id,))
        connection.commit()
    except:
        pass
