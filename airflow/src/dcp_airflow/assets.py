"""Assets that are completed outside of this Airflow."""

from __future__ import annotations

import hashlib
import string
from urllib.parse import quote

from dcp_airflow._compat import Asset

# Limit of Airflow for names and URIs.
_MAX_LENGTH = 1_500
# Visible ASCII characters stay as they are, except the one that introduces an escape.
_SAFE_CHARACTERS = "".join(it for it in string.punctuation if it != "%") + " "


def completed(scope: str, asset: str, conn_id: str = "dcp_default") -> Asset:
    """Returns an asset that has an event for each completion recorded outside of this Airflow.

    The asset `Asset(name="table:lake.mart.orders", …)` itself has the events of tasks of this Airflow. Airflow removes the
    watchers of an asset when it reads a DAG file that names the asset without them, such as the file of the DAG that
    produces it. The asset returned here is therefore a different one, which only waiting DAGs name. A DAG that waits for
    an asset waits for either of the two:

        AssetAny(Asset(name="table:lake.mart.orders", uri=…), completed("shop/prod", "table:lake.mart.orders"))

    :param scope: `project` or `project/target`
    :param asset: its name in dcp, `kind:name`
    :param conn_id: an Airflow connection of the type `dcp`
    """
    name = _shorten(
        "completed:" + quote(scope, safe=_SAFE_CHARACTERS.replace(":", "")) + ":" + quote(asset, safe=_SAFE_CHARACTERS)
    )
    uri = _shorten(f"dcp://completed/{quote(scope, safe='')}/{quote(asset, safe='')}")
    try:
        from airflow.sdk import AssetWatcher
    except ImportError:  # Airflow 2
        return Asset(uri)
    from dcp_airflow.triggers import CompletionTrigger

    watcher = AssetWatcher(name=name, trigger=CompletionTrigger(scope=scope, asset=asset, conn_id=conn_id))
    return Asset(name=name, uri=uri, watchers=[watcher])


def _shorten(text: str) -> str:
    """Replaces the end of a text that is too long for Airflow with a digest of the whole text."""
    if len(text) <= _MAX_LENGTH:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    # The cut must not leave the beginning of an escape.
    return text[: _MAX_LENGTH - len(digest) - 1].rstrip("%") + "~" + digest
