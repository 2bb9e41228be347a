"""Assets that are complete by what runs outside of this Airflow."""

from __future__ import annotations

import hashlib
import string
from urllib.parse import quote

from dcp_airflow._compat import Asset

_LONGEST = 1_500
# What is visible and ASCII stays as it is, but for what the encoding itself needs.
_PLAIN = "".join(it for it in string.punctuation if it != "%") + " "


def completed(scope: str, asset: str, conn_id: str = "dcp_default") -> Asset:
    """An asset of Airflow's that has an event for each completion that was recorded outside of this Airflow.

    It is another one than the asset itself, `Asset(name="table:lake.mart.orders", …)`, of which the tasks of this
    Airflow tell. Airflow takes the watchers of an asset away whenever it reads a DAG file that mentions it without
    them, as whoever produces it does; this one is mentioned by those who wait for it only, and always alike. So a DAG
    that waits for an asset waits for either of the two:

        AssetAny(Asset(name="table:lake.mart.orders", uri=…), completed("shop/prod", "table:lake.mart.orders"))

    :param scope: `project` or `project/target`
    :param asset: its name in dcp, `kind:name`
    :param conn_id: an Airflow connection of the type `dcp`
    """
    name = _bounded(
        "completed:" + quote(scope, safe=_PLAIN.replace(":", "")) + ":" + quote(asset, safe=_PLAIN)
    )
    uri = _bounded(f"dcp://completed/{quote(scope, safe='')}/{quote(asset, safe='')}")
    try:
        from airflow.sdk import AssetWatcher
    except ImportError:  # Airflow 2
        return Asset(uri)
    from dcp_airflow.triggers import CompletionTrigger

    watcher = AssetWatcher(name=name, trigger=CompletionTrigger(scope=scope, asset=asset, conn_id=conn_id))
    return Asset(name=name, uri=uri, watchers=[watcher])


def _bounded(text: str) -> str:
    """The text, in as many characters as Airflow allows."""
    if len(text) <= _LONGEST:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    # Not through the middle of an encoded character.
    return text[: _LONGEST - len(digest) - 1].rstrip("%") + "~" + digest
