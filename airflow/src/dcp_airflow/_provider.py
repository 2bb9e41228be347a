"""Metadata of this package for Airflow."""

from __future__ import annotations

from typing import Any

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["schema", "login"],
    "relabeling": {"password": "Token"},
    "placeholders": {
        "host": "dcp.example.com",
        "port": "7420",
        "password": "empty if the Runner is on this machine and needs none",
        "extra": '{"tls": true}',
    },
}


def _field(label: str, description: str, kind: str = "string", default: Any = None) -> dict[str, Any]:
    return {
        "label": label,
        "description": description,
        "schema": {"type": [kind, "null"], "default": default},
    }


def get_provider_info() -> dict[str, Any]:
    """Returns the provider's metadata; Airflow calls this through the entry point `apache_airflow_provider`."""
    return {
        "package-name": "dcp-airflow",
        "name": "dcp",
        "description": "Runs the Spark jobs of dcp, a data control plane.",
        "connection-types": [
            {
                "connection-type": "dcp",
                "hook-class-name": "dcp_airflow.hooks.DcpHook",
                "hook-name": "Data control plane",
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
                "conn-fields": {
                    "tls": _field("TLS", "Required with a token, except to this machine.", "boolean"),
                    "ca": _field("Certificate authorities", "PEM file; by default those of the machine."),
                    "control": _field("Control plane", "host:port; by default the address of the Runner."),
                    "outage_timeout": _field(
                        "Outage timeout", "Seconds to retry calls while dcp does not respond.", "number", 600
                    ),
                    "poll": _field("Poll", "Seconds between polls for new completions.", "number", 5),
                    "link": _field("Link", "URL of an execution's page, with {id}."),
                    "deployment": _field("Deployment", "Name of this Airflow, if several share a Runner."),
                },
            }
        ],
        "integrations": [{"integration-name": "dcp", "tags": ["service"]}],
        "operators": [{"integration-name": "dcp", "python-modules": ["dcp_airflow.operators"]}],
        "hooks": [{"integration-name": "dcp", "python-modules": ["dcp_airflow.hooks"]}],
        "triggers": [{"integration-name": "dcp", "python-modules": ["dcp_airflow.triggers"]}],
        "extra-links": ["dcp_airflow.links.ExecutionLink"],
        "config": {
            "dcp": {
                "description": "Options of dcp's provider.",
                "options": {
                    "on_deadline": {
                        "description": "Dotted path of a function or coroutine function that the triggerer calls "
                        "with Airflow's context when a run misses its deadline.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "company.alerts.page_owner",
                        "default": None,
                    }
                },
            }
        },
    }
