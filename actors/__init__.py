"""The fleet: root actor, agents, tasks, containers, gateway."""
