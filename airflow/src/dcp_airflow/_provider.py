"""What this package tells Airflow of itself."""

from __future__ import annotations

from typing import Any

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["schema", "login"],
    "relabeling": {"password": "Token"},
    "placeholders": {
        "host": "dcp.example.com",
        "port": "7420",
        "password": "nothing, where the Runner is on this machine and asks for none",
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
    """Called by Airflow, through the entry point `apache_airflow_provider`."""
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
                    "tls": _field("TLS", "Needed for a token, but to this machine.", "boolean"),
                    "ca": _field("Certificate authorities", "A file (PEM), where not those of the machine."),
                    "control": _field("Control plane", "As host:port, where it isn't where the Runner is."),
                    "patience": _field(
                        "Patience", "For how many seconds an outage is waited out.", "number", 600
                    ),
                    "poll": _field("Poll", "Seconds between looks for new completions.", "number", 5),
                    "link": _field("Link", "Where an execution can be looked at: an address with {id}."),
                    "deployment": _field(
                        "Deployment", "A name for this Airflow, where several share a Runner."
                    ),
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
                "description": "What dcp's provider does beyond its connection.",
                "options": {
                    "on_deadline": {
                        "description": "The dotted path of what is called where a run misses its deadline, with "
                        "Airflow's context: a function or a coroutine function, on the triggerer.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "company.alerts.page_owner",
                        "default": None,
                    }
                },
            }
        },
    }
