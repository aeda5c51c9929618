"""AWS KMS on a free loopback port, by moto, which here also refuses keys that are not enabled.

Prints one JSON line once it listens, {endpoint, key, disabled}: the ARNs of a key that works and of
one that does not. Keeps everything in memory; ends when it is killed.
"""

import json
import threading

import boto3
from moto.core.exceptions import JsonRESTError
from moto.kms import models
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


class Disabled(JsonRESTError):
    code = 400

    def __init__(self, arn):
        super().__init__("DisabledException", f"{arn} is disabled.")


def refuse_disabled(backend, key_id):
    key = backend.keys.get(backend.any_id_to_key_id(key_id)) if key_id else None
    if key and not key.enabled:
        raise Disabled(key.arn)


def strictly(method):
    def checked(self, *args, **kwargs):
        refuse_disabled(self, kwargs.get("key_id"))
        return method(self, *args, **kwargs)

    return checked


def main():
    models.KmsBackend.encrypt = strictly(models.KmsBackend.encrypt)
    models.KmsBackend.decrypt = strictly(models.KmsBackend.decrypt)
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    client = boto3.client(
        "kms",
        region_name="eu-central-1",
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    key, disabled = (client.create_key()["KeyMetadata"] for _ in range(2))
    client.disable_key(KeyId=disabled["KeyId"])
    print(json.dumps({"endpoint": endpoint, "key": key["Arn"], "disabled": disabled["Arn"]}), flush=True)
    serving.join()


if __name__ == "__main__":
    main()
