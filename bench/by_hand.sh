#!/usr/bin/env bash
# A hello from a server, as the chapter has it: each step by the AWS CLI, then ssh; everything made is removed again.
# The environment says which EC2 (`skylift cloud env`), CIDR from where SSH may come, AWS which AWS CLI.
set -euo pipefail
aws=${AWS:-aws}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
last=$EPOCHREALTIME
step() { # NAME: what was done since the last one, for whoever measures
    now=$EPOCHREALTIME
    echo "step $1: $((${now/[.,]/} - ${last/[.,]/})) us" >&2
    last=$now
}

"$aws" ec2 create-key-pair --key-name hand --key-type ed25519 --query KeyMaterial --output text >"$work/hand.pem"
chmod 400 "$work/hand.pem"
step key
vpc=$("$aws" ec2 create-vpc --cidr-block 10.7.0.0/16 --query Vpc.VpcId --output text)
subnet=$("$aws" ec2 create-subnet --vpc-id "$vpc" --cidr-block 10.7.1.0/24 --query Subnet.SubnetId --output text)
gateway=$("$aws" ec2 create-internet-gateway --query InternetGateway.InternetGatewayId --output text)
"$aws" ec2 attach-internet-gateway --internet-gateway-id "$gateway" --vpc-id "$vpc"
table=$("$aws" ec2 describe-route-tables --filters Name=vpc-id,Values="$vpc" \
    --query 'RouteTables[0].RouteTableId' --output text)
"$aws" ec2 create-route --route-table-id "$table" --destination-cidr-block 0.0.0.0/0 --gateway-id "$gateway" >"$work/out"
step network
group=$("$aws" ec2 create-security-group --group-name hand --description hand --vpc-id "$vpc" --query GroupId --output text)
"$aws" ec2 authorize-security-group-ingress --group-id "$group" --protocol tcp --port 22 --cidr "$CIDR" >"$work/out"
step group
trust='{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}'
"$aws" iam create-role --role-name hand --assume-role-policy-document "$trust" >"$work/out"
"$aws" iam attach-role-policy --role-name hand --policy-arn arn:aws:iam::aws:policy/AmazonS3FullAccess
"$aws" iam create-instance-profile --instance-profile-name hand >"$work/out"
"$aws" iam add-role-to-instance-profile --instance-profile-name hand --role-name hand
step role
image=$("$aws" ec2 describe-images --owners amazon --query 'Images[0].ImageId' --output text)
instance=$("$aws" ec2 run-instances --image-id "$image" --instance-type t3.small --key-name hand --subnet-id "$subnet" \
    --security-group-ids "$group" --associate-public-ip-address --iam-instance-profile Name=hand \
    --query 'Instances[0].InstanceId' --output text)
"$aws" ec2 wait instance-running --instance-ids "$instance"
address=$("$aws" ec2 describe-instances --instance-ids "$instance" \
    --query 'Reservations[0].Instances[0].PublicIpAddress' --output text)
step server
options=(-i "$work/hand.pem" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR)
until scp -q "${options[@]}" "$(dirname "$0")/../examples/hello.py" "ec2-user@$address:" 2>"$work/out"; do :; done
step "first login, copy"
ssh "${options[@]}" "ec2-user@$address" python hello.py
step program
"$aws" ec2 terminate-instances --instance-ids "$instance" >"$work/out"
"$aws" ec2 wait instance-terminated --instance-ids "$instance"
"$aws" iam remove-role-from-instance-profile --instance-profile-name hand --role-name hand
"$aws" iam delete-instance-profile --instance-profile-name hand
"$aws" iam detach-role-policy --role-name hand --policy-arn arn:aws:iam::aws:policy/AmazonS3FullAccess
"$aws" iam delete-role --role-name hand
"$aws" ec2 delete-security-group --group-id "$group" >"$work/out"
"$aws" ec2 detach-internet-gateway --internet-gateway-id "$gateway" --vpc-id "$vpc"
"$aws" ec2 delete-internet-gateway --internet-gateway-id "$gateway"
"$aws" ec2 delete-subnet --subnet-id "$subnet"
"$aws" ec2 delete-vpc --vpc-id "$vpc"
"$aws" ec2 delete-key-pair --key-name hand >"$work/out"
step "putting away"
