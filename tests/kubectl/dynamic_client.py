"""The dynamic client of the package `kubernetes`: list, create, patch, watch, delete.

Usage: dynamic_client.py KUBECONFIG
"""

import sys

from kubernetes import config, dynamic
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError, UnprocessibleEntityError

CLASS = {
    "apiVersion": "vaultctl.dev/v1",
    "kind": "TenantClass",
    "metadata": {"name": "dev-box"},
    "spec": {"machines": [{"name": "box", "region": "ord", "config": {"image": "debian:12"}}]},
}
TENANT = {
    "apiVersion": "vaultctl.dev/v1",
    "kind": "Tenant",
    "metadata": {"name": "acme", "labels": {"tier": "pro"}},
    "spec": {"class": "dev-box"},
}


def main():
    client = dynamic.DynamicClient(config.new_client_from_config(sys.argv[1]))
    classes = client.resources.get(api_version="vaultctl.dev/v1", kind="TenantClass")
    tenants = client.resources.get(api_version="vaultctl.dev/v1", kind="Tenant")
    assert not tenants.namespaced

    classes.create(body=CLASS)
    listed = tenants.get()
    assert listed.items == [], listed
    created = tenants.create(body=TENANT)
    assert created.metadata.generation == 1, created

    # A watch from before the creation sees it being made, and then every step to Ready.
    ready = False
    for event in tenants.watch(resource_version=listed.metadata.resourceVersion, timeout=60):
        assert event["type"] in ("ADDED", "MODIFIED"), event
        conditions = event["object"].to_dict().get("status", {}).get("conditions", [])
        if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
            ready = True
            break
    assert ready

    patched = tenants.patch(
        name="acme",
        body={"metadata": {"labels": {"tier": "team"}}},
        content_type="application/merge-patch+json",
    )
    assert patched.metadata.labels.tier == "team", patched
    assert [t.metadata.name for t in tenants.get(label_selector="tier=team").items] == ["acme"]
    assert tenants.get(label_selector="tier=pro").items == []
    assert [t.metadata.name for t in tenants.get(field_selector="metadata.name=acme").items] == ["acme"]

    stale = created.to_dict()
    stale["metadata"]["labels"] = {"tier": "stale"}
    try:
        tenants.replace(body=stale)
        raise AssertionError("a stale update was taken")
    except ConflictError as refused:
        assert refused.status == 409

    try:
        tenants.create(body={**TENANT, "metadata": {"name": "Not a name"}})
        raise AssertionError("a bad name was taken")
    except UnprocessibleEntityError as refused:
        assert "metadata.name" in str(refused.body), refused.body

    # The tenant goes when its machine is gone, and the watch ends with that.
    since = tenants.get().metadata.resourceVersion
    tenants.delete(name="acme")
    last = None
    for event in tenants.watch(resource_version=since, timeout=60):
        last = event["type"]
        if last == "DELETED":
            break
    assert last == "DELETED", last
    try:
        tenants.get(name="acme")
        raise AssertionError("a deleted tenant is still there")
    except NotFoundError:
        pass
    classes.delete(name="dev-box")
    print("all steps done")


if __name__ == "__main__":
    main()
