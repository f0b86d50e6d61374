from __future__ import annotations

from ec2_fixtures import ACCOUNT, REGION, Cloud

from skylift.cloud.services.ssm import parameter_put

AL2023 = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"


def put(cloud: Cloud, name: str, value: str, **more: object) -> None:
    with cloud.database.write() as tx:
        parameter_put.put(tx, cloud.caller, {"Name": name, "Value": value, "Type": "String", **more})


def test_an_instance_starts_from_the_image_that_a_parameter_names(cloud: Cloud) -> None:
    assert cloud.run(ImageId=f"resolve:ssm:{AL2023}")["ImageId"] == cloud.image_id
    put(cloud, "/golden", cloud.arm_image_id)
    put(cloud, "/golden", cloud.image_id, Overwrite=True)
    assert cloud.run(ImageId="resolve:ssm:/golden")["ImageId"] == cloud.image_id
    arm = cloud.run(ImageId="resolve:ssm:/golden:1", InstanceType="t4g.micro")
    assert arm["ImageId"] == cloud.arm_image_id


def test_a_parameter_that_names_no_image(cloud: Cloud) -> None:
    refusal = cloud.refusal(
        "RunInstances", ImageId="resolve:ssm:/none", InstanceType="t3.micro", MinCount=1, MaxCount=1
    )
    assert refusal.code == "InvalidParameterValue"
    assert "/none" in refusal.message
    put(cloud, "text", "not an image")
    assert (
        cloud.code("RunInstances", ImageId="resolve:ssm:text", InstanceType="t3.micro", MinCount=1, MaxCount=1)
        == "InvalidAMIID.Malformed"
    )


def test_the_caller_needs_the_parameter_and_the_image(cloud: Cloud) -> None:
    checks = cloud.checks(
        "RunInstances", ImageId=f"resolve:ssm:{AL2023}", InstanceType="t3.micro", MinCount=1, MaxCount=1
    )
    assert ("ssm:GetParameters", f"arn:aws:ssm:{REGION}::parameter{AL2023}") in [
        (check.action, check.resource) for check in checks
    ]
    image = next(check for check in checks if ":image/" in check.resource)
    assert image.resource.endswith(cloud.image_id)
    own = cloud.checks("RunInstances", ImageId="resolve:ssm:/x:3", InstanceType="t3.micro", MinCount=1, MaxCount=1)
    assert own[0].resource == f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/x"
