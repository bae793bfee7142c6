"""boto3, unmodified, on S3 and IAM: what an operator and a tenant's program do with buckets.

Started with the endpoint and the admin key; exits with 1 at the first answer that is not what it should be.
"""

import io
import json
import sys
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT, KEY, SECRET = sys.argv[1:]


def client(service, key, secret):
    # Paths name buckets; nothing is tried again, so that each answer is seen.
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    return boto3.client(
        service, endpoint_url=ENDPOINT, aws_access_key_id=key, aws_secret_access_key=secret,
        region_name="auto", config=config,
    )


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
    else:
        raise AssertionError(f"{code} was expected")


def main():
    s3, iam = client("s3", KEY, SECRET), client("iam", KEY, SECRET)
    s3.create_bucket(Bucket="acme-state")
    s3.create_bucket(Bucket="sibling-state")
    refused("BucketAlreadyOwnedByYou", s3.create_bucket, Bucket="acme-state")
    assert [row["Name"] for row in s3.list_buckets()["Buckets"]] == ["acme-state", "sibling-state"]
    assert s3.get_bucket_location(Bucket="acme-state")["LocationConstraint"] == "auto"

    made = iam.create_access_key(UserName="vault/u/1")["AccessKey"]
    assert made["UserName"] == "vault/u/1" and made["AccessKeyId"].startswith("tid_")
    assert made["SecretAccessKey"].startswith("tsec_")
    listed = iam.list_access_keys()["AccessKeyMetadata"]
    assert [row for row in listed if row["UserName"] == "vault/u/1"], listed
    document = json.dumps({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow", "Action": "s3:*",
            "Resource": ["arn:aws:s3:::acme-state", "arn:aws:s3:::acme-state/*"],
        }],
    })
    key = made["AccessKeyId"]
    tenant = client("s3", key, made["SecretAccessKey"])
    refused("AccessDenied", tenant.put_object, Bucket="acme-state", Key="early", Body=b"x")
    arn = iam.create_policy(PolicyName="acme", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_user_policy(UserName=key, PolicyArn=arn)
    attached = iam.list_attached_user_policies(UserName=key)["AttachedPolicies"]
    assert attached == [{"PolicyName": "acme", "PolicyArn": arn}], attached
    version = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]
    assert version["Document"] == json.loads(document), version
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    assert [row["Arn"] for row in iam.list_policies()["Policies"]] == [arn]
    refused("DeleteConflict", iam.delete_policy, PolicyArn=arn)

    own(tenant)
    strangers(tenant, client("iam", key, made["SecretAccessKey"]))

    iam.detach_user_policy(UserName=key, PolicyArn=arn)
    refused("AccessDenied", tenant.list_objects_v2, Bucket="acme-state")
    iam.delete_policy(PolicyArn=arn)
    iam.delete_access_key(AccessKeyId=key)
    refused("InvalidAccessKeyId", tenant.list_objects_v2, Bucket="acme-state")
    refused("NoSuchEntity", iam.delete_access_key, AccessKeyId=key)
    many(iam)


def own(s3):
    """What a tenant's program does in its own bucket."""
    bucket = "acme-state"
    assert [row["Name"] for row in s3.list_buckets()["Buckets"]] == [bucket]
    strange = "a b+c/ü/../../%2e%2e/x?y#z"
    s3.put_object(Bucket=bucket, Key=strange, Body=b"strange", Metadata={"made-by": "test"},
                  ContentType="text/plain")
    got = s3.get_object(Bucket=bucket, Key=strange)
    assert got["Body"].read() == b"strange" and got["Metadata"] == {"made-by": "test"}
    assert got["ContentType"] == "text/plain"
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [strange]
    part = s3.get_object(Bucket=bucket, Key=strange, Range="bytes=2-4")
    assert part["Body"].read() == b"ran" and part["ContentRange"] == "bytes 2-4/7"
    refused("InvalidRange", s3.get_object, Bucket=bucket, Key=strange, Range="bytes=7-")
    refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="none")
    refused("404", s3.head_object, Bucket=bucket, Key="none")
    refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key=strange, Body=b"",
            IfNoneMatch="*")
    again = s3.put_object(Bucket=bucket, Key=strange, Body=b"next", IfMatch=got["ETag"])
    refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key=strange, Body=b"",
            IfMatch=got["ETag"])
    refused("304", s3.get_object, Bucket=bucket, Key=strange, IfNoneMatch=again["ETag"])

    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": strange})
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"next"
    whole = bytes(range(256)) * 40_000
    s3.upload_fileobj(io.BytesIO(whole), bucket, "large")
    large = s3.get_object(Bucket=bucket, Key="large")
    assert large["Body"].read() == whole and large["ETag"].endswith('-2"'), large["ETag"]
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "copy"})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"next"

    for number in range(25):
        s3.put_object(Bucket=bucket, Key=f"many/{number:02}/x", Body=b"")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix="many/", Delimiter="/", PaginationConfig={"PageSize": 10})
    found = [row["Prefix"] for page in pages for row in page["CommonPrefixes"]]
    assert found == [f"many/{number:02}/" for number in range(25)], found
    refused("AccessDenied", s3.create_bucket, Bucket="mine-too")
    refused("BucketNotEmpty", s3.delete_bucket, Bucket=bucket)
    keys = [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    assert len(gone["Deleted"]) == len(keys) and "Errors" not in gone, gone
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def strangers(s3, iam):
    """What it may not do elsewhere."""
    sibling = "sibling-state"
    refused("AccessDenied", s3.list_objects_v2, Bucket=sibling)
    refused("AccessDenied", s3.get_object, Bucket=sibling, Key="x")
    refused("AccessDenied", s3.put_object, Bucket=sibling, Key="x", Body=b"")
    refused("403", s3.head_bucket, Bucket=sibling)
    refused("AccessDenied", s3.copy_object, Bucket="acme-state", Key="x",
            CopySource={"Bucket": sibling, "Key": "x"})
    refused("AccessDenied", iam.create_access_key)
    refused("AccessDenied", iam.list_access_keys)


def many(iam):
    made = {iam.create_access_key()["AccessKey"]["AccessKeyId"] for _ in range(7)}
    pages = iam.get_paginator("list_access_keys").paginate(PaginationConfig={"PageSize": 3})
    found = [row["AccessKeyId"] for page in pages for row in page["AccessKeyMetadata"]]
    assert made < set(found) and len(found) == len(set(found)), found


main()
