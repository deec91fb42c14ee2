"""Something small to review."""


def calculate_sum(numbers: list[float]) -> float:
    """Add the numbers."""
    total = 0.0
    for num in numbers:
        total += num
    return total


def main() -> None:
    """Show a sum."""
    print(f"Sum: {calculate_sum([1, 2, 3, 4, 5])}")


if __name__ == "__main__":
    main()
