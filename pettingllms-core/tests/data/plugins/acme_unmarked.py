"""Forgets the marker."""


def pettingllms_register_agent_roles():
    return []
