"""One task, then two parallel ones, on a fleet of two agents.

Run it in a folder that holds what it reviews: `python examples/review_in_parallel.py`.
"""

from understudy import Orchestrator, Task


def main() -> None:
    """Start the fleet, give it work, show the results, stop it."""
    orchestrator = Orchestrator()
    orchestrator.config["num_agents"] = 2
    orchestrator.start()
    print("Orchestrator started with 2 agents")

    try:
        print("\n--- Task 1: one file ---")
        single = Task(
            task_type="code_review",
            description="Review this Python file for style and bugs",
            files=["examples/sample_code.py"],
        )
        result = orchestrator.execute_task(single)
        print(f"Result: {result.status}")
        print(f"Execution time: {result.execution_time:.2f}s")

        print("\n--- Task 2: two reviews in parallel ---")
        both = Task(
            task_type="code_review",
            description="Review several files in parallel",
            parallel=True,
            subtasks=[
                {
                    "type": "code_review",
                    "description": "Review the frontend",
                    "files": ["frontend/app.js", "frontend/utils.js"],
                },
                {
                    "type": "code_review",
                    "description": "Review the backend",
                    "files": ["backend/server.py", "backend/database.py"],
                },
            ],
        )
        results = orchestrator.execute_parallel_task(both)
        print(f"Completed {len(results)} subtasks")
        for part in results:
            print(f"  - {part.task_id}: {part.status} {part.error or ''}".rstrip())

        print("\n--- Agents ---")
        for agent_id, info in orchestrator.get_agent_status().items():
            print(f"{agent_id}: running={info['running']}, task={info['current_task']}")
    finally:
        orchestrator.stop()
    print("\nOrchestrator stopped")


if __name__ == "__main__":
    main()
