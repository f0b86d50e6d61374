#!/bin/sh
# The keys that EC2 Instance Connect lets in as user $1 at this moment. sshd asks, once no key of the user's own fits.
here=http://169.254.169.254/latest
ask() {
    curl -q --silent --fail --globoff --noproxy '*' --connect-timeout 2 --max-time 5 "$@"
}
token=$(ask --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 30' "$here/api/token") || exit 0
ask --header "X-aws-ec2-metadata-token: $token" "$here/meta-data/managed-ssh-keys/active-keys/$1"
# None is no trouble, and sshd would log it as one.
exit 0
